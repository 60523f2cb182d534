"""Fit the contact regression of the bundled checkpoint, and say how good it is.

The published way (Rao et al. 2021): an L1 logistic regression over the attention maps of all blocks,
symmetrised and corrected (APC), of a few proteins of known structure; pairs at least 6 residues apart,
contacts where C-beta atoms are less than 8 angstrom apart. fair-esm itself computes the maps.

Judged by leaving each protein out in turn: precision of the L most probable pairs at least 6 apart, and
at least 24 apart, beside the share of contacts among all such pairs (chance) and beside a regression
that knows nothing but how far apart residues are along the chain. It is written only where it beats
chance at both distances, and the chain at the nearer one; the model card says what it does not beat.

The structures are files ``<name>.txt`` of lines ``residue number x y z``, one for each residue of a
chain, with the coordinates of C-beta (C-alpha of glycine).

Usage: ``python tools/fit_contact_regression.py FOLDER [--write]``
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import torch
from esm.modules import apc, symmetrize
from esm.pretrained import load_model_and_alphabet_core
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import OneHotEncoder

CHECKPOINT = Path(__file__).parents[1] / "sklearn_esm" / "bundled" / "esm2_t6_1M_bundled.pt"
NEAREST, LONG = 6, 24  # residues apart
CONTACT = 8.0  # angstrom
Arrays: TypeAlias = "dict[str, np.ndarray]"  # by protein

STRENGTHS = (0.01, 0.03, 0.1, 0.15, 0.3, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("structures", type=Path)
    parser.add_argument("--write", action="store_true", help="put the regression beside the checkpoint")
    options = parser.parse_args()
    proteins = {path.stem: read(path) for path in sorted(options.structures.glob("*.txt"))}
    model, converter = load()
    maps = {name: features(model, converter, sequence) for name, (sequence, _) in proteins.items()}
    truth = {name: contacts for name, (_, contacts) in proteins.items()}
    tables = {c: leave_one_out(maps, truth, c) for c in STRENGTHS}
    scores = pd.DataFrame({c: table.mean() for c, table in tables.items()}).T
    print("mean over proteins left out, by strength C\n", scores.round(3).to_string(), sep="")
    best = scores["model, all"].idxmax()
    print(f"\nC={best}, each protein left out\n{tables[best].round(3).to_string()}")
    chosen = scores.loc[best]
    better = (
        chosen["model, all"] > max(chosen["chance, all"], chosen["separation, all"])
        and chosen["model, long"] > chosen["chance, long"]
    )
    print("\nbetter than chance:", better)
    if options.write and better:
        regression = fit(list(maps), maps, truth, best)
        target = CHECKPOINT.with_name(f"{CHECKPOINT.stem}-contact-regression.pt")
        weight = torch.tensor(regression.coef_, dtype=torch.float32)  # (1, layers x heads)
        bias = torch.tensor(regression.intercept_, dtype=torch.float32)  # (1,)
        head = "contact_head.regression."
        torch.save({"model": {f"{head}weight": weight, f"{head}bias": bias}}, target)
        print(f"{target}: {np.count_nonzero(regression.coef_)} of {weight.numel()} maps have a weight")
    elif options.write:
        sys.exit("not written")


def read(path: Path) -> tuple[str, np.ndarray]:
    """Sequence, and contacts ``(residues, residues)``."""
    table = pd.read_csv(path, sep=r"\s+", header=None, names=["residue", "number", "x", "y", "z"])
    places = table[["x", "y", "z"]].to_numpy()
    distances = np.linalg.norm(places[:, None] - places, axis=-1)  # (residues, residues)
    return "".join(table["residue"]), distances < CONTACT


def load() -> tuple[Any, Any]:
    with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is no regression yet
        data = torch.load(CHECKPOINT, weights_only=True)
        data["model"] = {name: tensor.float() for name, tensor in data["model"].items()}
        model, alphabet = load_model_and_alphabet_core("esm2", data)
    return model.eval(), alphabet.get_batch_converter()


def features(model: Any, converter: Any, sequence: str) -> np.ndarray:
    """Corrected maps without BOS and EOS, ``(residues, residues, layers x heads)``."""
    _, _, tokens = converter([("", sequence)])
    with torch.no_grad():
        attentions = model(tokens, need_head_weights=True)["attentions"][0]  # (layers, heads, T, T)
    corrected = apc(symmetrize(attentions.flatten(0, 1)[:, 1:-1, 1:-1]))
    return np.asarray(corrected.permute(1, 2, 0))


def pairs(array: np.ndarray, nearest: int = NEAREST) -> np.ndarray:
    return np.asarray(array[np.triu_indices(len(array), k=nearest)])


def fit(names: list[str], maps: Arrays, truth: Arrays, c: float) -> LogisticRegression:
    X = np.concatenate([pairs(maps[name]) for name in names])
    y = np.concatenate([pairs(truth[name]) for name in names])
    return LogisticRegression(C=c, l1_ratio=1, solver="liblinear", max_iter=1000).fit(X, y)


def leave_one_out(maps: Arrays, truth: Arrays, c: float) -> pd.DataFrame:
    rows: dict[str, dict[str, float]] = {}
    for name in maps:
        others = [other for other in maps if other != name]
        residues = len(truth[name])
        apart = np.abs(np.subtract.outer(np.arange(residues), np.arange(residues)))
        regression = fit(others, maps, truth, c)
        scores = {
            "model": regression.decision_function(maps[name].reshape(-1, maps[name].shape[2])),
            "separation": by_separation(others, truth, apart.reshape(-1)),
        }
        rows[name] = {"residues": float(residues)}
        for span, nearest in (("all", NEAREST), ("long", LONG)):
            true = pairs(truth[name], nearest)
            for kind, score in scores.items():
                order = np.argsort(-pairs(score.reshape(residues, residues), nearest), kind="stable")
                rows[name][f"{kind}, {span}"] = true[order[:residues]].mean()
            rows[name][f"chance, {span}"] = true.mean()
    return pd.DataFrame.from_dict(rows, orient="index")


def by_separation(names: list[str], truth: Arrays, apart: np.ndarray) -> np.ndarray:
    """How often residues so far apart touch in other proteins."""
    known, labels = [], []
    for name in names:
        rows, columns = np.triu_indices(len(truth[name]), k=NEAREST)
        known.append(columns - rows)
        labels.append(truth[name][rows, columns])
    bins = [6, 9, 12, 18, 24, 36, 48, 72]
    encoder = OneHotEncoder(categories=[range(len(bins) + 1)])
    X = encoder.fit_transform(np.digitize(np.concatenate(known), bins)[:, None])
    model = LogisticRegression().fit(X, np.concatenate(labels))
    return np.asarray(model.decision_function(encoder.transform(np.digitize(apart, bins)[:, None])))


if __name__ == "__main__":
    main()
