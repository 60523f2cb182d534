"""Write figures so that the same figure has the same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sklearn_esm._optional_dependencies import import_extra

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NO_DATES: dict[str, dict[str, None]] = {
    "png": {},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None},
}
FORMATS = tuple(_NO_DATES)


def save_figure(figure: Figure, file: Any, kind: str) -> None:
    """Write a figure to a path or an open file, in one of `FORMATS`."""
    matplotlib = import_extra("matplotlib", of="A figure", extra="train")
    # the identifiers of an SVG are random without a salt
    with matplotlib.rc_context({"svg.hashsalt": "sklearn-esm"}):
        figure.savefig(file, format=kind, metadata=_NO_DATES[kind])
