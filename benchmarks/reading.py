"""Speed of the caches: vectors written and read in a second, bytes written, CPU time of a ``transform``.

Usage: ``python benchmarks/reading.py [--sequences 20000] [--repeats 5]``. The vectors are random, of
width 320, for sequences of 200 to 300 residues, put in batches of ten. "Cold" is a new process, "warm"
reads again what this process has read. Torch must not be loaded to read, which is checked.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from shapes import SHAPES, save_random

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm._cache import Cache, Key, open_cache

_, LAYERS, WIDTH, *_ = SHAPES["8M"]
PUT, ASKED = 10, 1000  # vectors at a time


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sequences", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--read", nargs=2, metavar=("FOLDER", "FINGERPRINT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    sequences = random_sequences(options.sequences)
    if options.read:
        folder, fingerprint = options.read
        with open_cache(folder, fingerprint) as cache:
            print(seconds_to_read(cache, keys_of(fingerprint, sequences)))
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TORCH_HOME"] = folder  # where the note about the checkpoint goes
        path = Path(folder) / "random.pt"
        save_random(path, "8M")
        os.utime(path, (10**9, 10**9))  # of a file written just now no note is left
        subprocess.run([sys.executable, "-c", NOTE, path], check=True)
        embed = ESMEmbeddingTransformer(path).fit(sequences[:1])
        keys = keys_of(embed.model_fingerprint_, sequences)
        measure(embed, keys, sequences, options)


def measure(
    embed: ESMEmbeddingTransformer, keys: list[Key], sequences: list[str], options: argparse.Namespace
) -> None:
    count, fingerprint = len(keys), embed.model_fingerprint_
    with tempfile.TemporaryDirectory() as root:
        seconds, amplifications = [], []
        for turn in range(options.repeats):
            folder = Path(root) / str(turn)
            with timed(seconds), counted(amplifications, 4 * WIDTH * count):
                write(folder, keys)
        print(f"folder, written   {shown([count / s for s in seconds])} vectors a second")
        print(f"bytes written     {shown(amplifications, 2)} for each byte of a vector")
        command = [sys.executable, __file__, "--sequences", str(count), "--read", folder, fingerprint]
        cold = [
            float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
            for _ in range(options.repeats)
        ]
        print(f"folder, read cold {shown([count / s for s in cold])} vectors a second")
        with open_cache(folder, fingerprint) as cache:
            warm = [seconds_to_read(cache, keys) for _ in range(options.repeats + 1)][1:]
        print(f"folder, read warm {shown([count / s for s in warm])} vectors a second")
        embed.set_params(cache=folder)
        print(f"folder, transform {shown(cpu_of(embed, sequences, options.repeats), 1)}", MICROSECONDS)
        size = embed.cache_info().bytes / count
        print(f"folder, size      {size:,.0f} bytes for a vector of {4 * WIDTH:,}")
    with open_cache("memory", fingerprint) as cache:
        put_all(cache, keys)
    embed.set_params(cache="memory")
    print(f"memory, transform {shown(cpu_of(embed, sequences, options.repeats), 1)}", MICROSECONDS)
    assert "torch" not in sys.modules


def random_sequences(count: int) -> list[str]:
    rng = np.random.default_rng(0)
    residues = np.array(list("ACDEFGHIKLMNPQRSTVWY"))
    return ["".join(residues[rng.integers(0, 20, n)]) for n in rng.integers(200, 300, count)]


def keys_of(fingerprint: str, sequences: list[str]) -> list[Key]:
    return [Key(fingerprint, "float32", LAYERS, "mean", 0, sequence) for sequence in sequences]


def write(folder: Path, keys: list[Key]) -> None:
    with open_cache(folder, keys[0].fingerprint) as cache:
        put_all(cache, keys)


def put_all(cache: Cache, keys: list[Key]) -> None:
    vectors = np.random.default_rng(1).standard_normal((PUT, WIDTH), dtype=np.float32)
    for start in range(0, len(keys), PUT):
        cache.put(dict(zip(keys[start : start + PUT], vectors, strict=False)))


def seconds_to_read(cache: Cache, keys: list[Key]) -> float:
    started = time.perf_counter()
    for start in range(0, len(keys), ASKED):
        found = cache.get(keys[start : start + ASKED])
        assert all(vector is not None for vector in found)
    return time.perf_counter() - started


def cpu_of(embed: ESMEmbeddingTransformer, sequences: list[str], repeats: int) -> list[float]:
    """Return the CPU time of a transform, in microseconds for each sequence."""
    used = []
    for _ in range(repeats + 1):
        started = time.process_time()
        embed.transform(sequences)
        used.append((time.process_time() - started) / len(sequences) * 1e6)
    return used[1:]


@contextmanager
def timed(seconds: list[float]) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds.append(time.perf_counter() - started)


@contextmanager
def counted(amplifications: list[float], size: int) -> Iterator[None]:
    before = bytes_written()
    yield
    amplifications.append((bytes_written() - before) / size)


def bytes_written() -> float:
    """Return the bytes that this process has written; not a number except on Linux."""
    try:
        lines = Path("/proc/self/io").read_text().splitlines()
    except OSError:
        return float("nan")
    return next(float(line.split()[1]) for line in lines if line.startswith("wchar"))


def shown(values: list[float], digits: int = 0) -> str:
    format_: Callable[[float], str] = f"{{:,.{digits}f}}".format
    return f"{format_(statistics.median(values))} ({format_(min(values))} to {format_(max(values))})"


MICROSECONDS = "microseconds of CPU time for a sequence"
NOTE = """
import sys, pathlib
from sklearn_esm._checkpoints._fingerprint import identify
identify(pathlib.Path(sys.argv[1]))
"""

if __name__ == "__main__":
    main()
