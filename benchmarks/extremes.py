"""Single demands on speed and memory: peptides, tokenising, one giant protein, the first result.

Usage: ``python benchmarks/extremes.py [--peptides 20000] [--proteins 150] [--residues 34350]
[--repeats 3] [--starts 7]``, on Linux, with random weights of the 8M shape. The first result is that of
a process which has just begun, where the checkpoint is in the page cache and an earlier process left the
package's note about it.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from floor import Floor
from proteins import natural_proteins, peptides, titin_half
from shapes import SHAPES, random_checkpoint

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm._checkpoints._reader import read_checkpoint
from sklearn_esm._engine._tokens import tokenise
from sklearn_esm._execution._pieces import Item, plan_batches
from sklearn_esm._execution._request import BATCH_TOKENS
from sklearn_esm._execution._threads import batches_at_a_time
from sklearn_esm._sequences import clean_sequences

GIANT = """
import json, sys, time
from pathlib import Path
from sklearn_esm import ESMEmbeddingTransformer
started = time.perf_counter()
embed = ESMEmbeddingTransformer(sys.argv[1], cache=None, device="cpu")
embed.fit_transform([sys.stdin.read()])
seconds = time.perf_counter() - started
status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
print(json.dumps([seconds, int(status["VmHWM"].split()[0]) / 2**20]))
"""
READ = """
import sys
import torch
with open(sys.argv[1], "rb") as file:
    file.read()
"""
READ_TOO = "import sklearn.base" + READ
FIRST = """
import sys
from sklearn_esm import ESMEmbeddingTransformer
ESMEmbeddingTransformer(sys.argv[1], cache=None, device="cpu").fit_transform([sys.argv[2]])
"""
Row = dict[str, str]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peptides", type=int, default=20_000)
    parser.add_argument("--proteins", type=int, default=150)
    parser.add_argument("--residues", type=int, default=34_350, help="how much of titin")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--starts", type=int, default=7, help="processes for the first result")
    options = parser.parse_args()
    proteins, origin = natural_proteins(options.proteins)
    print(
        f"ESM-2 8M shape, float32, {torch.get_num_threads()} threads, torch {torch.__version__}; "
        f"proteins: {origin}",
        flush=True,
    )
    with random_checkpoint("8M") as path:
        rows = [
            first_result(path, proteins[0], options.starts),
            giant(path, titin_half()[: options.residues]),
            preparation(path, proteins, options.repeats),
            peptides_share(path, peptides(options.peptides), options.repeats),
        ]
    print(pd.DataFrame(rows).set_index("what").rename_axis(None).to_string())


def first_result(path: Path, sequence: str, starts: int) -> Row:
    """A cold process that embeds one sequence, beside one that imports torch and reads the file."""
    # the third says how much of the difference is scikit-learn's own import
    codes = (READ, FIRST, READ_TOO)
    commands = [[sys.executable, "-c", code, str(path), sequence] for code in codes]
    seconds: list[list[float]] = [[], [], []]
    for start in range(starts + 1):
        for command, times in zip(commands, seconds, strict=True):
            taken = clock(lambda command=command: subprocess.run(command, check=True))
            if start:  # the first ones fill the page cache and leave the note
                times.append(taken)
    read, first, read_too = map(statistics.median, seconds)
    return {
        "what": f"first result of a process ({len(sequence)} residues)",
        "measured": f"{first / read:.2f} x import torch and reading ({first:.2f} s, {read:.2f} s), "
        f"{first / read_too:.2f} x with scikit-learn's import ({read_too:.2f} s)",
        "demanded": "1.3 x at most",
    }


def giant(path: Path, sequence: str) -> Row:
    command = [sys.executable, "-c", GIANT, str(path)]
    run = subprocess.run(command, input=sequence, check=True, stdout=subprocess.PIPE, text=True)
    seconds, gib = json.loads(run.stdout)
    return {
        "what": f"one protein of {len(sequence):,} residues",
        "measured": f"{gib:.2f} GiB, the whole process, {seconds:.0f} s",
        "demanded": "completes within 3 GiB",
    }


def preparation(path: Path, sequences: list[str], repeats: int) -> Row:
    """Cleaning, planning and tokenising, as a share of the time that ``transform`` takes."""
    architecture = read_checkpoint(path).architecture
    embed = fitted(path)

    def prepare() -> None:
        clean: Any = clean_sequences(sequences, invalid="error", missing="error")
        items = [Item(sequence) for sequence in clean]
        at_a_time = batches_at_a_time("cpu", None)
        for batch in plan_batches(items, BATCH_TOKENS["cpu"], None, at_a_time):
            tokenise([item.sequence for item in batch.items], architecture)

    prepare()
    shares = [clock(prepare) / clock(lambda: embed.transform(sequences)) for _ in range(repeats)]
    return {
        "what": f"tokenising and planning {len(sequences)} proteins",
        "measured": f"{statistics.median(shares):.2%} of the time",
        "demanded": "under 2 %",
    }


def peptides_share(path: Path, sequences: list[str], repeats: int) -> Row:
    floor = Floor(SHAPES["8M"], sequences)
    floor.warm_up()
    embed = fitted(path)
    seconds = [(clock(floor.run), clock(lambda: embed.transform(sequences))) for _ in range(repeats)]
    share = statistics.median(lowest / ours for lowest, ours in seconds)
    median = statistics.median(ours for _, ours in seconds)
    return {
        "what": f"{len(sequences):,} peptides of 10 to 40 residues",
        "measured": f"{share:.0%} of the floor's speed, {median:.1f} s",
        "demanded": "80 % at least",
    }


def fitted(path: Path) -> ESMEmbeddingTransformer:
    """An estimator whose model is loaded."""
    embed = ESMEmbeddingTransformer(path, cache=None, device="cpu").fit(["MKTAYIAKQR"])
    embed.transform(["MKTAYIAKQR"])
    return embed


def clock(run: Callable[[], Any]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
