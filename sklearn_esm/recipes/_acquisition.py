"""Scores of candidates from predicted means and standard deviations, and orders by them."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from scipy.linalg import LinAlgError, cholesky
from scipy.special import ndtr

from sklearn_esm._sequences import check_one_of

Strategy: TypeAlias = Literal["greedy", "upper-confidence-bound", "expected-improvement", "thompson"]

JOINT = 5000  # candidates of a joint sample: their covariance has 200 MB
SHORTLIST = 10  # candidates that are clustered for each that is chosen


def check_strategy(strategy: str) -> None:
    """Raise ValueError if a strategy is unknown."""
    check_one_of("strategy", strategy, get_args(Strategy))


def scores_of(
    strategy: str, mean: np.ndarray, std: np.ndarray | None, *, best: float | None, beta: float
) -> np.ndarray:
    """Return a score for each candidate, of which higher is better; ``mean`` is to be maximised.

    For ``"thompson"`` it is the upper confidence bound, by which candidates of joint samples are chosen.
    """
    if strategy == "greedy":
        return mean
    assert std is not None  # the caller checked it
    if strategy == "expected-improvement":
        assert best is not None
        return expected_improvement(mean, std, best)
    return mean + beta * std  # (candidates,)


def expected_improvement(mean: np.ndarray, std: np.ndarray, best: float) -> np.ndarray:
    """Return the expectation of max(f - best, 0) for a normal f (Jones et al. 1998)."""
    better = mean - best  # (candidates,)
    z = better / np.where(std > 0, std, 1)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)  # (candidates,)
    return np.where(std > 0, better * ndtr(z) + std * density, np.maximum(better, 0))


def ranked(scores: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return rows from the best score to the worst; of equal ones, the higher mean and the first row."""
    # far below the best target, expected improvement is 0 in floating point
    return np.lexsort((-mean, -scores))


def thompson_order(
    mean: np.ndarray, covariance: np.ndarray, n: int, random: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """Return ``n`` rows, each the best of a joint sample that is not chosen yet, and their values."""
    root = _root(covariance)  # (candidates, candidates)
    rows, values = np.empty(n, dtype=np.int64), np.empty(n)
    chosen = np.zeros(len(mean), dtype=bool)
    for number in range(n):
        sample = mean + root @ random.standard_normal(len(mean))  # (candidates,)
        sample[chosen] = -np.inf
        rows[number] = np.argmax(sample)
        values[number] = sample[rows[number]]
        chosen[rows[number]] = True
    return rows, values


def diverse_order(features: Any, n: int, random: np.random.RandomState) -> np.ndarray:
    """Return ``n`` rows of candidates in order of preference: the first of each of ``n`` clusters.

    Fewer than ``n`` different vectors give fewer clusters; the first of the other rows follow.
    """
    from sklearn.cluster import KMeans  # a third of a second, also for commands without clusters

    distinct = len(np.unique(features, axis=0)) if isinstance(features, np.ndarray) else n
    clusters = KMeans(min(n, distinct), n_init=1, random_state=random).fit_predict(features)
    first = np.sort(np.unique(clusters, return_index=True)[1])
    others = np.setdiff1d(np.arange(len(clusters)), first)
    return np.sort(np.concatenate([first, others[: n - len(first)]]))


def _root(covariance: np.ndarray) -> np.ndarray:
    """Return the Cholesky factor of a covariance that is positive definite up to rounding."""
    scale = max(float(np.diagonal(covariance).mean()), np.finfo(float).tiny)
    for power in range(-10, 0):
        jitter = scale * 10.0**power
        try:
            return np.asarray(cholesky(covariance + jitter * np.eye(len(covariance)), lower=True))
        except LinAlgError:
            continue
    raise ValueError("The covariance of the predictions must be positive definite. Fit the model again.")
