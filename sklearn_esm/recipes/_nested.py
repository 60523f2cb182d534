"""Score searches by nested cross-validation: each search sees its training rows only."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.metrics import (
    balanced_accuracy_score,
    matthews_corrcoef,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)
from sklearn.model_selection import GridSearchCV

Split = tuple[np.ndarray, np.ndarray]


class OutOfFold(NamedTuple):
    """The prediction of each row by the model that was not trained on it."""

    predicted: np.ndarray  # (rows,)
    probabilities: np.ndarray | None  # (rows, classes)
    decision: np.ndarray | None  # (rows,), of two classes: higher is the second class


def out_of_fold(
    model: Any,
    X: np.ndarray,
    y: np.ndarray,
    splits: Sequence[Split],
    groups: np.ndarray | None,
    after_fold: Callable[[], object],
) -> OutOfFold:
    """Return predictions of an estimator or search, fitted anew on the training rows of each split."""
    found = [
        _predicted(fitted(model, X, y, train, groups), X[test], after_fold) for train, test in splits
    ]
    rows = np.argsort(np.concatenate([test for _, test in splits]))
    columns = zip(*found, strict=True)
    joined = [
        None if any(part is None for part in parts) else np.concatenate(parts)[rows] for parts in columns
    ]
    return OutOfFold(*joined)  # type: ignore[arg-type]  # predictions are never None


def fitted(model: Any, X: np.ndarray, y: np.ndarray, rows: np.ndarray, groups: np.ndarray | None) -> Any:
    """Return a fitted clone of an estimator or search."""
    new = clone(model)
    if not isinstance(new, GridSearchCV):
        return new.fit(X[rows], y[rows])
    if not new.param_grid:  # inner folds would score the only candidate
        return new.estimator.fit(X[rows], y[rows])
    return new.fit(X[rows], y[rows], groups=None if groups is None else groups[rows])


def scores_by_fold(
    measured: np.ndarray, found: OutOfFold, splits: Iterable[Split], task: str
) -> dict[str, list[float]]:
    """Return the scores of each fold; NaN if a score is undefined there."""
    score = _regression_scores if task == "regression" else _classification_scores
    folds = [
        score(
            measured[test],
            found.predicted[test],
            None if found.decision is None else found.decision[test],
        )
        for _, test in splits
    ]
    return {name: [float(fold[name]) for fold in folds] for name in folds[0]}


def _predicted(
    model: Any, X: np.ndarray, after_fold: Callable[[], object]
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    probabilities = decision = None
    if hasattr(model, "predict_proba"):
        probabilities = model.predict_proba(X)  # (rows, classes)
        decision = probabilities[:, 1]
    elif hasattr(model, "decision_function"):
        decision = model.decision_function(X)
    if decision is not None and len(model.classes_) > 2:
        decision = None
    predicted = model.predict(X)
    after_fold()
    return predicted, probabilities, decision


def _regression_scores(
    measured: np.ndarray, predicted: np.ndarray, decision: np.ndarray | None
) -> dict[str, float]:
    varied = np.ptp(measured) > 0
    # a dummy predicts one value, for which scipy warns
    ranked = varied and np.ptp(predicted) > 0
    return {
        "spearman": spearmanr(measured, predicted).statistic if ranked else np.nan,
        "r2": r2_score(measured, predicted) if varied else np.nan,
        "rmse": root_mean_squared_error(measured, predicted),
    }


def _classification_scores(
    measured: np.ndarray, predicted: np.ndarray, decision: np.ndarray | None
) -> dict[str, float]:
    scores = {}
    with warnings.catch_warnings():
        # a class that is predicted and absent from a small fold counts as a mistake, without a warning
        warnings.filterwarnings("ignore", "y_pred contains classes not in y_true", UserWarning)
        if decision is not None:
            both = len(np.unique(measured)) == 2
            scores["roc_auc"] = roc_auc_score(measured, decision) if both else np.nan
        scores["balanced_accuracy"] = balanced_accuracy_score(measured, predicted)
        scores["mcc"] = matthews_corrcoef(measured, predicted)
    return scores
