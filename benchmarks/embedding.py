"""Seconds to embed proteins of natural lengths: this package beside fair-esm, on random weights.

Usage: ``python benchmarks/embedding.py [--proteins 200] [--shape 8M] [--repeats 3]``. All contestants
run in turn in one process, and the medians are printed; the numbers they give are compared, too.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from shapes import SHAPES, TESTS

sys.path.insert(0, str(TESTS))
from fair_esm_oracle import RandomCheckpoint, fair_esm, save_random_checkpoint

from sklearn_esm import ESMEmbeddingTransformer

RESIDUES = list("ACDEFGHIKLMNPQRSTVWY")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--proteins", type=int, default=200)
    parser.add_argument("--shape", choices=SHAPES, default="8M")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()

    sequences = log_normal_proteins(options.proteins)
    layers, width, heads = SHAPES[options.shape]
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = save_random_checkpoint(
            Path(folder) / "random.pt", "esm2", layers=layers, width=width, heads=heads
        )
        contestants: dict[str, Callable[[], np.ndarray]] = {
            "sklearn-esm": lambda: ours(checkpoint, sequences),
            "fair-esm, sorted, 4,096 tokens": lambda: fair_esm_sorted(checkpoint, sequences, layers),
            "fair-esm, batches of 16": lambda: fair_esm_snippet(checkpoint, sequences, layers),
        }
        ours(checkpoint, sequences[:2])  # loads the model, which is not what is measured
        fair_esm(checkpoint)
        seconds: dict[str, list[float]] = {name: [] for name in contestants}
        means = {}
        for _ in range(options.repeats):
            for name, run in contestants.items():
                started = time.perf_counter()
                means[name] = run()
                seconds[name].append(time.perf_counter() - started)
    residues = sum(map(len, sequences))
    print(
        f"{len(sequences)} proteins, {residues:,} residues, ESM-2 {options.shape} shape, float32, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}, medians of {options.repeats}"
    )
    reference, ours_seconds = means["fair-esm, batches of 16"], statistics.median(seconds["sklearn-esm"])
    for name, times in seconds.items():
        median = statistics.median(times)
        error = np.abs(means[name] - reference).max() / np.abs(reference).max()
        print(
            f"{name:32}{median:8.1f} s  {residues / median:8,.0f} residues/s  "
            f"x{median / ours_seconds:5.1f}  difference {error:.1e}"
        )


def log_normal_proteins(count: int) -> list[str]:
    """Random sequences whose lengths are spread as in a proteome, 30 to 1,022 residues."""
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(5.6, 0.6, count), 30, 1022).astype(int)
    return ["".join(rng.choice(RESIDUES, length)) for length in lengths]


def ours(checkpoint: RandomCheckpoint, sequences: list[str]) -> np.ndarray:
    embed = ESMEmbeddingTransformer(checkpoint.path, cache=None, device="cpu")
    means: np.ndarray = embed.fit_transform(sequences)
    return means


def fair_esm_snippet(checkpoint: RandomCheckpoint, sequences: list[str], layer: int) -> np.ndarray:
    """What is commonly pasted, without the contact maps."""
    batches = [range(i, min(i + 16, len(sequences))) for i in range(0, len(sequences), 16)]
    return fair_esm_means(checkpoint, sequences, layer, batches)


def fair_esm_sorted(checkpoint: RandomCheckpoint, sequences: list[str], layer: int) -> np.ndarray:
    """Sorted by length into batches of 4,096 tokens, padding included, as in fair-esm's extract.py."""
    batches: list[list[int]] = [[]]
    for row in sorted(range(len(sequences)), key=lambda row: len(sequences[row])):
        if (len(sequences[row]) + 2) * (len(batches[-1]) + 1) > 4096:
            batches.append([])
        batches[-1].append(row)
    return fair_esm_means(checkpoint, sequences, layer, batches)


def fair_esm_means(
    checkpoint: RandomCheckpoint,
    sequences: list[str],
    layer: int,
    batches: list[list[int]] | list[range],
) -> np.ndarray:
    model, converter = fair_esm(checkpoint)
    means: dict[int, np.ndarray] = {}
    for batch in batches:
        _, _, tokens = converter([("", sequences[row]) for row in batch])
        with torch.no_grad():
            states = model(tokens, repr_layers=[layer])["representations"][layer]
        for row, state in zip(batch, states, strict=True):
            means[row] = state[1 : len(sequences[row]) + 1].mean(0).numpy()
    return np.stack([means[row] for row in range(len(sequences))])


if __name__ == "__main__":
    main()
