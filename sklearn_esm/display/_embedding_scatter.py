"""Scatter plot of embeddings in two dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone
from sklearn.decomposition import PCA, IncrementalPCA, TruncatedSVD
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sklearn_esm.display._matplotlib import COLOURS, MARKERS, axes_or_new, style
from sklearn_esm.display._targets import classes_of, in_words, is_missing, plain_values

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_UNKNOWN = "0.8"  # a light grey
_DRAWN: dict[str, Any] = {"s": 26, "alpha": 0.8, "edgecolor": "white", "linewidth": 0.4}


class EmbeddingDisplay:
    """Scatter plot of embeddings in two dimensions, coloured by class or by a number.

    Create it with :meth:`from_estimator` or :meth:`from_embeddings`. Parameters become attributes.

    Parameters
    ----------
    points : ndarray of shape (n_sequences, 2)
        Coordinates of the points.

    y : array-like of shape (n_sequences,) or None, default=None
        Values that colour the points. Strings, booleans and up to 10 distinct integers are classes,
        with a legend. Other numbers are a quantity, with a colour bar. Missing values are grey.

    target_names : sequence of str or None, default=None
        Names of integer classes, indexed by ``y``, as in scikit-learn's data sets.

    target_label : str or None, default=None
        Title of the legend or colour bar.

    axis_labels : tuple of two str, default=("Component 1", "Component 2")
        Labels of the axes.

    name : str or None, default=None
        Title of the plot.

    Attributes
    ----------
    reducer_ : estimator
        Fitted reducer. Its ``transform`` gives the coordinates of further embeddings.

    scatters_ : list of matplotlib.collections.PathCollection
        Points of each class in the order of the legend, or all points. Points with missing values
        are last.

    legend_ : matplotlib.legend.Legend or None
        Legend of the classes, to the right of the axes. Create your own figures with
        ``layout="constrained"``. A quantity has a legend only if values are missing.

    colorbar_ : matplotlib.colorbar.Colorbar or None
        Colour bar of a quantity.

    ax_ : matplotlib.axes.Axes
        Axes of the plot.

    figure_ : matplotlib.figure.Figure
        Figure of the axes.

    See Also
    --------
    LayerSweepDisplay : Compare layers and poolings by score.

    Notes
    -----
    Two components are a small part of an embedding. A classifier may separate classes that overlap
    here, and visible clusters may reflect length or composition. Cross-validate before you conclude.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklearn_esm import ESMEmbeddingTransformer
    >>> from sklearn_esm.datasets import load_peptides
    >>> from sklearn_esm.display import EmbeddingDisplay
    >>> peptides = load_peptides()
    >>> embed = make_pipeline(ESMEmbeddingTransformer("esm2_t6_1M_bundled"), StandardScaler())
    >>> display = EmbeddingDisplay.from_estimator(
    ...     embed, peptides.data[::9], peptides.target[::9], target_names=peptides.target_names
    ... )
    >>> display.points.shape, [text.get_text() for text in display.legend_.get_texts()]
    ((34, 2), ['hormone/neuropeptide', 'antimicrobial'])
    """

    reducer_: Any

    def __init__(
        self,
        points: np.ndarray,
        *,
        y: Any = None,
        target_names: Sequence[str] | None = None,
        target_label: str | None = None,
        axis_labels: tuple[str, str] = ("Component 1", "Component 2"),
        name: str | None = None,
    ) -> None:
        self.points = points
        self.y = y
        self.target_names = target_names
        self.target_label = target_label
        self.axis_labels = axis_labels
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any = None,
        *,
        reducer: Any = None,
        target_names: Sequence[str] | None = None,
        target_label: str | None = None,
        name: str | None = None,
        ax: Axes | None = None,
        cmap: str = "viridis",
    ) -> EmbeddingDisplay:
        """Embed sequences and draw them.

        Parameters
        ----------
        estimator : transformer
            :class:`~sklearn_esm.ESMEmbeddingTransformer`, or a pipeline with it. If it is not fitted, a
            copy is fitted to ``X``. Pass ``pipeline[:-1]`` of a pipeline that ends in a classifier.

        X : list, array, column or one-column table of sequences
            The sequences.

        y : array-like of shape (n_sequences,) or None, default=None
            Values that colour the points. They are not passed to the estimator or reducer.

        reducer : transformer or None, default=None
            Reducer whose first two output columns are drawn. If it is not fitted, a copy is fitted.
            None is a PCA without scaling. Add a ``StandardScaler`` to the estimator if a few features
            dominate.

        target_names : sequence of str or None, default=None
            Names of integer classes, indexed by ``y``.

        target_label : str or None, default=None
            Title of the legend or colour bar. None is the name of ``y``, if it is a named column.

        name : str or None, default=None
            Title of the plot.

        ax : matplotlib.axes.Axes or None, default=None
            Axes to draw on. None creates a figure.

        cmap : str, default="viridis"
            Name of the matplotlib colormap of a quantity.

        Returns
        -------
        EmbeddingDisplay
            Display with ``ax_``, ``figure_`` and ``reducer_``.

        Raises
        ------
        ValueError
            If the estimator does not return a table, the reducer returns one dimension, or ``y`` is
            invalid.
        ImportError
            If matplotlib is not installed.
        """
        return cls.from_embeddings(
            _fit_apply(estimator, X, "estimator")[1],
            y,
            reducer=reducer,
            target_names=target_names,
            target_label=target_label,
            name=name,
            ax=ax,
            cmap=cmap,
        )

    @classmethod
    def from_embeddings(
        cls,
        embeddings: Any,
        y: Any = None,
        *,
        reducer: Any = None,
        target_names: Sequence[str] | None = None,
        target_label: str | None = None,
        name: str | None = None,
        ax: Axes | None = None,
        cmap: str = "viridis",
    ) -> EmbeddingDisplay:
        """Draw embeddings.

        Parameters
        ----------
        embeddings : array-like of shape (n_sequences, n_features)
            Embeddings without missing values.

        y, reducer, target_names, target_label, name, ax, cmap
            Same as in :meth:`from_estimator`.

        Returns
        -------
        EmbeddingDisplay
            Display with ``ax_``, ``figure_`` and ``reducer_``.

        Raises
        ------
        ValueError
            If the embeddings are not a table, the reducer returns one dimension, or ``y`` is invalid.
        ImportError
            If matplotlib is not installed.
        """
        table = np.asarray(embeddings)
        if table.ndim != 2 or table.dtype.kind not in "fiu":
            raise ValueError(
                "Embeddings must have one row of numbers per sequence; got an array of shape "
                f"{table.shape} and dtype {table.dtype}. Pass pooled embeddings, not pooling=None."
            )
        if y is not None and np.shape(y) != (len(table),):
            raise ValueError(
                f"y must have the shape ({len(table)},); got {np.shape(y)}. Pass one value per sequence."
            )
        fitted, points = _reduce(table, reducer)
        label = getattr(y, "name", None) if target_label is None else target_label
        display = cls(
            points,
            y=y,
            target_names=target_names,
            target_label=None if label is None else str(label),
            axis_labels=_axis_labels(fitted),
            name=name,
        )
        display.reducer_ = fitted
        return display.plot(ax=ax, cmap=cmap)

    def plot(self, *, ax: Axes | None = None, cmap: str = "viridis") -> EmbeddingDisplay:
        """Draw the points.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None, default=None
            Axes to draw on. None creates a figure.

        cmap : str, default="viridis"
            Name of the matplotlib colormap of a quantity.

        Returns
        -------
        EmbeddingDisplay
            The display itself.
        """
        values = plain_values(self.y, len(self.points))
        known = np.array([not is_missing(value) for value in values])  # (sequences,)
        values[~known] = None  # pd.NA cannot be compared with a class
        classes = [] if self.y is None else classes_of(values[known])
        labels = in_words(classes, self.target_names)
        ax = axes_or_new(ax)
        self.legend_, self.colorbar_ = None, None
        self.scatters_ = [
            _scatter(ax, self.points[known & (values == value)], label, *style(number)[:2])
            for number, (value, label) in enumerate(zip(classes, labels, strict=True))
        ]
        if self.y is None:
            self.scatters_.append(_scatter(ax, self.points, None, COLOURS[0]))
        elif not classes:
            quantity = values[known].astype(np.float64)  # (known,)
            self.scatters_.append(_scatter(ax, self.points[known], None, quantity, cmap=cmap))
            from matplotlib.cm import ScalarMappable  # installed, because axes exist

            # same colours without the transparency of the points
            scale = ScalarMappable(self.scatters_[0].norm, self.scatters_[0].cmap)
            self.colorbar_ = ax.figure.colorbar(scale, ax=ax, label=self.target_label or "")
        if not known.all():
            self.scatters_.append(_scatter(ax, self.points[~known], "unknown", _UNKNOWN, zorder=0.5))
        if classes:
            # beside the axes, so that no point is hidden
            self.legend_ = ax.legend(
                title=self.target_label, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False
            )
        elif not known.all():
            self.legend_ = ax.legend()  # inside, because the colour bar is beside the axes
        ax.set(xlabel=self.axis_labels[0], ylabel=self.axis_labels[1], title=self.name or "")
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _scatter(
    ax: Axes, points: np.ndarray, label: str | None, colour: Any, marker: str = MARKERS[0], **look: Any
) -> Any:
    return ax.scatter(points[:, 0], points[:, 1], c=colour, marker=marker, label=label, **_DRAWN, **look)


def _fit_apply(estimator: Any, X: Any, what: str) -> tuple[Any, np.ndarray]:
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


def _reduce(table: np.ndarray, reducer: Any) -> tuple[Any, np.ndarray]:
    """Return the fitted reducer, and the first two columns of its output, (sequences, 2)."""
    fitted, points = _fit_apply(PCA(2, random_state=0) if reducer is None else reducer, table, "reducer")
    if points.ndim != 2 or points.shape[1] < 2:
        raise ValueError(
            f"The reducer must return at least two columns; got an array of shape {points.shape} from "
            f"{type(fitted).__name__}. Pass a reducer such as PCA(n_components=2)."
        )
    return fitted, points[:, :2]


def _axis_labels(reducer: Any) -> tuple[str, str]:
    last = reducer[-1] if isinstance(reducer, Pipeline) else reducer
    if isinstance(last, (PCA, IncrementalPCA, TruncatedSVD)):
        first, second = last.explained_variance_ratio_[:2]
        return (
            f"Component 1 ({first:.0%} of the variance)",
            f"Component 2 ({second:.0%} of the variance)",
        )
    kind = type(last).__name__
    return f"{kind} 1", f"{kind} 2"
