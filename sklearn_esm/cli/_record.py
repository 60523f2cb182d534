"""Build the record of a training run: every score, parameter and version, as plain JSON."""

from __future__ import annotations

import hashlib
import json
import math
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from sklearn_esm import __version__
from sklearn_esm.cli._folds import Folds
from sklearn_esm.cli._training_data import TrainingData
from sklearn_esm.recipes._nested import OutOfFold

_VERSIONS = ("torch", "scikit-learn", "numpy")


def metric_of(data: TrainingData) -> str:
    """Return the name of the main score."""
    if not data.target.classes:
        return "spearman"
    return "roc_auc" if len(data.target.classes) == 2 else "balanced_accuracy"


def input_of(data: TrainingData) -> dict[str, Any]:
    """Return where the rows came from, and how many there are."""
    source = data.source
    return {
        "kind": "sequences" if source.mutations is None else "mutations",
        "column": source.column,
        "id": data.id_column,
        "target": source.target,
        "reference": source.reference,
        "first_position": source.first_position,
        "rows": data.n_rows,
        "rows_without_target": data.n_without_target,
        "duplicates": data.n_duplicates,
    }


def versions() -> dict[str, str]:
    """Return the versions on which the numbers depend."""
    return {"python": platform.python_version()} | {name: version(name) for name in _VERSIONS}


def predictions_of(data: TrainingData, folds: Folds, found: OutOfFold) -> dict[str, Any]:
    """Return the out-of-fold prediction of each scored row; rows of the file are counted from 0."""
    fold = np.empty(len(folds.scored), dtype=np.int64)
    for number, (_, test) in enumerate(folds.splits):
        fold[test] = number
    return {
        "row": data.rows[folds.scored],
        "measured": data.y[folds.scored],
        "predicted": found.predicted,
        "fold": fold,
        "probabilities": found.probabilities,
    }


def layers_of(search: Any) -> list[dict[str, Any]] | None:
    """Return the best inner score of each layer and pooling of a search; None if none was searched."""
    results = getattr(search, "cv_results_", None)
    if results is None:
        return None
    names = {
        key: next((name for name in results["params"][0] if name.endswith(f"__{key}")), None)
        for key in ("layer", "pooling")
    }
    if not any(names.values()):
        return None
    features = search.best_estimator_.named_steps["features"]
    embedding = dict(getattr(features, "transformer_list", [])).get("embedding", features)
    fixed = {"layer": embedding.layers_[0], "pooling": embedding.pooling}  # what was not searched
    best: dict[tuple[Any, Any], int] = {}
    for place, params in enumerate(results["params"]):
        point = tuple(params.get(names[key], fixed[key]) for key in fixed)
        former = best.setdefault(point, place)
        if results["mean_test_score"][place] > results["mean_test_score"][former]:
            best[point] = place
    return [
        {
            "layer": layer,
            "pooling": pooling,
            "mean": results["mean_test_score"][place],
            "std": results["std_test_score"][place],
        }
        for (layer, pooling), place in best.items()
    ]


def measured_of(data: TrainingData) -> dict[str, Any]:
    """Return the highest and the lowest target, and a digest of each distinct sequence."""
    digests = [
        hashlib.sha256(sequence.encode()).hexdigest()[:16] for sequence in dict.fromkeys(data.sequences)
    ]
    is_number = not data.target.classes
    return {
        "highest": data.y.max() if is_number else None,
        "lowest": data.y.min() if is_number else None,
        "digests": digests,
    }


def record_of(command: str, data: TrainingData, **entries: Any) -> dict[str, Any]:
    """Return the record as plain JSON values; NaN becomes None."""
    record = {
        "sklearn_esm": __version__,
        "versions": versions(),
        "command": command,
        "task": data.target.task,
        "classes": data.target.classes or None,
        "input": input_of(data),
        **entries,
        "measured": measured_of(data),
    }
    plain: dict[str, Any] = _plain(record)
    return plain


def as_json(record: Mapping[str, Any]) -> str:
    """Return the text of the JSON file."""
    return json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
