"""Seconds to read vectors back from a folder cache, through ``transform``, and the room they take.

Usage: ``python benchmarks/reading.py [--sequences 10000] [--repeats 5]``. The vectors are random, of
width 320, for sequences of 200 to 400 residues; torch must not be loaded to read them, which is checked.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from shapes import SHAPES, save_random

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm._cache import Key, open_cache


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sequences", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    residues = np.array(list("ACDEFGHIKLMNPQRSTVWY"))
    lengths = rng.integers(200, 400, options.sequences)
    sequences = ["".join(residues[rng.integers(0, 20, length)]) for length in lengths]
    _, layers, width, *_ = SHAPES["8M"]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TORCH_HOME"] = folder  # where the note about the checkpoint goes
        path = Path(folder) / "random.pt"
        save_random(path, "8M")
        os.utime(path, (10**9, 10**9))  # of a file written just now no note is left
        subprocess.run([sys.executable, "-c", NOTE, path], check=True)
        embed = ESMEmbeddingTransformer(path, cache=folder).fit(sequences[:1])
        fingerprint = embed.model_fingerprint_
        with open_cache(folder, fingerprint) as cache:
            for start in range(0, len(sequences), 10):
                vectors = rng.standard_normal((10, width), dtype=np.float32)
                keys = [
                    Key(fingerprint, "float32", layers, "mean", 0, s) for s in sequences[start:][:10]
                ]
                cache.put(dict(zip(keys, vectors, strict=False)))
        seconds = []
        for _ in range(options.repeats):
            started = time.perf_counter()
            embed.transform(sequences)
            seconds.append(time.perf_counter() - started)
        assert "torch" not in sys.modules
        info = embed.cache_info()
    print(
        f"{info.vectors:,} vectors of width {width}: {info.bytes / 1e6:.1f} MB on the disk, read in "
        f"{statistics.median(seconds):.2f} s (median of {options.repeats}, {min(seconds):.2f} to "
        f"{max(seconds):.2f}), torch not loaded"
    )


NOTE = """
import sys, pathlib
from sklearn_esm._checkpoints._fingerprint import identify
identify(pathlib.Path(sys.argv[1]))
"""

if __name__ == "__main__":
    main()
