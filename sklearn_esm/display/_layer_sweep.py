"""The scores of a search by layer, a line for each pooling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.exceptions import NotFittedError

from sklearn_esm._pooling import pooling_name
from sklearn_esm.display._matplotlib import axes_or_new, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SPREAD = 0.3  # of the distance of neighbouring layers: lines side by side, so that no bar hides another


class LayerSweepDisplay:
    """Test scores of a search by layer, a line for each pooling, with the spread over the folds.

    Made by :meth:`from_search`; the parameters are stored as attributes.

    Parameters
    ----------
    layers : sequence of int or str
        The layers, from left to right.

    mean_scores : ndarray of shape (n_poolings, n_layers)
        Mean test scores, NaN where there is none.

    std_scores : ndarray of shape (n_poolings, n_layers)
        Their standard deviations over the folds.

    poolings : sequence of str
        What the lines are called.

    score_name : str, default="score"
        What was scored.

    n_splits : int or None, default=None
        How many folds there were, to be named beside the axis.

    name : str or None, default=None
        The title; None is the best point.

    Attributes
    ----------
    best_ : tuple of (int or str, str, float)
        Layer, pooling and mean score of the best point.

    errorbar_ : list of matplotlib.container.ErrorbarContainer
        The lines, in the order of ``poolings``.

    ring_ : matplotlib.collections.PathCollection
        The ring around the best point.

    legend_ : matplotlib.legend.Legend or None
        None with a single line.

    ax_ : matplotlib.axes.Axes
        Where they are drawn.

    figure_ : matplotlib.figure.Figure
        The figure of the axes.

    See Also
    --------
    sklearn_esm.ESMEmbeddingTransformer.precompute : One pass of the model for all layers and poolings.

    Notes
    -----
    The best of many scores on the same folds is partly luck, the more so where the differences are
    smaller than the bars. Report the score of data that no candidate was scored on.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn_esm import ESMEmbeddingTransformer
    >>> from sklearn_esm.datasets import load_peptides
    >>> from sklearn_esm.display import LayerSweepDisplay
    >>> sequences, y = load_peptides(return_X_y=True)
    >>> head = LogisticRegression(max_iter=1000)
    >>> pipeline = make_pipeline(ESMEmbeddingTransformer("esm2_t6_1M_bundled"), head)
    >>> search = GridSearchCV(pipeline, {"esmembeddingtransformer__layer": [0, 3, 6]}, cv=3)
    >>> display = LayerSweepDisplay.from_search(search.fit(sequences[::6], y[::6]))
    >>> display.layers, display.poolings, display.mean_scores.shape
    ([0, 3, 6], ['mean'], (1, 3))
    """

    def __init__(
        self,
        layers: Sequence[int | str],
        mean_scores: np.ndarray,
        std_scores: np.ndarray,
        *,
        poolings: Sequence[str],
        score_name: str = "score",
        n_splits: int | None = None,
        name: str | None = None,
    ) -> None:
        self.layers = layers
        self.mean_scores = mean_scores
        self.std_scores = std_scores
        self.poolings = poolings
        self.score_name = score_name
        self.n_splits = n_splits
        self.name = name

    @classmethod
    def from_search(
        cls,
        search: Any,
        *,
        scoring: str | None = None,
        layer: str | None = None,
        where: Mapping[str, Any] | None = None,
        name: str | None = None,
        ax: Axes | None = None,
    ) -> LayerSweepDisplay:
        """Draw what a search over layers found.

        A point is the best candidate of its layer and pooling, by the mean test score: the best
        strength of a regularisation, say, may differ from point to point. Pass ``where`` to hold the
        other parameters fixed. Of a successive halving each point is from the last round that it
        reached, and later rounds score on more data.

        Parameters
        ----------
        search : GridSearchCV, RandomizedSearchCV or another with ``cv_results_``
            Fitted, of an estimator in which :class:`~sklearn_esm.ESMEmbeddingTransformer` is a step
            and its ``layer`` is searched; ``refit=False`` will do. Candidates without a layer, as of a
            second grid, are left out.

        scoring : str or None, default=None
            Which score, where the search has several.

        layer : str or None, default=None
            The parameter's name, such as ``"esmembeddingtransformer__layer"``. None finds it; it has to
            be given where several steps have one.

        where : dict or None, default=None
            Parameters of the search and their values: other candidates are left out.

        name : str or None, default=None
            A title; None is the best point.

        ax : matplotlib.axes.Axes or None, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        LayerSweepDisplay
            With ``ax_``, ``figure_`` and ``errorbar_``.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            For what has no ``cv_results_``.
        ValueError
            For a search without layers, of several scores or layers none of which is chosen, or whose
            candidates failed or are all left out.
        ImportError
            Without matplotlib.
        """
        if not hasattr(search, "cv_results_"):
            raise NotFittedError(
                f"This {type(search).__name__} has no cv_results_. Pass a search, such as GridSearchCV, "
                "after its fit."
            )
        results = search.cv_results_
        score, score_name = _score(search, scoring)
        mean, std = results[f"mean_test_{score}"], results[f"std_test_{score}"]  # (candidates,)
        layer = _layer_parameter(search, layer)
        pooling = layer.removesuffix("layer") + "pooling"
        # a pooling that is not searched is the estimator's own
        same = {pooling: search.estimator.get_params().get(pooling)}
        rounds = results.get("iter", np.zeros(len(mean)))
        ranks = list(zip(rounds, np.where(np.isnan(mean), -np.inf, mean), strict=True))
        best: dict[tuple[int | str, str], int] = {}  # the candidate of each point
        for row, varied in enumerate(results["params"]):
            params = same | dict(varied)
            if layer in params and _matches(params, where or {}):
                point = (_label(params[layer]), str(_label(params[pooling])))
                if point not in best or ranks[row] > ranks[best[point]]:
                    best[point] = row
        if not best:
            raise ValueError(
                f"No candidate of the search has a layer and where={where}. Compare it with "
                "cv_results_['params']."
            )
        if not np.isfinite(mean[list(best.values())]).any():
            raise ValueError(
                "Every candidate of the search failed: its mean scores are NaN. Fit the search with "
                "error_score='raise' to see why."
            )
        layers = _in_order(of for of, _ in best)
        poolings = list(dict.fromkeys(how for _, how in best))
        scores = np.full((2, len(poolings), len(layers)), np.nan)
        for (of, how), row in best.items():
            scores[:, poolings.index(how), layers.index(of)] = mean[row], std[row]
        return cls(
            layers,
            *scores,
            poolings=poolings,
            score_name=score_name,
            n_splits=getattr(search, "n_splits_", None),
            name=name,
        ).plot(ax=ax)

    @property
    def best_(self) -> tuple[int | str, str, float]:
        """Layer, pooling and mean score of the best point."""
        found = np.unravel_index(np.nanargmax(self.mean_scores), self.mean_scores.shape)
        line, place = map(int, found)
        return self.layers[place], self.poolings[line], float(self.mean_scores[line, place])

    def plot(self, *, ax: Axes | None = None) -> LayerSweepDisplay:
        """Draw the lines.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        LayerSweepDisplay
            The display itself.
        """
        ax = axes_or_new(ax)
        from matplotlib.ticker import MaxNLocator  # there by now

        places = self._places()  # (layers,)
        apart = np.diff(places).min() if len(places) > 1 else 1
        n_lines = len(self.poolings)
        shifts = (np.arange(n_lines) - (n_lines - 1) / 2) * _SPREAD * apart / max(n_lines - 1, 1)
        self.errorbar_ = []
        for number, pooling in enumerate(self.poolings):
            colour, marker, line = style(number)
            drawn = ax.errorbar(
                places + shifts[number],
                self.mean_scores[number],
                yerr=self.std_scores[number],
                color=colour,
                marker=marker,
                linestyle=line,
                linewidth=1.8,
                elinewidth=0.9,
                capsize=2.5,
                label=pooling,
            )
            self.errorbar_.append(drawn)
        layer, pooling, score = self.best_
        place = places[list(self.layers).index(layer)] + shifts[list(self.poolings).index(pooling)]
        self.ring_ = ax.scatter(place, score, s=200, facecolors="none", edgecolors="black", zorder=5)
        if not _are_numbers(self.layers):
            ax.set_xticks(places, [str(layer) for layer in self.layers])
        else:
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        folds = f"{self.n_splits} folds" if self.n_splits else "the folds"
        ax.set(
            xlabel="Layer (0 is the token embeddings)" if 0 in self.layers else "Layer",
            ylabel=f"{self.score_name} (mean and sd of {folds})",
            title=self.name or f"Best: {pooling}, layer {layer}, {score:.3f}",
        )
        ax.grid(axis="y", color="0.87", linewidth=0.8)
        self.legend_ = ax.legend(title="Pooling") if n_lines > 1 else None
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _places(self) -> np.ndarray:
        if _are_numbers(self.layers):
            return np.asarray(self.layers, dtype=np.float64)
        return np.arange(len(self.layers), dtype=np.float64)


def _score(search: Any, scoring: str | None) -> tuple[str, str]:
    """The score's name in ``cv_results_``, and the one to show."""
    prefix = "mean_test_"
    names = [key.removeprefix(prefix) for key in search.cv_results_ if key.startswith(prefix)]
    if names == ["score"]:
        shown = search.scoring if isinstance(search.scoring, str) else "score"
        if scoring not in (None, "score", shown):
            raise ValueError(
                f"The search has one score, {shown!r}. Pass scoring=None instead of {scoring!r}."
            )
        return "score", shown
    if scoring is None or scoring not in names:
        raise ValueError(
            f"The search has the scores {sorted(names)}, and scoring is {scoring!r}. Pass one of them."
        )
    return scoring, scoring


