"""matplotlib, imported when something is drawn, and the colours and marks of all displays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sklearn_esm._optional_dependencies import import_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's, told apart with every common kind of colour blindness; marks and lines tell them apart
# where there is no colour. 7 colours and 8 marks: a pair of both is used again after 56
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555")
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "*")
LINES = ("-", "--", "-.", ":")


def axes_or_new(ax: Axes | None) -> Axes:
    """The axes given, or those of a new figure whose layout leaves room for what stands beside them.

    Raises
    ------
    ImportError
        Without matplotlib; the message says how to install it.
    """
    pyplot = import_extra("matplotlib.pyplot", of="A display", extra="plot")
    if ax is not None:
        return ax
    _, new = pyplot.subplots(layout="constrained")
    axes: Axes = new
    return axes


def style(number: int) -> tuple[str, str, str]:
    """Colour, marker and line of the class or curve of that number, counted from 0."""
    return (
        COLOURS[number % len(COLOURS)],
        MARKERS[number % len(MARKERS)],
        LINES[number % len(LINES)],
    )
