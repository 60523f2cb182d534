"""Draw how a cluster embeds files while one worker is killed.

Usage: ``python tools/draw_partitions.py``, which writes ``docs/_static/partitions.png``. It is the
picture of ``examples/partitions_dask.py``, which is not run in the documentation.
"""

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from sklearn_esm.display._matplotlib import COLOURS

TARGET = Path(__file__).parents[1] / "docs" / "_static" / "partitions.png"
BLUE, RED, GREEN = COLOURS[:3]


def box(axes: Axes, x: float, y: float, text: str, colour: str) -> None:
    """Draw a text in a box."""
    frame = {"boxstyle": "round,pad=0.6", "facecolor": "white", "edgecolor": colour, "linewidth": 2}
    axes.text(x, y, text, ha="center", va="center", fontsize=13, bbox=frame, zorder=3)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
    """Draw an arrow between two places, dashed if it is red."""
    line = "--" if colour == RED else "-"
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": colour, "ls": line, "lw": 2})


def main() -> None:
    """Draw the diagram."""
    figure, axes = plt.subplots(figsize=(6.4, 4.5), layout="constrained")
    for x, title in enumerate(("files of\nsequences", "worker\nprocesses", "files of\nvectors")):
        axes.text(x, 3.75, title, ha="center", va="center", fontsize=14, color="0.3")
    for y, part in ((3, "part 0"), (1.5, "part 1")):
        box(axes, 0, y, part, "0.4")
        box(axes, 2, y, part, "0.4")
    box(axes, 1, 3, "worker 1", BLUE)
    box(axes, 1, 2, "worker 2\nkilled", RED)
    box(axes, 1, 1, "worker 3\nstarted instead", GREEN)
    arrow(axes, (0.25, 3), (0.73, 3), BLUE)
    arrow(axes, (1.27, 3), (1.75, 3), BLUE)
    arrow(axes, (0.25, 1.58), (0.73, 1.95), RED)
    arrow(axes, (0.25, 1.42), (0.62, 1.1), GREEN)
    arrow(axes, (1.38, 1.1), (1.75, 1.42), GREEN)
    axes.set(xlim=(-0.4, 2.4), ylim=(0.5, 4.1))
    axes.axis("off")
    figure.savefig(TARGET, dpi=200)


if __name__ == "__main__":
    main()
