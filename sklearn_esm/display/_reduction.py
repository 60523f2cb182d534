"""Apply a transformer or reducer that may be fitted already, and label the axes of its output."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.decomposition import PCA, IncrementalPCA, TruncatedSVD
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted


def reduce_to_two(table: np.ndarray, reducer: Any) -> tuple[Any, np.ndarray]:
    """Return the fitted reducer, and the first two columns of its output, (sequences, 2)."""
    fitted, points = fit_apply(PCA(2, random_state=0) if reducer is None else reducer, table, "reducer")
    if points.ndim != 2 or points.shape[1] < 2:
        raise ValueError(
            f"The reducer must return at least two columns; got an array of shape {points.shape} from "
            f"{type(fitted).__name__}. Pass a reducer such as PCA(n_components=2)."
        )
    return fitted, points[:, :2]


def axis_labels(reducer: Any) -> tuple[str, str]:
    """Return labels with the shares of variance, or with the name of the reducer."""
    last = reducer[-1] if isinstance(reducer, Pipeline) else reducer
    if isinstance(last, (PCA, IncrementalPCA, TruncatedSVD)):
        first, second = last.explained_variance_ratio_[:2]
        return (
            f"Component 1 ({first:.0%} of the variance)",
            f"Component 2 ({second:.0%} of the variance)",
        )
    kind = type(last).__name__
    return f"{kind} 1", f"{kind} 2"


def fit_apply(estimator: Any, X: Any, what: str) -> tuple[Any, np.ndarray]:
    """Return the fitted transformer, or a fitted copy, and its output for X."""
    if not (hasattr(estimator, "transform") or hasattr(estimator, "fit_transform")):
        raise ValueError(
            f"The {what} must be a transformer; got {type(estimator).__name__}. Pass pipeline[:-1] of a "
            "pipeline that ends in a classifier or regressor."
        )
    # t-SNE has no transform, only fit_transform
    if _is_fitted(estimator) and hasattr(estimator, "transform"):
        return estimator, np.asarray(estimator.transform(X))
    copy = clone(estimator)
    return copy, np.asarray(copy.fit_transform(X))


def _is_fitted(estimator: Any) -> bool:
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    return True
