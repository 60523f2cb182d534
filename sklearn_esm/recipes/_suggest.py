"""`suggest_candidates`: which candidates to measure next, by the predictions of a fitted pipeline."""

from __future__ import annotations

from inspect import signature
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils import check_random_state

from sklearn_esm._columns import items_of
from sklearn_esm.recipes._acquisition import (
    JOINT,
    SHORTLIST,
    check_strategy,
    diverse_order,
    ranked,
    scores_of,
    thompson_order,
)


def suggest_candidates(
    model: Any,
    candidates: Any,
    n: int,
    *,
    strategy: str = "expected-improvement",
    best: float | None = None,
    beta: float = 2.0,
    maximize: bool = True,
    diverse: bool = False,
    random_state: Any = None,
) -> np.ndarray:
    """Choose the candidates to measure next.

    Parameters
    ----------
    model : estimator
        Fitted pipeline that predicts numbers, or a search over pipelines. Every strategy but
        ``"greedy"`` needs a last step whose ``predict`` has ``return_std``, such as
        :class:`~sklearn.gaussian_process.GaussianProcessRegressor`.

    candidates : list, array or column of str
        Sequences or mutations, as ``model`` accepts them. Leave out those that were measured.

    n : int
        Number of candidates to choose.

    strategy : {"greedy", "upper-confidence-bound", "expected-improvement", "thompson"}, \
default="expected-improvement"
        Score of a candidate with the predicted mean m and standard deviation s:

        - ``"greedy"``: m.
        - ``"upper-confidence-bound"``: m + ``beta`` s.
        - ``"expected-improvement"``: the expectation of max(f - ``best``, 0) for f normal with m and s
          [1]_.
        - ``"thompson"``: the value in a joint sample of the posterior of a Gaussian process. Each choice
          is the best of another sample. If there are more than 5,000 candidates, the samples are of the
          5,000 with the highest upper confidence bounds. It needs ``return_cov``, too.

    best : float or None, default=None
        Best measured target, for expected improvement. None is the best prediction for the rows with
        which a Gaussian process was fitted, which noise disturbs less than the best measurement.

    beta : float, default=2.0
        Number of standard deviations in the upper confidence bound. Increase it to explore more.

    maximize : bool, default=True
        Whether higher targets are better. False changes the sign of the mean and of ``best``.

    diverse : bool, default=False
        Whether to spread the choice: the 10 ``n`` best candidates are clustered by k-means into ``n``
        clusters, on the features before the last step, and the best of each cluster is chosen [2]_.

    random_state : int, RandomState instance or None, default=None
        Seed of ``"thompson"`` and of ``diverse``. Pass an int for reproducible results.

    Returns
    -------
    ndarray of shape (n,), int64
        Rows of the candidates, in the order of choice. A candidate that occurs twice is chosen once.

    Raises
    ------
    ValueError
        If a parameter is invalid, if there are fewer than ``n`` different candidates, or if the model
        predicts classes or has no standard deviations.

    See Also
    --------
    sklearn_esm.variants.single_substitutions : Candidates from a reference.

    Notes
    -----
    The ``n`` candidates with the highest scores are chosen together. With expected improvement and upper
    confidence bounds they can be much alike, because a score does not account for the other choices.
    Set ``diverse=True``, or use ``"thompson"``, if that matters.

    The standard deviation is that of ``predict``. It includes the noise of a ``WhiteKernel``.

    References
    ----------
    .. [1] Jones, Schonlau & Welch (1998), "Efficient global optimization of expensive black-box
       functions", Journal of Global Optimization 13.
    .. [2] Zhdanov (2019), "Diverse mini-batch active learning", arXiv:1901.05954, chooses the candidate
       next to each centre instead of the best of each cluster.

    Examples
    --------
    >>> from sklearn.gaussian_process import GaussianProcessRegressor
    >>> from sklearn.gaussian_process.kernels import RBF
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn_esm.baselines import OneHotResidues
    >>> from sklearn_esm.recipes import suggest_candidates
    >>> from sklearn_esm.variants import MutationsToSequences, single_substitutions
    >>> model = make_pipeline(
    ...     MutationsToSequences("MKTAYI"),
    ...     OneHotResidues(),
    ...     GaussianProcessRegressor(RBF(2.0), alpha=0.1, optimizer=None, normalize_y=True),
    ... ).fit(["WT", "K2R", "K2E", "A4G", "Y5F"], [0.0, 1.2, -2.0, 0.1, 0.3])
    >>> candidates = ["K2D", "K2R:Y5F", "A4V", "K2E:A4V"]
    >>> rows = suggest_candidates(model, candidates, 2, strategy="greedy")
    >>> [candidates[row] for row in rows]
    ['K2R:Y5F', 'A4V']
    """
    model = getattr(model, "best_estimator_", model)
    check_strategy(strategy)
    check_suggests(model, strategy)
    random = check_random_state(random_state)
    items = items_of(candidates)
    first: dict[str, int] = {}
    for row, item in enumerate(items):
        first.setdefault(str(item).strip().upper(), row)
    rows = np.array(list(first.values()))
    if not 1 <= n <= len(rows):
        raise ValueError(f"n must be 1 to {len(rows):,}, the number of different candidates; got {n!r}.")
    features = features_of(model, [items[row] for row in rows])
    mean, std = moments(model, features, maximize=maximize)
    if strategy == "expected-improvement":
        best = incumbent(model, best, maximize=maximize)
    scores = scores_of(strategy, mean, std, best=best, beta=beta)
    kept = ranked(scores, mean)[: shortlist_size(strategy, n, diverse=diverse)]
    order, _ = chosen(
        model,
        features[kept],
        scores[kept],
        n,
        strategy,
        diverse=diverse,
        random=random,
        maximize=maximize,
    )
    suggested: np.ndarray = rows[kept[order]].astype(np.int64)
    return suggested


