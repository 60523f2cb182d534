"""Read the ``cv_results_`` of a search by layer and pooling."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any

import numpy as np

from sklearn_esm._pooling import pooling_name


def score_names(search: Any, scoring: str | None) -> tuple[str, str]:
    """Return the score's name in ``cv_results_`` and in the plot."""
    prefix = "mean_test_"
    names = [key.removeprefix(prefix) for key in search.cv_results_ if key.startswith(prefix)]
    if names == ["score"]:
        shown = search.scoring if isinstance(search.scoring, str) else "score"
        if scoring not in (None, "score", shown):
            raise ValueError(
                f"scoring must be None or {shown!r}, the only score of the search; got {scoring!r}."
            )
        return "score", shown
    if scoring is None or scoring not in names:
        raise ValueError(f"scoring must be one of the search's scores {sorted(names)}; got {scoring!r}.")
    return scoring, scoring


def layer_parameter(search: Any, name: str | None) -> str:
    """Return the name of the searched layer parameter."""
    searched: list[str] = list(
        dict.fromkeys(key for params in search.cv_results_["params"] for key in params)
    )
    found = [key for key in searched if key == "layer" or key.endswith("__layer")]
    if name is None and len(found) == 1:
        return found[0]
    if name is None and not found:
        raise ValueError(
            f"search must have a parameter 'layer'; got {searched}. Search the layer of an ESM step, "
            "such as 'esmembeddingtransformer__layer'."
        )
    if name is None or name not in found:
        raise ValueError(f"layer must be one of the searched parameters {found}; got {name!r}.")
    return name


def best_candidates(
    results: Mapping[str, Any],
    mean: np.ndarray,
    names: tuple[str, str],
    same: Any,
    where: Mapping[str, Any],
) -> dict[tuple[int | str, str], int]:
    """Return the row in ``cv_results_`` of the best candidate of each layer and pooling.

    ``names`` are the parameters of the layer and of the pooling. ``same`` is the pooling of candidates
    that do not search it.

    Raises
    ------
    ValueError
        If no candidate matches ``where``, or if no score is finite.
    """
    layer, pooling = names
    rounds = results.get("iter", np.zeros(len(mean)))
    ranks = list(zip(rounds, np.where(np.isnan(mean), -np.inf, mean), strict=True))
    best: dict[tuple[int | str, str], int] = {}
    for row, varied in enumerate(results["params"]):
        params = {pooling: same, **varied}
        if layer in params and _matches(params, where):
            point = (label(params[layer]), str(label(params[pooling])))
            if point not in best or ranks[row] > ranks[best[point]]:
                best[point] = row
    if not best:
        raise ValueError(
            f"where must match a candidate with a layer; got where={where}. Compare it with "
            "cv_results_['params']."
        )
    if not np.isfinite(mean[list(best.values())]).any():
        raise ValueError(
            "search must have finite mean scores; got NaN for every candidate. Fit the search with "
            "error_score='raise' to see the error."
        )
    return best


def label(value: Any) -> Any:
    """Return the label of a layer or pooling. Integers stay integers, so that they can be sorted."""
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, (list, tuple, range, np.ndarray)):
        return "+".join(str(label(part)) for part in value)
    if isinstance(value, str) or callable(value):
        return pooling_name(value)
    return value


def in_order(layers: Any) -> list[Any]:
    """Return non-negative layers, then negative ones, then lists and ``"all"``."""
    given = list(dict.fromkeys(layers))
    numbers = sorted((layer for layer in given if isinstance(layer, int)), key=lambda n: (n < 0, n))
    return [*numbers, *(layer for layer in given if not isinstance(layer, int))]


def _matches(params: Mapping[str, Any], where: Mapping[str, Any]) -> bool:
    # identity first, because values such as NaN are not equal to themselves
    return all(
        key in params and (params[key] is value or label(params[key]) == label(value))
        for key, value in where.items()
    )
