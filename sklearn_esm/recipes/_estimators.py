"""The estimators of a property search, and the grid of each: small, so that a search ends soon."""

from __future__ import annotations

from typing import Any

from sklearn.base import BaseEstimator
from sklearn.compose import TransformedTargetRegressor
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

from sklearn_esm._sequences import check_one_of, listed

REGRESSORS = ("ridge", "svm", "random-forest", "gaussian-process", "gradient-boosting")
CLASSIFIERS = ("logistic", "svm", "random-forest", "gradient-boosting")
ESTIMATORS = tuple(dict.fromkeys((*REGRESSORS, *CLASSIFIERS)))
TASKS = ("regression", "classification")

_TREES = 200
# of scaled features, of which an embedding has hundreds: a weaker penalty fits the noise
_GRIDS: dict[str, dict[str, list[Any]]] = {
    "ridge": {"alpha": [1.0, 10.0, 100.0, 1000.0, 10000.0]},
    "logistic": {"C": [0.001, 0.01, 0.1, 1.0, 10.0]},
    "svm": {"C": [0.1, 1.0, 10.0]},
    "random-forest": {"max_features": ["sqrt", 0.3]},
    "gaussian-process": {},  # the kernel is fitted by its marginal likelihood
    "gradient-boosting": {"max_leaf_nodes": [4, 16]},
}


def checked_task(estimator: Any, task: Any) -> str:
    """Return the task of an estimator, or raise ValueError if it cannot do it.

    ``None`` is classification for ``"logistic"``, and regression for the others.
    """
    check_one_of("estimator", estimator, ESTIMATORS)
    if task is None:
        return "classification" if estimator not in REGRESSORS else "regression"
    check_one_of("task", task, TASKS)
    able = REGRESSORS if task == "regression" else CLASSIFIERS
    if estimator not in able:
        raise ValueError(f"estimator must be {listed(able)} for {task}; got {estimator!r}.")
    return str(task)


def estimator_and_grid(
    name: str, task: str, random_state: Any
) -> tuple[BaseEstimator, dict[str, list[Any]]]:
    """Return an unfitted estimator, and the values to try of its parameters."""
    grid = _GRIDS[name]
    if task == "classification":
        return _classifier(name, random_state), grid
    if name == "svm":  # its epsilon is in the units of the target
        scaled = TransformedTargetRegressor(SVR(), transformer=StandardScaler())
        return scaled, {f"regressor__{parameter}": values for parameter, values in grid.items()}
    return _regressor(name, random_state), grid


def dummy_estimator(task: str) -> BaseEstimator:
    """Return the estimator that ignores its features: the mean, or the share of each class."""
    if task == "regression":
        return DummyRegressor()
    return DummyClassifier(strategy="prior")


def _classifier(name: str, random_state: Any) -> BaseEstimator:
    if name == "logistic":
        return LogisticRegression(max_iter=5000, random_state=random_state)
    if name == "svm":
        return SVC(random_state=random_state)
    if name == "random-forest":
        return RandomForestClassifier(_TREES, random_state=random_state)
    return HistGradientBoostingClassifier(random_state=random_state)


def _regressor(name: str, random_state: Any) -> BaseEstimator:
    if name == "ridge":
        return Ridge(random_state=random_state)
    if name == "random-forest":
        return RandomForestRegressor(_TREES, random_state=random_state)
    if name == "gaussian-process":
        return GaussianProcessRegressor(_kernel(), normalize_y=True, random_state=random_state)
    return HistGradientBoostingRegressor(random_state=random_state)


def _kernel() -> Any:
    # scaled features are about as far apart as the root of twice their number: 25 for 320
    smooth = ConstantKernel(1.0, (1e-3, 1e5)) * RBF(20.0, (1e-1, 1e5))
    return smooth + WhiteKernel(0.5, (1e-4, 1e2))
