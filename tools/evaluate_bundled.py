"""Signal peptides by linear probe: the bundled model beside its untrained shape and composition.

Usage: ``python tools/evaluate_bundled.py signal_peptides.tsv.gz [--checkpoint FILE.pt]``.
SP against NO_SP, on the first 1,000 and the first 30 residues: mean pooling, StandardScaler and
``LogisticRegression(C=0.1)``, trained on four homology folds and scored on the fifth, the scores of
all five pooled into one ROC AUC. Proteins with a signal peptide are shorter in this set (median
276 residues against 481), so composition is also given the logarithm of the length: a harder rival.
"""

import argparse
import csv
import gzip
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from train_bundled import SEED, new_model, save_checkpoint

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm.baselines import ResidueComposition

LENGTHS = (1000, 30)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("table", type=Path, help="signal_peptides.tsv.gz")
    parser.add_argument("--checkpoint", default="esm2_t6_1M_bundled", help="model name or .pt file")
    options = parser.parse_args()

    sequences, y, folds = read_table(options.table)
    print(f"{len(sequences)} proteins, {y.sum()} with a signal peptide\n")
    print(f"ROC AUC      {'':12}" + "".join(f"  first {length:>5}" for length in LENGTHS))
    with tempfile.TemporaryDirectory() as folder:
        untrained = Path(folder) / "untrained.pt"
        torch.manual_seed(SEED)
        save_checkpoint(untrained, new_model())
        composition, with_length = ResidueComposition(), ResidueComposition(length="log")
        for name, baseline in (("composition", composition), ("composition and length", with_length)):
            report(name, [baseline.fit_transform(cut(sequences, n)) for n in LENGTHS], y, folds)
        report("untrained", [embed(untrained, cut(sequences, n)) for n in LENGTHS], y, folds)
        started = time.perf_counter()
        trained = [embed(options.checkpoint, cut(sequences, n)) for n in LENGTHS]
        seconds = time.perf_counter() - started
    report(Path(options.checkpoint).stem, trained, y, folds)
    print(f"\n{seconds:.1f} s to embed both lengths with the last model")


def read_table(path: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as handle:
        rows = [row for row in csv.DictReader(handle, delimiter="\t") if row["class"] in ("SP", "NO_SP")]
    return (
        [row["sequence"] for row in rows],
        np.array([row["class"] == "SP" for row in rows]),
        np.array([int(row["cv_fold"]) for row in rows]),
    )


def cut(sequences: list[str], length: int) -> list[str]:
    return [sequence[:length] for sequence in sequences]


def embed(model: str | Path, sequences: list[str]) -> np.ndarray:
    features: np.ndarray = ESMEmbeddingTransformer(model, pooling="mean").fit_transform(sequences)
    return features


def report(name: str, features: list[np.ndarray], y: np.ndarray, folds: np.ndarray) -> None:
    figures = (f"  {probe(X, y, folds):11.4f}" for X in features)
    print(f"{name:25}" + "".join(figures), flush=True)


def probe(X: np.ndarray, y: np.ndarray, folds: np.ndarray) -> float:
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=5000))
    scores = cross_val_predict(model, X, y, cv=PredefinedSplit(folds), method="decision_function")
    return float(roc_auc_score(y, scores))


if __name__ == "__main__":
    main()
