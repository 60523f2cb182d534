"""Lazy import of matplotlib, and the colours and markers of all displays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sklearn_esm._optional_dependencies import import_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, which are distinct with every common kind of colour blindness. 7 colours and 8
# markers have 56 combinations
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555")
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "*")
LINES = ("-", "--", "-.", ":")


def axes_or_new(ax: Axes | None, *, figsize: tuple[float, float] | None = None) -> Axes:
    """Return the given axes, or those of a new figure with space for a legend beside them.

    ``figsize`` is the width and height of a new figure in inches, None for matplotlib's default.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    pyplot = import_extra("matplotlib.pyplot", of="A display", extra="plot")
    if ax is not None:
        return ax
    _, new = pyplot.subplots(figsize=figsize, layout="constrained")
    axes: Axes = new
    return axes


def style(number: int) -> tuple[str, str, str]:
    """Return colour, marker and line of a class or curve, numbered from 0."""
    return (
        COLOURS[number % len(COLOURS)],
        MARKERS[number % len(MARKERS)],
        LINES[number % len(LINES)],
    )
