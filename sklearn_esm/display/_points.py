"""Points of a scatter plot, in one collection whatever their classes, and their markers in a legend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sklearn_esm.display._matplotlib import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = 26.0
_EDGE = 0.08  # width of the white edge, relative to the marker's, so that it does not cover small ones


def scatter(ax: Axes, points: np.ndarray, colour: Any, look: dict[str, Any], **more: Any) -> Any:
    """Draw points with a white edge. ``look`` has ``s`` and ``alpha``."""
    edge = {"edgecolor": "white", "linewidth": _EDGE * np.sqrt(look["s"])}
    return ax.scatter(points[:, 0], points[:, 1], c=colour, **edge, **look, **more)


def scatter_classes(
    ax: Axes, points: np.ndarray, values: np.ndarray, classes: list[Any], look: dict[str, Any]
) -> Any:
    """Draw points of all classes in the given order. One collection per class would cover the others."""
    from matplotlib.markers import MarkerStyle  # installed, because axes exist

    styles = [style(number) for number in range(len(classes))]
    number_of = {value: number for number, value in enumerate(classes)}
    numbers = [number_of[value] for value in values]  # (known,)
    drawn = scatter(ax, points, [styles[number][0] for number in numbers], look)
    markers = [MarkerStyle(marker) for _, marker, _ in styles]
    paths = [marker.get_path().transformed(marker.get_transform()) for marker in markers]
    drawn.set_paths([paths[number] for number in numbers])
    return drawn


def legend_marker(label: str, colour: str, marker: str) -> Any:
    """Return the line of a legend that shows a marker of the default size."""
    from matplotlib.lines import Line2D  # installed, because axes exist

    size = np.sqrt(SIZE)
    return Line2D(
        [],
        [],
        linestyle="none",
        color=colour,
        marker=marker,
        markersize=size,
        markeredgecolor="white",
        markeredgewidth=_EDGE * size,
        label=label,
    )
