"""Seconds and fidelity of each ``dtype`` on a processor: bfloat16, float16 and int8 beside float32.

Usage: ``python benchmarks/arithmetic.py [--shape 150M] [--proteins 8] [--repeats 3] [--no-fidelity]``.
Seconds are those of random weights, interleaved, with medians. Fidelity is that of trained weights: the
bundled model's vectors of the bundled peptides beside float32's, and the AUC of signal peptides, where
their table lies beside the checkout, as ``tools/evaluate_bundled.py`` computes it.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from proteins import DATA, natural_proteins
from shapes import SHAPES, random_checkpoint

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm.datasets import load_peptides

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
from evaluate_bundled import LENGTHS, cut, probe, read_table

DTYPES = ("float32", "bfloat16", "float16", "int8")
BUNDLED = "esm2_t6_1M_bundled"
SIGNAL_PEPTIDES = DATA / "signal_peptides.tsv.gz"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="150M")
    parser.add_argument("--proteins", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=DTYPES)
    parser.add_argument("--no-fidelity", dest="fidelity", action="store_false")
    options = parser.parse_args()
    dtypes = ["float32", *(dtype for dtype in options.dtypes if dtype != "float32")]

    sequences, origin = natural_proteins(options.proteins)
    print(
        f"{options.shape} shape, {len(sequences)} proteins, {sum(map(len, sequences)):,} residues "
        f"({origin}), {torch.get_num_threads()} threads, torch {torch.__version__}, medians of "
        f"{options.repeats}",
        flush=True,
    )
    with random_checkpoint(options.shape) as path:
        print(speeds(path, sequences, dtypes, options.repeats).to_string(), flush=True)
    if options.fidelity:
        print(f"\n{BUNDLED}, mean of the last layer\n{fidelity(dtypes).to_string()}")


def speeds(path: Path, sequences: list[str], dtypes: list[str], repeats: int) -> pd.DataFrame:
    embedders = {dtype: embedder(path, dtype).fit(sequences) for dtype in dtypes}
    seconds: dict[str, list[float]] = {dtype: [] for dtype in dtypes}
    means = {}
    for embed in embedders.values():
        embed.transform(["MKTAYIAKQR"])  # loads the model
    for _ in range(repeats):
        for dtype, embed in embedders.items():
            started = time.perf_counter()
            means[dtype] = embed.transform(sequences)
            seconds[dtype].append(time.perf_counter() - started)
    full = seconds["float32"]
    return pd.DataFrame.from_dict(
        {
            dtype: {
                "seconds": f"{statistics.median(times):.2f}",
                "against float32": f"{statistics.median(map(np.divide, full, times)):.2f} x",
                "mean cosine": f"{cosines(means[dtype], means['float32']).mean():.6f}",
            }
            for dtype, times in seconds.items()
        },
        orient="index",
    )


def fidelity(dtypes: list[str]) -> pd.DataFrame:
    peptides = load_peptides().data.tolist()
    expected = embedder(BUNDLED, "float32").fit_transform(peptides)
    rows = {}
    for dtype in dtypes:
        similar = cosines(embedder(BUNDLED, dtype).fit_transform(peptides), expected)
        rows[dtype] = {"mean cosine": f"{similar.mean():.6f}", "least": f"{similar.min():.6f}"}
        if SIGNAL_PEPTIDES.exists():
            proteins, y, folds = read_table(SIGNAL_PEPTIDES)
            for length in LENGTHS:
                features = embedder(BUNDLED, dtype).fit_transform(cut(proteins, length))
                rows[dtype][f"AUC, first {length}"] = f"{probe(features, y, folds):.4f}"
    return pd.DataFrame.from_dict(rows, orient="index")


def embedder(model: str | Path, dtype: str) -> ESMEmbeddingTransformer:
    return ESMEmbeddingTransformer(model, dtype=dtype, cache=None, device="cpu")


def cosines(vectors: np.ndarray, others: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(others, axis=1)  # (sequences,)
    return (vectors * others).sum(1) / lengths


if __name__ == "__main__":
    main()
