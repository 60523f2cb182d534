"""Scatter plot of embeddings in two dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import check_random_state

from sklearn_esm.display._matplotlib import COLOURS, MARKERS, axes_or_new, style
from sklearn_esm.display._points import SIZE, legend_marker, scatter, scatter_classes
from sklearn_esm.display._reduction import axis_labels, fit_apply, reduce_to_two
from sklearn_esm.display._targets import classes_of, in_words, is_missing, plain_values

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_UNKNOWN = "0.8"  # a light grey


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
        The points in drawing order. If values are missing, their points follow, and are drawn below.

    order_ : ndarray of int of shape (n_sequences,)
        Rows of ``points`` in drawing order. It is random, so that no class covers the others.

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
    .. plot::

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
        s: float = SIZE,
        alpha: float = 0.8,
        random_state: Any = 0,
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

        s : float, default=26.0
            Area of a point, as in :meth:`matplotlib.axes.Axes.scatter`. Use 2 to 8 for thousands of
            points. The markers of the legend keep their size.

        alpha : float, default=0.8
            Opacity of the points, from 0 to 1.

        random_state : int, RandomState instance or None, default=0
            Seed of the drawing order.

        Returns
        -------
        EmbeddingDisplay
            Display with ``ax_``, ``figure_`` and ``reducer_``.

        Raises
        ------
        ValueError
            If the estimator does not return a table, the reducer returns one dimension, or ``y``, ``s``
            or ``alpha`` is invalid.
        ImportError
            If matplotlib is not installed.
        """
        return cls.from_embeddings(
            fit_apply(estimator, X, "estimator")[1],
            y,
            reducer=reducer,
            target_names=target_names,
            target_label=target_label,
            name=name,
            ax=ax,
            cmap=cmap,
            s=s,
            alpha=alpha,
            random_state=random_state,
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
        s: float = SIZE,
        alpha: float = 0.8,
        random_state: Any = 0,
    ) -> EmbeddingDisplay:
        """Draw embeddings.

        Parameters
        ----------
        embeddings : array-like of shape (n_sequences, n_features)
            Embeddings without missing values.

        y, reducer, target_names, target_label, name, ax, cmap, s, alpha, random_state
            Same as in :meth:`from_estimator`.

        Returns
        -------
        EmbeddingDisplay
            Display with ``ax_``, ``figure_`` and ``reducer_``.

        Raises
        ------
        ValueError
            If the embeddings are not a table, the reducer returns one dimension, or ``y``, ``s`` or
            ``alpha`` is invalid.
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
        fitted, points = reduce_to_two(table, reducer)
        label = getattr(y, "name", None) if target_label is None else target_label
        display = cls(
            points,
            y=y,
            target_names=target_names,
            target_label=None if label is None else str(label),
            axis_labels=axis_labels(fitted),
            name=name,
        )
        display.reducer_ = fitted
        return display.plot(ax=ax, cmap=cmap, s=s, alpha=alpha, random_state=random_state)

    def plot(
        self,
        *,
        ax: Axes | None = None,
        cmap: str = "viridis",
        s: float = SIZE,
        alpha: float = 0.8,
        random_state: Any = 0,
    ) -> EmbeddingDisplay:
        """Draw the points.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None, default=None
            Axes to draw on. None creates a figure.

        cmap : str, default="viridis"
            Name of the matplotlib colormap of a quantity.

        s : float, default=26.0
            Area of a point, as in :meth:`matplotlib.axes.Axes.scatter`. Use 2 to 8 for thousands of
            points. The markers of the legend keep their size.

        alpha : float, default=0.8
            Opacity of the points, from 0 to 1.

        random_state : int, RandomState instance or None, default=0
            Seed of the drawing order.

        Returns
        -------
        EmbeddingDisplay
            The display itself.
        """
        if np.ndim(s) or np.ndim(alpha):
            raise ValueError(f"s and alpha must be numbers; got s={s!r} and alpha={alpha!r}.")
        values = plain_values(self.y, len(self.points))
        known = np.array([not is_missing(value) for value in values])  # (sequences,)
        values[~known] = None  # pd.NA cannot be compared with a class
        classes = [] if self.y is None else classes_of(values[known])
        labels = in_words(classes, self.target_names)
        ax = axes_or_new(ax)
        look = {"s": s, "alpha": alpha}
        order = check_random_state(random_state).permutation(len(self.points))  # (sequences,)
        first = order[known[order]]  # (known,)
        self.legend_, self.colorbar_ = None, None
        if classes:
            drawn = scatter_classes(ax, self.points[first], values[first], classes, look)
        elif self.y is None:
            drawn = scatter(ax, self.points[first], COLOURS[0], look)
        else:
            quantity = values[first].astype(np.float64)  # (known,)
            drawn = scatter(ax, self.points[first], quantity, look, cmap=cmap)
            from matplotlib.cm import ScalarMappable  # installed, because axes exist

            # same colours without the transparency of the points
            scale = ScalarMappable(drawn.norm, drawn.cmap)
            self.colorbar_ = ax.figure.colorbar(scale, ax=ax, label=self.target_label or "")
        handles = [legend_marker(label, *style(number)[:2]) for number, label in enumerate(labels)]
        self.scatters_ = [drawn]
        self.order_ = first
        if not known.all():
            rest = order[~known[order]]
            self.scatters_.append(scatter(ax, self.points[rest], _UNKNOWN, look, zorder=0.5))
            self.order_ = np.concatenate([first, rest])
            handles.append(legend_marker("unknown", _UNKNOWN, MARKERS[0]))
        if classes:
            # beside the axes, so that no point is hidden
            self.legend_ = ax.legend(
                handles=handles,
                title=self.target_label,
                loc="upper left",
                bbox_to_anchor=(1.01, 1),
                frameon=False,
            )
        elif handles:
            self.legend_ = ax.legend(
                handles=handles
            )  # inside, because the colour bar is beside the axes
        ax.set(xlabel=self.axis_labels[0], ylabel=self.axis_labels[1], title=self.name or "")
        self.ax_, self.figure_ = ax, ax.figure
        return self
