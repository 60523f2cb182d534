"""Embeddings in two dimensions, coloured by class or by a number."""

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
    """Embeddings in two dimensions: one point a sequence, coloured by its class or by a number.

    Made by :meth:`from_estimator` or :meth:`from_embeddings`; the parameters are stored as attributes.

    Parameters
    ----------
    points : ndarray of shape (n_sequences, 2)
        Where the points lie.

    y : array-like of shape (n_sequences,) or None, default=None
        What colours them. Strings, booleans and up to 10 distinct integers are classes, with a
        legend; other numbers are a quantity, with a colour bar. None, NaN and ``pd.NA`` are grey.

    target_names : sequence of str or None, default=None
        ``target_names[y]`` is a class of integers in words, as in scikit-learn's data sets.

    target_label : str or None, default=None
        The title of the legend or colour bar.

    axis_labels : tuple of two str, default=("Component 1", "Component 2")
        What the axes are called.

    name : str or None, default=None
        The title.

    Attributes
    ----------
    reducer_ : estimator
        What made two dimensions of many, fitted: its ``transform`` finds the place of another
        embedding.

    scatters_ : list of matplotlib.collections.PathCollection
        The points of each class in the order of the legend, or all of them; those without a value
        are the last.

    legend_ : matplotlib.legend.Legend or None
        Of the classes, to the right of the axes, where it hides no point: give a figure of your own
        ``layout="constrained"``. Of a quantity, only if some have no value.

    colorbar_ : matplotlib.colorbar.Colorbar or None
        Of a quantity.

    ax_ : matplotlib.axes.Axes
        Where they are drawn.

    figure_ : matplotlib.figure.Figure
        The figure of the axes.

    See Also
    --------
    LayerSweepDisplay : Which layer and pooling suit a task, in numbers.

    Notes
    -----
    Two components are a small part of an embedding. Classes that overlap here may be told apart by a
    classifier, and what looks apart may be length or composition: cross-validate before you conclude.

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
            :class:`~sklearn_esm.ESMEmbeddingTransformer`, or a pipeline of it and others, such as a
            scaler. A fitted one transforms ``X``; of another a copy is fitted to it. Of a pipeline
            that ends in a classifier pass ``pipeline[:-1]``.

        X : list, array, column or one-column table of sequences
            What to embed.

        y : array-like of shape (n_sequences,) or None, default=None
            Colours only: neither estimator nor reducer is fitted with it.

        reducer : transformer or None, default=None
            Makes two dimensions of many, the first two of what it gives. A fitted one transforms, of
            another a copy is fitted. None is a principal component analysis of the embeddings as they
            are: with a few numbers that vary most, put a ``StandardScaler`` behind the embedding.

        target_names : sequence of str or None, default=None
            ``target_names[y]`` is a class of integers in words.

        target_label : str or None, default=None
            The title of the legend or colour bar. None is the name of ``y``, if it is a named column.

        name : str or None, default=None
            A title.

        ax : matplotlib.axes.Axes or None, default=None
            Where to draw; None makes a figure.

        cmap : str, default="viridis"
            matplotlib's name of the colours of a quantity.

        Returns
        -------
        EmbeddingDisplay
            With ``ax_``, ``figure_`` and ``reducer_``.

        Raises
        ------
        ValueError
            For an estimator that gives no table, a reducer of one dimension, or a ``y`` that cannot be
            drawn.
        ImportError
            Without matplotlib.
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
        """Draw embeddings that are there already.

        Parameters
        ----------
        embeddings : array-like of shape (n_sequences, n_features)
            Numbers, none of them missing.

        y, reducer, target_names, target_label, name, ax, cmap
            As for :meth:`from_estimator`.

        Returns
        -------
        EmbeddingDisplay
            With ``ax_``, ``figure_`` and ``reducer_``.

        Raises
        ------
        ValueError
            For embeddings that are no table, a reducer of one dimension, or a ``y`` that cannot be
            drawn.
        ImportError
            Without matplotlib.
        """
        table = np.asarray(embeddings)
        if table.ndim != 2 or table.dtype.kind not in "fiu":
            raise ValueError(
                f"Embeddings of shape {table.shape} and dtype {table.dtype} cannot be drawn. Pass one "
                "row of numbers for each sequence: with pooling=None there is none."
            )
        if y is not None and np.shape(y) != (len(table),):
            raise ValueError(
                f"y has the shape {np.shape(y)} and there are {len(table)} sequences. Pass one value "
                "for each."
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
            Where to draw; None makes a figure.

        cmap : str, default="viridis"
            matplotlib's name of the colours of a quantity.

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
            from matplotlib.cm import ScalarMappable  # there by now

            # of the same colours, for a bar of the points themselves would be as translucent as they
            scale = ScalarMappable(self.scatters_[0].norm, self.scatters_[0].cmap)
            self.colorbar_ = ax.figure.colorbar(scale, ax=ax, label=self.target_label or "")
        if not known.all():
            self.scatters_.append(_scatter(ax, self.points[~known], "unknown", _UNKNOWN, zorder=0.5))
        if classes:
            # beside the axes, where it hides no point
            self.legend_ = ax.legend(
                title=self.target_label, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False
            )
        elif not known.all():
            self.legend_ = ax.legend()  # the colour bar stands beside the axes
        ax.set(xlabel=self.axis_labels[0], ylabel=self.axis_labels[1], title=self.name or "")
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _scatter(
    ax: Axes, points: np.ndarray, label: str | None, colour: Any, marker: str = MARKERS[0], **look: Any
) -> Any:
    return ax.scatter(points[:, 0], points[:, 1], c=colour, marker=marker, label=label, **_DRAWN, **look)


def _fit_apply(estimator: Any, X: Any, what: str) -> tuple[Any, np.ndarray]:
    """The fitted transformer and what it makes of X; of one that is not fitted a copy is fitted."""
    if not (hasattr(estimator, "transform") or hasattr(estimator, "fit_transform")):
        raise ValueError(
            f"The {what} {type(estimator).__name__} transforms nothing. Pass a transformer; of a "
            "pipeline that ends in a classifier or regressor, pipeline[:-1]."
        )
    # t-SNE transforms nothing but what it is fitted to
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
    """The fitted reducer, and the first two columns of what it gives, (sequences, 2)."""
    fitted, points = _fit_apply(PCA(2, random_state=0) if reducer is None else reducer, table, "reducer")
    if points.ndim != 2 or points.shape[1] < 2:
        raise ValueError(
            f"The reducer {type(fitted).__name__} gave an array of shape {points.shape}. Pass one that "
            "gives two dimensions, such as PCA(n_components=2)."
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
