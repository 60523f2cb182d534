"""`make_property_search`: a grid search from sequences to a property, not fitted yet."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_esm._checkpoints._identity import identify_model
from sklearn_esm._embedding import ESMEmbeddingTransformer
from sklearn_esm._likelihood import ESMLikelihoodTransformer
from sklearn_esm._parameters import published_architecture
from sklearn_esm._pooling import POOLINGS
from sklearn_esm._sequences import check_one_of, is_int
from sklearn_esm.baselines import OneHotResidues, ResidueComposition
from sklearn_esm.recipes._estimators import checked_task, estimator_and_grid
from sklearn_esm.variants import MutationsToSequences

FEATURES = ("embedding", "likelihood", "one-hot", "composition")


def make_property_search(
    estimator: str = "ridge",
    *,
    task: str | None = None,
    features: str | Sequence[str] = ("embedding",),
    model: str | os.PathLike[str] = "esm2_t6_8M_UR50D",
    layers: int | Sequence[int] | str = -1,
    poolings: str | Sequence[str] = "mean",
    mutations: bool = False,
    reference: str | None = None,
    first_position: int = 1,
    cv: Any = 5,
    scoring: Any = None,
    overlong: str = "error",
    max_length: int | None = None,
    invalid: str = "error",
    cache: str | os.PathLike[str] | None = "memory",
    device: str | None = None,
    dtype: str = "float32",
    batch_tokens: int | None = None,
    n_jobs: int | None = None,
    verbose: bool = False,
    random_state: int | None = None,
) -> GridSearchCV:
    """Make a grid search that predicts a property of proteins from their sequences.

    It is what the command ``sklearn-esm train`` fits. The search is an ordinary, unfitted
    :class:`sklearn.model_selection.GridSearchCV` over a pipeline with the steps ``"sequences"`` (if
    ``mutations=True``), ``"features"``, ``"scale"`` and ``"estimator"``.

    Parameters
    ----------
    estimator : str, default="ridge"
        Last step, and the values that are searched:

        - ``"ridge"``: regression, ``alpha`` of 1 to 10,000.
        - ``"logistic"``: classification, ``C`` of 0.001 to 10.
        - ``"svm"``: an RBF kernel, ``C`` of 0.1 to 10. Targets of a regression are scaled. A
          classifier has no probabilities.
        - ``"random-forest"``: 200 trees, ``max_features`` of ``"sqrt"`` or 0.3.
        - ``"gaussian-process"``: regression with standard deviations; an RBF kernel and noise, fitted by
          marginal likelihood. Time grows with the cube of the rows. scikit-learn warns if a parameter
          of the kernel is at its bound, as the noise of a target without noise is.
        - ``"gradient-boosting"``: histograms, ``max_leaf_nodes`` of 4 or 16.

    task : {"regression", "classification"} or None, default=None
        Kind of target. ``None`` is classification for ``"logistic"``, and regression for the others.

    features : str or list of str, default=("embedding",)
        Features, side by side if there are several:

        - ``"embedding"``: pooled states of the model.
        - ``"likelihood"``: masked marginals if there is a ``reference``, which needs a forward pass for
          each position that varies; otherwise the pseudo-perplexity, which needs one for each residue of
          each sequence.
        - ``"one-hot"``: the residue at each position. Sequences must have the same length.
        - ``"composition"``: frequencies of residues, and the logarithm of the length.

    model : str or path-like, default="esm2_t6_8M_UR50D"
        Weights to use, as in :class:`~sklearn_esm.ESMEmbeddingTransformer`.

    layers : int, list of int or "all", default=-1
        Layer of the embedding. Several are searched, not concatenated. ``"all"`` reads the number of
        layers, for which a model without a catalog entry must be on this machine or be downloaded.

    poolings : str or list of str, default="mean"
        Pooling of the embedding. Several are searched, not concatenated.

    mutations : bool, default=False
        Whether X has mutations of the ``reference``, such as ``"A24G:K30R"``, instead of sequences.

    reference : str or None, default=None
        Wild-type sequence. Required with ``mutations=True``.

    first_position : int, default=1
        Number of the reference's first residue in mutations.

    cv : int, splitter or iterable, default=5
        Folds of the search. An integer is the number of shuffled folds, stratified for classification.
        Pass :class:`~sklearn.model_selection.GroupKFold`, and ``groups`` to ``fit``, to keep relatives
        together.

    scoring : str, callable or None, default=None
        Score of the search. ``None`` is ``"r2"`` for regression, and ``"balanced_accuracy"`` for
        classification. For two classes ``"roc_auc"`` is finer.

    overlong, max_length, invalid
        As in :class:`~sklearn_esm.ESMEmbeddingTransformer`. The baselines have no limit of the length.

    cache : "memory", path-like or None, default="memory"
        Where the transformers keep their results, so that a search runs the model once per sequence.
        Pass a folder if ``n_jobs`` is set, because processes do not share memory.

    device, dtype, batch_tokens
        As in :class:`~sklearn_esm.ESMEmbeddingTransformer`.

    n_jobs : int or None, default=None
        Number of jobs of the search. ``None`` means 1 unless in a ``joblib.parallel_config`` context.

    verbose : bool, default=False
        Show a progress bar while the model runs.

    random_state : int or None, default=None
        Seed of the folds and of the estimator. Pass an int for reproducible output.

    Returns
    -------
    GridSearchCV
        The search. A candidate that fails raises its error.

    Raises
    ------
    ValueError
        If a parameter is invalid, or if the estimator cannot do the task.

    See Also
    --------
    sklearn_esm.ESMEmbeddingTransformer : Embed sequences, the step that is searched by layer.
    sklearn_esm.model_selection.identity_groups : Group sequences by identity, for folds.
    sklearn_esm.display.LayerSweepDisplay : Plot the scores by layer.

    Notes
    -----
    The best score of a search is optimistic, because it is the maximum of several. Score the search
    itself on outer folds to report how good the model is, as below and in the command.

    Before a search over layers or poolings, run
    :meth:`~sklearn_esm.ESMEmbeddingTransformer.precompute` with the same layers and poolings. Otherwise
    each layer is a pass of its own.

    Examples
    --------
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn_esm.datasets import load_peptides
    >>> from sklearn_esm.recipes import make_property_search
    >>> sequences, y = load_peptides(return_X_y=True)
    >>> search = make_property_search(
    ...     "logistic", model="esm2_t6_1M_bundled", scoring="roc_auc", cv=3, random_state=0
    ... )
    >>> list(search.param_grid)
    ['estimator__C']
    >>> print(f"{cross_val_score(search, sequences, y, scoring='roc_auc', cv=3).mean():.1f}")
    1.0
    """
    task = checked_task(estimator, task)
    chosen = _checked_features(features)
    if not isinstance(mutations, bool):
        raise TypeError(f"mutations must be a bool; got {mutations!r}.")
    if mutations and reference is None:
        raise ValueError("reference must be the wild-type sequence if mutations=True; got None.")
    shared = {
        "model": model,
        "overlong": overlong,
        "max_length": max_length,
        "invalid": invalid,
        "device": device,
        "dtype": dtype,
        "batch_tokens": batch_tokens,
        "cache": cache,
        "verbose": verbose,
    }
    parts = {name: _transformer(name, reference, invalid, shared) for name in chosen}
    prefix = "features__" if len(parts) == 1 else "features__embedding__"
    grid: dict[str, list[Any]] = {}
    if "embedding" in parts:
        values = {"layer": _layers(layers, model), "pooling": _poolings(poolings)}
        for parameter, candidates in values.items():
            parts["embedding"].set_params(**{parameter: candidates[0]})
            if len(candidates) > 1:
                grid[f"{prefix}{parameter}"] = candidates
    last, searched = estimator_and_grid(estimator, task, random_state)
    grid |= {f"estimator__{parameter}": values for parameter, values in searched.items()}
    steps: list[tuple[str, Any]] = [
        (
            "features",
            next(iter(parts.values())) if len(parts) == 1 else FeatureUnion(list(parts.items())),
        ),
        ("scale", StandardScaler()),
        ("estimator", last),
    ]
    if mutations and reference is not None:
        steps.insert(0, ("sequences", MutationsToSequences(reference, first_position)))
    default = "r2" if task == "regression" else "balanced_accuracy"
    return GridSearchCV(
        Pipeline(steps),
        grid,
        scoring=default if scoring is None else scoring,
        cv=_folds(cv, task, random_state),
        n_jobs=n_jobs,
        error_score="raise",  # otherwise an invalid sequence is a warning and a score of NaN
    )


def _checked_features(features: Any) -> list[str]:
    chosen = [features] if isinstance(features, str) else list(features)
    if not chosen:
        raise ValueError(f"features must not be empty; got {features!r}.")
    for name in chosen:
        check_one_of("features", name, FEATURES)
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"features must not repeat a name; got {features!r}.")
    return chosen


def _transformer(name: str, reference: str | None, invalid: str, shared: dict[str, Any]) -> Any:
    if name == "embedding":
        return ESMEmbeddingTransformer(**shared)
    if name == "likelihood":
        method = "pseudo-perplexity" if reference is None else "masked-marginals"
        return ESMLikelihoodTransformer(**shared, method=method, reference=reference)
    if name == "one-hot":
        return OneHotResidues(reference=reference, invalid=invalid)
    return ResidueComposition(length="log", invalid=invalid)


def _layers(layers: Any, model: str | os.PathLike[str]) -> list[Any]:
    if isinstance(layers, str) and layers == "all":
        architecture = published_architecture(model) or identify_model(model).architecture
        return list(range(architecture.layers + 1))
    if isinstance(layers, str):
        raise ValueError(f"layers must be an integer, a list of integers or 'all'; got {layers!r}.")
    return _several("layers", layers, is_one=is_int(layers))


def _poolings(poolings: Any) -> list[Any]:
    candidates = _several("poolings", poolings, is_one=isinstance(poolings, str))
    for pooling in candidates:
        check_one_of("poolings", pooling, tuple(POOLINGS))
    return candidates


def _several(name: str, values: Any, *, is_one: bool) -> list[Any]:
    candidates = [values] if is_one else list(values)
    if not candidates or len(set(candidates)) < len(candidates):
        raise ValueError(f"{name} must not be empty or repeat a value; got {values!r}.")
    return candidates


def _folds(cv: Any, task: str, random_state: int | None) -> Any:
    if not is_int(cv):
        return cv
    kind = KFold if task == "regression" else StratifiedKFold
    return kind(cv, shuffle=True, random_state=random_state)
