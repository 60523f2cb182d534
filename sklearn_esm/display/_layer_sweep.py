"""Plot of a search's scores by layer, with one line per pooling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.exceptions import NotFittedError

from sklearn_esm.display._matplotlib import axes_or_new, style
from sklearn_esm.display._search_results import (
    best_candidates,
    in_order,
    layer_parameter,
    score_names,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SPREAD = 0.3  # horizontal shift of the lines, in layers, so that error bars do not overlap


class LayerSweepDisplay:
    """Plot of a search's test scores by layer, with one line per pooling.

    Create it with :meth:`from_search`. Parameters become attributes.

    Parameters
    ----------
    layers : sequence of int or str
        Layers, from left to right.

    mean_scores : ndarray of shape (n_poolings, n_layers)
        Mean test scores, NaN if missing.

    std_scores : ndarray of shape (n_poolings, n_layers)
        Standard deviations over the folds.

    poolings : sequence of str
        Labels of the lines.

    score_name : str, default="score"
        Name of the score.

    n_splits : int or None, default=None
        Number of folds, for the label of the axis.

    n_resources : ndarray of shape (n_poolings, n_layers) or None, default=None
        Resources of each point in a successive halving. Points with fewer than the most are hollow and
        are not compared with the others. None if all points have the same.

    resource : str, default="n_samples"
        Name of the resource, for the legend.

    name : str or None, default=None
        Title of the plot. None names the best point.

    Attributes
    ----------
    best_ : tuple of (int or str, str, float)
        Layer, pooling and mean score of the best point, among those with the most resources.

    errorbar_ : list of matplotlib.container.ErrorbarContainer
        Lines, in the order of ``poolings``.

    hollow_ : list of matplotlib.lines.Line2D
        Hollow markers of the points with fewer resources, one entry for each line that has any.

    ring_ : matplotlib.collections.PathCollection
        Ring around the best point.

    legend_ : matplotlib.legend.Legend or None
        Legend, None with a single line without hollow markers.

    ax_ : matplotlib.axes.Axes
        Axes of the plot.

    figure_ : matplotlib.figure.Figure
        Figure of the axes.

    See Also
    --------
    sklearn_esm.ESMEmbeddingTransformer.precompute : Run the model once for all layers and
        poolings.

    Notes
    -----
    The best of many scores on the same folds is biased upwards, above all if the differences are smaller
    than the error bars. Report the score on data that the search did not use.

    Examples
    --------
    .. plot::

        >>> from sklearn.linear_model import LogisticRegression
        >>> from sklearn.model_selection import GridSearchCV
        >>> from sklearn.pipeline import make_pipeline
        >>> from sklearn.preprocessing import StandardScaler
        >>> from sklearn_esm import ESMEmbeddingTransformer
        >>> from sklearn_esm.datasets import load_peptides
        >>> from sklearn_esm.display import LayerSweepDisplay
        >>> sequences, y = load_peptides(return_X_y=True)
        >>> embed = ESMEmbeddingTransformer("esm2_t6_1M_bundled")
        >>> pipeline = make_pipeline(embed, StandardScaler(), LogisticRegression(C=0.1))
        >>> grid = {"esmembeddingtransformer__layer": range(7)}
        >>> search = GridSearchCV(pipeline, grid, scoring="roc_auc").fit(sequences, y)
        >>> display = LayerSweepDisplay.from_search(search)
        >>> display.layers, display.poolings, display.mean_scores.shape
        ([0, 1, 2, 3, 4, 5, 6], ['mean'], (1, 7))
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
        n_resources: np.ndarray | None = None,
        resource: str = "n_samples",
        name: str | None = None,
    ) -> None:
        self.layers = layers
        self.mean_scores = mean_scores
        self.std_scores = std_scores
        self.poolings = poolings
        self.score_name = score_name
        self.n_splits = n_splits
        self.n_resources = n_resources
        self.resource = resource
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

        A point is the candidate with the best mean test score of its layer and pooling. Other
        parameters, such as a regularisation strength, can differ between points. Pass ``where`` to fix
        them. In a successive halving each point is from its last iteration. Earlier iterations use less
        data, so their points are hollow. Compare the filled points only.

        Parameters
        ----------
        search : GridSearchCV, RandomizedSearchCV or another with ``cv_results_``
            Fitted search over ``layer`` of :class:`~sklearn_esm.ESMEmbeddingTransformer`, alone or in a
            pipeline. ``refit=False`` is enough. Candidates without a layer are ignored.

        scoring : str or None, default=None
            Name of the score. Required if the search has several.

        layer : str or None, default=None
            Name of the parameter, such as ``"esmembeddingtransformer__layer"``. Required if several
            steps have a layer.

        where : dict or None, default=None
            Parameters and values of the candidates to draw. Others are ignored.

        name : str or None, default=None
            Title of the plot. None names the best point.

        ax : matplotlib.axes.Axes or None, default=None
            Axes to draw on. None creates a figure.

        Returns
        -------
        LayerSweepDisplay
            Display with ``ax_``, ``figure_`` and ``errorbar_``.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the search has no ``cv_results_``.
        ValueError
            If the search has no layer, if the score or layer is ambiguous, or if no candidate is left
            or has a score.
        ImportError
            If matplotlib is not installed.
        """
        if not hasattr(search, "cv_results_"):
            raise NotFittedError(
                f"search must be a fitted search; got {type(search).__name__} without cv_results_. Call "
                "its fit first, or pass a search such as GridSearchCV."
            )
        results = search.cv_results_
        score, score_name = score_names(search, scoring)
        mean, std = results[f"mean_test_{score}"], results[f"std_test_{score}"]  # (candidates,)
        layer = layer_parameter(search, layer)
        pooling = layer.removesuffix("layer") + "pooling"
        # without a search over poolings, use the estimator's
        same = search.estimator.get_params().get(pooling)
        best = best_candidates(results, mean, (layer, pooling), same, where or {})
        layers = in_order(of for of, _ in best)
        poolings = list(dict.fromkeys(how for _, how in best))
        used = results.get("n_resources", np.ones(len(mean)))  # (candidates,)
        drawn = np.full((3, len(poolings), len(layers)), np.nan)
        for (of, how), row in best.items():
            drawn[:, poolings.index(how), layers.index(of)] = mean[row], std[row], used[row]
        mean_scores, std_scores, n_resources = drawn  # each (poolings, layers)
        return cls(
            layers,
            mean_scores,
            std_scores,
            poolings=poolings,
            n_resources=n_resources if "n_resources" in results else None,
            resource=getattr(search, "resource", "n_samples"),
            score_name=score_name,
            n_splits=getattr(search, "n_splits_", None),
            name=name,
        ).plot(ax=ax)

    @property
    def best_(self) -> tuple[int | str, str, float]:
        """Layer, pooling and mean score of the best point with the most resources."""
        comparable = np.where(self._has_fewer(), np.nan, self.mean_scores)  # (poolings, layers)
        found = np.unravel_index(np.nanargmax(comparable), comparable.shape)
        line, place = map(int, found)
        return self.layers[place], self.poolings[line], float(self.mean_scores[line, place])

    def plot(self, *, ax: Axes | None = None) -> LayerSweepDisplay:
        """Draw the lines.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None, default=None
            Axes to draw on. None creates a figure.

        Returns
        -------
        LayerSweepDisplay
            The display itself.
        """
        ax = axes_or_new(ax)
        from matplotlib.ticker import MaxNLocator  # installed, because axes exist

        places = self._places()  # (layers,)
        apart = np.diff(places).min() if len(places) > 1 else 1
        n_lines = len(self.poolings)
        shifts = (np.arange(n_lines) - (n_lines - 1) / 2) * _SPREAD * apart / max(n_lines - 1, 1)
        fewer = self._has_fewer()  # (poolings, layers)
        self.errorbar_, self.hollow_ = [], []
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
            if fewer[number].any():
                x, y = (places + shifts[number])[fewer[number]], self.mean_scores[number][fewer[number]]
                self.hollow_ += ax.plot(x, y, marker, color=colour, markerfacecolor="white", zorder=4)
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
        self.legend_ = self._legend(ax)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _most(self) -> float:
        """Return the most resources of a point with a score."""
        if self.n_resources is None:
            return 0.0
        return float(self.n_resources[np.isfinite(self.mean_scores)].max())

    def _has_fewer(self) -> np.ndarray:
        """Return whether a point has a score of fewer resources than another, (poolings, layers)."""
        if self.n_resources is None:
            return np.zeros(np.shape(self.mean_scores), dtype=bool)
        fewer: np.ndarray = np.isfinite(self.mean_scores) & (self.n_resources < self._most())
        return fewer

    def _legend(self, ax: Axes) -> Any:
        """Return a legend of the lines, if there are several, and of the hollow markers."""
        from matplotlib.lines import Line2D  # installed, because axes exist

        handles: list[Any] = list(self.errorbar_) if len(self.poolings) > 1 else []
        title = "Pooling" if handles else None
        if self.hollow_:
            label = f"hollow: {self.resource} < {self._most():g}"
            hollow = Line2D([], [], color="0.3", marker="o", linestyle="none", label=label)
            hollow.set_markerfacecolor("white")
            handles.append(hollow)
        return ax.legend(handles=handles, title=title) if handles else None

    def _places(self) -> np.ndarray:
        if _are_numbers(self.layers):
            return np.asarray(self.layers, dtype=np.float64)
        return np.arange(len(self.layers), dtype=np.float64)


def _are_numbers(layers: Sequence[int | str]) -> bool:
    # with both signs the layers are equidistant, because -1 is not next to 0
    return all(isinstance(n, Integral) for n in layers) and len({int(n) < 0 for n in layers}) < 2
