"""Where the images of a scan of variants lie in its axes, and the labels beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROBUST = 98  # percentile of the sizes of effects that has the strongest colour
COLUMNS = 100  # in one row of the figure
_UNKNOWN = "0.8"  # a light grey
_FEW = 25  # columns whose positions are all labelled
# in cells
_BETWEEN = 1.0  # between scores and measured effects
_TICKS = 4.5  # below a row, for letters and positions
# in inches
_WIDTH = 10.0
_LARGEST_CELL = 0.17
_SMALLEST_HEIGHT = 0.105
_BESIDE = 1.6  # for the labels and colour bars


class Layout(NamedTuple):
    """Rows of images, and how many images each has: one, or two with measured effects."""

    rows: list[slice]  # columns of the tables
    panels: int
    residues: int

    @property
    def is_single(self) -> bool:
        """Whether there is one image, which fills the axes."""
        return len(self.rows) == self.panels == 1

    @property
    def columns(self) -> int:
        """How many columns the longest row has."""
        return len(range(COLUMNS)[self.rows[0]])

    @property
    def figsize(self) -> tuple[float, float]:
        """Size of a figure in which every letter can be read, in inches."""
        cell = min(_LARGEST_CELL, _WIDTH / self.columns)
        width = max(3.0, cell * self.columns) + _BESIDE
        return width, max(cell, _SMALLEST_HEIGHT) * (self._height + 4)

    @property
    def _row_height(self) -> float:
        return self.panels * self.residues + (self.panels - 1) * _BETWEEN

    @property
    def _height(self) -> float:
        rows = len(self.rows)
        return rows * self._row_height + (rows - 1) * _TICKS

    def bounds(self, row: int, panel: int) -> tuple[float, float, float, float]:
        """Return left, bottom, width and height of an image as fractions of the axes."""
        above = row * (self._row_height + _TICKS) + panel * (self.residues + _BETWEEN)
        some = self.rows[row]
        return (
            0,
            1 - (above + self.residues) / self._height,
            (some.stop - some.start) / self.columns,
            self.residues / self._height,
        )

    def colorbar_bounds(self, panel: int) -> tuple[float, float, float, float]:
        """Return the bounds of a colour bar beside the image of a panel in the first row."""
        _, bottom, _, height = self.bounds(0, panel)
        return 1.02, bottom, 0.015, height

    def font_sizes(self, ax: Axes) -> tuple[float, float]:
        """Return the sizes of letters below and beside an image, in points."""
        box = ax.get_window_extent()
        to_points = 72 / ax.figure.dpi
        points = to_points * np.array([box.width / self.columns, box.height / self._height])
        below, beside = np.clip(0.85 * points, 3, 8)
        return float(below), float(beside)


def layout_of(positions: int, panels: int, residues: int) -> Layout:
    """Return the layout of a number of positions, in rows of `COLUMNS`."""
    starts = range(0, positions, COLUMNS)
    rows = [slice(start, min(start + COLUMNS, positions)) for start in starts]
    return Layout(rows, panels, residues)


def colour_limit(table: np.ndarray) -> tuple[float, str]:
    """Return the value of the strongest colour, and which values are beyond it."""
    effects = table[np.isfinite(table) & (table != 0)]
    if not len(effects):
        return 1.0, "neither"
    limit = float(np.percentile(np.abs(effects), _ROBUST))
    lower, higher = bool((effects < -limit).any()), bool((effects > limit).any())
    return limit, {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}[lower, higher]


def draw_table(ax: Axes, table: np.ndarray, limit: float, cmap: str) -> Any:
    """Draw effects, ``(20, positions)``, in colours from ``-limit`` to ``limit``."""
    from matplotlib import colormaps  # installed, because axes exist

    colours = colormaps[cmap].with_extremes(bad=_UNKNOWN)
    return ax.imshow(np.ma.masked_invalid(table), cmap=colours, vmin=-limit, vmax=limit, aspect="auto")


def draw_dots(ax: Axes, is_wild: np.ndarray, size: float) -> Any:
    """Draw a dot in each cell of the wild type."""
    rows, columns = np.nonzero(is_wild)
    return ax.scatter(columns, rows, s=(size / 3) ** 2, color="black", linewidths=0)


def label_residues(ax: Axes, residues: str, size: float) -> None:
    """Write the amino acids of the rows to the left of an image."""
    ax.set_yticks(np.arange(len(residues)), list(residues))
    ax.tick_params(axis="y", length=0, pad=2, labelsize=size)


def label_positions(ax: Axes, letters: Sequence[str], positions: np.ndarray, size: float) -> None:
    """Write the wild type below an image, and the numbers of its positions below that."""
    columns = np.arange(len(positions))
    in_order = len(positions) > _FEW and (np.diff(positions) == 1).all()
    labelled = columns[positions % 10 == 0] if in_order else columns
    ax.xaxis.remove_overlapping_locs = False  # else a letter is left out if its position has a number
    ax.set_xticks(columns, list(letters), minor=True)
    ax.set_xticks(labelled, [str(number) for number in positions[labelled]])
    ax.tick_params(axis="x", which="minor", length=0, pad=1, labelsize=size)
    ax.tick_params(axis="x", which="major", length=0, pad=size + 4, labelsize=max(size, 5))
    if not in_order:
        ax.tick_params(axis="x", which="major", rotation=90)