def shortlist_size(strategy: str, n: int, *, diverse: bool) -> int:
    """Return how many of the best candidates by `scores_of` the choice depends on."""
    if strategy == "thompson":
        return max(JOINT, n)
    return SHORTLIST * n if diverse else n


def chosen(
    model: Any,
    features: Any,
    scores: np.ndarray,
    n: int,
    strategy: str,
    *,
    diverse: bool,
    random: np.random.RandomState,
    maximize: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Return ``n`` rows of a shortlist in the order of choice, and the score of each.

    ``features`` and ``scores`` are those of the shortlist, from the highest score to the lowest.
    """
    order = np.arange(features.shape[0])
    if strategy == "thompson":
        mean, covariance = last_step(model).predict(features, return_cov=True)
        several = min(SHORTLIST * n if diverse else n, len(order))
        order, scores = thompson_order(mean if maximize else -mean, covariance, several, random)
    if diverse:
        rows = diverse_order(features[order], n, random)
        order, scores = order[rows], scores[rows]
    return order[:n], scores[:n]


def moments(model: Any, features: Any, *, maximize: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Return mean, of which higher is better, and standard deviation of predictions, if there is one."""
    last = last_step(model)
    if returns_std(model):
        mean, std = last.predict(features, return_std=True)
    else:
        mean, std = last.predict(features), None
    return (mean if maximize else -mean), std


def incumbent(model: Any, best: float | None, *, maximize: bool) -> float:
    """Return the best target so far, of which higher is better."""
    if best is None:
        last = last_step(model)
        if not hasattr(last, "X_train_"):
            raise ValueError("best must be the best measured target for this model; got None.")
        targets = last.predict(last.X_train_)
        best = float(targets.max() if maximize else targets.min())
    return best if maximize else -best


def check_suggests(model: Any, strategy: str) -> None:
    """Raise ValueError if a strategy cannot be used with a model."""
    name = type(last_step(model)).__name__
    if is_classifier(model):
        raise ValueError(
            f"The last step must predict numbers; got {name}, a classifier. Sort the candidates by its "
            "probabilities instead."
        )
    if strategy != "greedy" and not returns_std(model):
        raise ValueError(
            f"strategy={strategy!r} needs standard deviations, which {name} does not predict. Set "
            "strategy='greedy', or train with estimator='gaussian-process'."
        )
    if strategy == "thompson" and "return_cov" not in signature(last_step(model).predict).parameters:
        raise ValueError(
            f"strategy='thompson' needs covariances, which {name} does not predict. Train with "
            "estimator='gaussian-process'."
        )


def returns_std(model: Any) -> bool:
    """Return whether the last step predicts standard deviations."""
    return "return_std" in signature(last_step(model).predict).parameters


def last_step(model: Any) -> Any:
    """Return the estimator that predicts."""
    return model[-1] if hasattr(model, "steps") else model


def features_of(model: Any, X: Any) -> Any:
    """Return what the last step gets."""
    return model[:-1].transform(X) if hasattr(model, "steps") and len(model) > 1 else X