def _layer_parameter(search: Any, name: str | None) -> str:
    """The searched parameter that is a layer."""
    searched: list[str] = list(
        dict.fromkeys(key for params in search.cv_results_["params"] for key in params)
    )
    found = [key for key in searched if key == "layer" or key.endswith("__layer")]
    if name is None and len(found) == 1:
        return found[0]
    if name is None and not found:
        raise ValueError(
            f"The search has no parameter 'layer', only {searched}. Search the layer of an ESM step, "
            "such as 'esmembeddingtransformer__layer'."
        )
    if name is None or name not in found:
        raise ValueError(
            f"The search has the layers {found}, and the parameter to draw is {name!r}. Pass one of "
            "them as layer."
        )
    return name


def _matches(params: Mapping[str, Any], where: Mapping[str, Any]) -> bool:
    # the same object, or an equal one: estimators are equal to themselves only
    return all(
        key in params and (params[key] is value or _label(params[key]) == _label(value))
        for key, value in where.items()
    )


def _label(value: Any) -> Any:
    """A layer or pooling as it is written; integers stay, so that they can be sorted and compared."""
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, (list, tuple, range, np.ndarray)):
        return "+".join(str(_label(part)) for part in value)
    if isinstance(value, str) or callable(value):
        return pooling_name(value)
    return value


def _in_order(layers: Any) -> list[Any]:
    """Layers counted from the beginning, those counted from the end, then lists and ``"all"``."""
    given = list(dict.fromkeys(layers))
    numbers = sorted((layer for layer in given if isinstance(layer, int)), key=lambda n: (n < 0, n))
    return [*numbers, *(layer for layer in given if not isinstance(layer, int))]


def _are_numbers(layers: Sequence[int | str]) -> bool:
    # -1 is no neighbour of 0: with both kinds the layers stand side by side, at no distances
    return all(isinstance(n, Integral) for n in layers) and len({int(n) < 0 for n in layers}) < 2
