"""Heat map of the effects of all single substitutions, with measured effects below."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from sklearn_esm.display._matplotlib import axes_or_new
from sklearn_esm.display._scan_layout import (
    colour_limit,
    draw_dots,
    draw_table,
    label_positions,
    label_residues,
    layout_of,
)
from sklearn_esm.display._substitution_table import (
    AMINO_ACIDS,
    check_residues,
    clean_reference,
    is_wild_type,
    positions_of,
    table_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class VariantScanDisplay:
    """Heat map of the effects of all single substitutions, with measured effects below.

    A row is an amino acid, a column is a position, and a dot marks the wild type. Colours are centred
    on 0, the wild type. Substitutions with larger values are blue with the default colours, those with
    smaller ones red, and unknown ones grey. More than 100 positions are drawn in rows of 100.

    Create it with :meth:`from_estimator` or :meth:`from_scores`. Parameters become attributes.

    Parameters
    ----------
    scores : ndarray of shape (20, n_positions)
        Effect of each substitution, NaN if unknown.

    reference : str
        Wild-type sequence.

    positions : ndarray of int of shape (n_positions,)
        Positions of the columns, as they are numbered from ``first_position``.

    measured : ndarray of shape (20, n_positions) or None, default=None
        Measured effects, NaN if unknown.

    first_position : int, default=1
        Number of the first residue of the reference.

    residues : str, default="GPAVILMCFWYSTNQHKRDE"
        Amino acids of the rows.

    score_label, measured_label : str
        Labels of the colour bars.

    name : str or None, default=None
        Title of the plot.

    Attributes
    ----------
    ims_, measured_ims_ : list of matplotlib.image.AxesImage
        Images of the scores and of the measured effects, one for each row of positions.

    dots_ : list of matplotlib.collections.PathCollection
        Dots of the wild type, one for each image: those of the scores first.

    colorbars_ : list of matplotlib.colorbar.Colorbar
        Colour bar of the scores, and of the measured effects if there are any. The strongest colour is
        the 98th percentile of the sizes of effects. An arrow shows that there are stronger ones.

    axes_ : list of matplotlib.axes.Axes
        Axes of the images in the order of ``dots_``.

    ax_ : matplotlib.axes.Axes
        Axes of the plot, which contain ``axes_`` if there are several images.

    figure_ : matplotlib.figure.Figure
        Figure of the axes.

    See Also
    --------
    sklearn_esm.ESMLikelihoodTransformer : Score variants without measurements.
    sklearn_esm.variants.single_substitutions : Name all single substitutions.

    Examples
    --------
    .. plot::

        >>> from sklearn_esm import ESMLikelihoodTransformer
        >>> from sklearn_esm.datasets import load_gb1
        >>> from sklearn_esm.display import VariantScanDisplay
        >>> gb1 = load_gb1()
        >>> score = ESMLikelihoodTransformer(
        ...     "esm2_t6_1M_bundled", method="wt-marginals", reference=gb1.reference
        ... )
        >>> measured = dict(zip(gb1.mutations, gb1.target))
        >>> display = VariantScanDisplay.from_estimator(score, gb1.reference, measured=measured)
        >>> display.scores.shape, display.measured.shape
        ((20, 56), (20, 56))
    """

    def __init__(
        self,
        scores: np.ndarray,
        *,
        reference: str,
        positions: np.ndarray,
        measured: np.ndarray | None = None,
        first_position: int = 1,
        residues: str = AMINO_ACIDS,
        score_label: str = "Score relative to wild type",
        measured_label: str = "Measured effect",
        name: str | None = None,
    ) -> None:
        self.scores = scores
        self.reference = reference
        self.positions = positions
        self.measured = measured
        self.first_position = first_position
        self.residues = residues
        self.score_label = score_label
        self.measured_label = measured_label
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        reference: Any,
        positions: Iterable[int] | None = None,
        *,
        measured: Any = None,
        first_position: int = 1,
        residues: str = AMINO_ACIDS,
        score_label: str = "Score relative to wild type",
        measured_label: str = "Measured effect",
        name: str | None = None,
        ax: Axes | None = None,
        cmap: str = "RdBu",
    ) -> VariantScanDisplay:
        """Score all single substitutions and draw them, relative to the score of the wild type.

        All are scored in one call. Masked marginals of L positions need L forward passes, and wild-type
        marginals one. Pseudo-log-likelihood needs one for each residue of each variant, 19 L² in all.

        Parameters
        ----------
        estimator : transformer with one column, or fitted regressor
            :class:`~sklearn_esm.ESMLikelihoodTransformer`, or any estimator of sequences. If a
            transformer is not fitted, a copy is fitted to the variants.

        reference : str
            Wild-type sequence.

        positions : iterable of int or None, default=None
            Positions to draw, as they are numbered from ``first_position``. None draws all.

        measured : mapping, Series, array-like of shape (20, n_positions) or None, default=None
            Measured effects relative to the wild type, whose effect is 0. Those of a mapping are named
            such as ``"A24G"``, and those at other positions are ignored. Rows of an array are in the
            order of ``residues``. Missing ones and NaN are grey.

        first_position : int, default=1
            Number of the first residue of the reference.

        residues : str, default="GPAVILMCFWYSTNQHKRDE"
            Amino acids of the rows.

        score_label, measured_label : str
            Labels of the colour bars.

        name : str or None, default=None
            Title of the plot.

        ax : matplotlib.axes.Axes or None, default=None
            Axes to draw on. None creates a figure of a suitable size.

        cmap : str, default="RdBu"
            Name of a diverging matplotlib colormap.

        Returns
        -------
        VariantScanDisplay
            Display with ``ax_``, ``figure_`` and ``ims_``.

        Raises
        ------
        ValueError
            If the estimator does not return one column, or if a parameter is invalid.
        ImportError
            If matplotlib is not installed.
        """
        reference, residues = clean_reference(reference), check_residues(residues)
        columns = positions_of(positions, reference, first_position)
        variants = [
            reference[:index] + residue + reference[index + 1 :]
            for residue in residues
            for index in (columns - first_position).tolist()
        ]
        scores = _one_column(estimator, [reference, *variants])
        return cls.from_scores(
            (scores[1:] - scores[0]).reshape(len(residues), len(columns)),
            reference,
            columns,
            measured=measured,
            first_position=first_position,
            residues=residues,
            score_label=score_label,
            measured_label=measured_label,
            name=name,
            ax=ax,
            cmap=cmap,
        )

    @classmethod
    def from_scores(
        cls,
        scores: Any,
        reference: Any,
        positions: Iterable[int] | None = None,
        *,
        measured: Any = None,
        first_position: int = 1,
        residues: str = AMINO_ACIDS,
        score_label: str = "Score relative to wild type",
        measured_label: str = "Measured effect",
        name: str | None = None,
        ax: Axes | None = None,
        cmap: str = "RdBu",
    ) -> VariantScanDisplay:
        """Draw scores or measured effects of single substitutions.

        Parameters
        ----------
        scores : mapping, Series or array-like of shape (20, n_positions)
            Effects relative to the wild type, in one of the forms of ``measured``.

        reference, positions, measured, first_position, residues, score_label, measured_label, name
            As for :meth:`from_estimator`.

        ax, cmap
            As for :meth:`from_estimator`.

        Returns
        -------
        VariantScanDisplay
            Display with ``ax_``, ``figure_`` and ``ims_``.

        Raises
        ------
        ValueError
            If a parameter is invalid.
        ImportError
            If matplotlib is not installed.
        """
        reference, residues = clean_reference(reference), check_residues(residues)
        columns = positions_of(positions, reference, first_position)
        where = {
            "reference": reference,
            "positions": columns,
            "first_position": first_position,
            "residues": residues,
        }
        return cls(
            table_of(scores, "scores", **where),
            measured=None if measured is None else table_of(measured, "measured", **where),
            score_label=score_label,
            measured_label=measured_label,
            name=name,
            **where,
        ).plot(ax=ax, cmap=cmap)

    def plot(self, *, ax: Axes | None = None, cmap: str = "RdBu") -> VariantScanDisplay:
        """Draw the heat maps.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None, default=None
            Axes to draw on. None creates a figure of a suitable size.

        cmap : str, default="RdBu"
            Name of a diverging matplotlib colormap.

        Returns
        -------
        VariantScanDisplay
            The display itself.
        """
        tables = [self.scores] if self.measured is None else [self.scores, self.measured]
        layout = layout_of(len(self.positions), len(tables), len(self.residues))
        ax = axes_or_new(ax, figsize=layout.figsize)
        is_wild = is_wild_type(self.reference, self.positions, self.first_position, self.residues)
        letters = [self.reference[index] for index in self.positions - self.first_position]
        below, beside = layout.font_sizes(ax)
        images: list[list[Any]] = [[], []]  # of the scores, and of the measured effects
        self.axes_, self.dots_, self.colorbars_ = [], [], []
        if not layout.is_single:
            ax.set_axis_off()
        for panel, (table, label) in enumerate(
            zip(tables, (self.score_label, self.measured_label), strict=False)
        ):
            limit, extend = colour_limit(table)
            for row, some in enumerate(layout.rows):
                inner = ax if layout.is_single else ax.inset_axes(layout.bounds(row, panel))
                images[panel].append(draw_table(inner, table[:, some], limit, cmap))
                self.dots_.append(draw_dots(inner, is_wild[:, some], below))
                self.axes_.append(inner)
                label_residues(inner, self.residues, beside)
                if panel == len(tables) - 1:
                    label_positions(inner, letters[some], self.positions[some], below)
                else:
                    inner.set_xticks([])
            beside_image = ax.inset_axes(layout.colorbar_bounds(panel))
            bar = ax.figure.colorbar(images[panel][0], cax=beside_image, extend=extend)
            bar.set_label(label, fontsize="small")
            self.colorbars_.append(bar)
        self.axes_[-1].set_xlabel("Position")
        ax.set_title(self.name or "")
        self.ims_, self.measured_ims_ = images
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _one_column(estimator: Any, sequences: list[str]) -> np.ndarray:
    """Return the predictions of a regressor, or the column of a transformer, ``(sequences,)``."""
    if hasattr(estimator, "predict"):
        values = np.asarray(estimator.predict(sequences), dtype=np.float64)
    else:
        try:
            check_is_fitted(estimator)
        except NotFittedError:
            estimator = clone(estimator).fit(sequences)
        values = np.asarray(estimator.transform(sequences), dtype=np.float64)
    if values.size != len(sequences):
        raise ValueError(
            f"estimator must return one column; got an array of shape {values.shape} from "
            f"{type(estimator).__name__}. Pass one method, and set aggregate='mean' for several models."
        )
    return values.ravel()
