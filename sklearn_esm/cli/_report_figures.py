"""The pictures of a report, as SVG."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import auc, confusion_matrix, roc_curve

from sklearn_esm._optional_dependencies import import_extra
from sklearn_esm._sequences import shorten
from sklearn_esm.cli._figure_files import save_figure
from sklearn_esm.cli._report_scores import Folds, axis_name, summary_of
from sklearn_esm.display._matplotlib import COLOURS, LINES, MARKERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH = 4.6  # inches: text of 10 points can be read on a phone, where the picture fills the screen
_FEW_POINTS = 2000  # more are drawn as pixels, which bounds the size of the file
_FEW_CLASSES = 12  # more have no numbers in the confusion matrix
_GREY = "#767676"
_SETTINGS = {
    "svg.fonttype": "none",  # small files, and every script that the reader's fonts have
    "text.parse_math": False,  # a class may be named "$x"
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_CENTRED: dict[str, Any] = {"ha": "center", "va": "center"}


def scores_by_fold(metric: str, scores: Mapping[str, Mapping[str, Folds]]) -> str:
    """Draw a row for the model and for each baseline: a dot per fold, the mean and its interval."""
    with _drawn(1.1 + 0.5 * len(scores)) as (ax, svg):
        for row, (label, folds) in enumerate(scores.items()):
            values = np.array([np.nan if score is None else score for score in folds[metric]])
            colour = COLOURS[0] if label == "model" else _GREY
            # apart from the mean, and in the order of the folds
            heights = row + 0.22 + np.linspace(-0.06, 0.06, len(values))
            ax.plot(values, heights, "o", color=colour, markersize=4, alpha=0.6, markeredgewidth=0)
            mean, _, _, half = summary_of(folds[metric])
            if np.isfinite(mean):
                ax.errorbar(mean, row, xerr=half, fmt="D", color=colour, markersize=6, capsize=4)
            else:
                ax.text(0.5, row, "not defined", transform=ax.get_yaxis_transform(), **_CENTRED)
        ax.set_yticks(range(len(scores)), [shorten(label) for label in scores])
        ax.set_ylim(len(scores) - 0.5, -0.5)
        ax.set_xlabel(axis_name(metric))
        ax.grid(axis="x", color="0.9")
        ax.set_axisbelow(True)
    return svg[0]


def predicted_against_measured(measured: Sequence[float], predicted: Sequence[float]) -> str:
    """Draw a dot for each row, and the line on which predictions are right."""
    with _drawn(4.2) as (ax, svg):
        x, y = np.array(measured, dtype=float), np.array(predicted, dtype=float)
        known = np.isfinite(x) & np.isfinite(y)
        x, y = x[known], y[known]
        is_few = len(x) <= _FEW_POINTS
        size, alpha = (14, 0.5) if len(x) <= 500 else (6, 0.3) if is_few else (3, 0.15)
        ax.scatter(x, y, s=size, alpha=alpha, color=COLOURS[0], linewidths=0, rasterized=not is_few)
        if len(x):
            ends = [min(x.min(), y.min()), max(x.max(), y.max())]
            ax.plot(ends, ends, color=_GREY, linewidth=1, linestyle="--")
        ax.set_xlabel("Measured")
        ax.set_ylabel("Predicted, from the other folds")
        ax.set_aspect("equal", adjustable="datalim")
    return svg[0]


def roc_curves(
    classes: Sequence[Any], measured: Sequence[Any], probabilities: Any, folds: Sequence[int]
) -> str:
    """Draw the ROC curve of the second of two classes, with one for each fold, or of each of more."""
    place = {value: index for index, value in enumerate(classes)}
    truth = np.array([place[value] for value in measured])
    scores, fold_of = np.array(probabilities, dtype=float), np.array(folds)
    with _drawn(4.2) as (ax, svg):
        if len(classes) == 2:
            for fold in np.unique(fold_of):
                some = fold_of == fold
                if len(np.unique(truth[some])) == 2:
                    x, y, _ = roc_curve(truth[some], scores[some, 1])
                    ax.plot(x, y, color=COLOURS[0], alpha=0.3, linewidth=1)
        for index in [1] if len(classes) == 2 else range(len(classes)):
            if len(np.unique(truth == index)) < 2:
                continue  # a class that no fold has
            x, y, _ = roc_curve(truth == index, scores[:, index])
            label = f"{shorten(str(classes[index]))}, area {auc(x, y):.3f}"
            style = LINES[index // len(COLOURS) % len(LINES)]
            colour = COLOURS[0 if len(classes) == 2 else index % len(COLOURS)]
            ax.plot(x, y, style, color=colour, linewidth=2, label=label)
        ax.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle="--")
        ax.set_xlabel("False positive rate")
        ax.set_ylabel("True positive rate")
        ax.set_aspect("equal")
        ax.legend(loc="lower right", fontsize="small", frameon=False)
    return svg[0]


def confusion(classes: Sequence[Any], measured: Sequence[Any], predicted: Sequence[Any]) -> str:
    """Draw the number of rows of each class that were predicted as each class."""
    place = {value: index for index, value in enumerate(classes)}
    numbers = confusion_matrix(
        [place[value] for value in measured],
        [place[value] for value in predicted],
        labels=range(len(classes)),
    )  # (classes, classes)
    shares = numbers / np.maximum(numbers.sum(axis=1, keepdims=True), 1)
    names = [shorten(str(value), 16) for value in classes]
    with _drawn(4.2) as (ax, svg):
        ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        if len(classes) <= _FEW_CLASSES:
            for (row, column), count in np.ndenumerate(numbers):
                colour = "white" if shares[row, column] > 0.5 else "black"
                ax.text(column, row, f"{count:,}", color=colour, **_CENTRED)
        ax.set_xticks(range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor")
        ax.set_yticks(range(len(names)), names)
        ax.set_xlabel("Predicted, from the other folds")
        ax.set_ylabel("Measured")
    return svg[0]


def scores_by_layer(layers: Sequence[Mapping[str, Any]]) -> str:
    """Draw the mean score in the search by layer, a line for each pooling."""
    # several layers that are concatenated have no place on a scale
    is_scale = all(isinstance(entry["layer"], int) for entry in layers)
    names = list(dict.fromkeys(str(entry["layer"]) for entry in layers))
    place = {name: int(name) if is_scale else index for index, name in enumerate(names)}
    with _drawn(3.6) as (ax, svg):
        for index, pooling in enumerate(dict.fromkeys(str(entry["pooling"]) for entry in layers)):
            some = [
                entry
                for entry in layers
                if str(entry["pooling"]) == pooling and entry["mean"] is not None
            ]
            some.sort(key=lambda entry: place[str(entry["layer"])])
            means, deviations = (
                np.array([entry[key] for entry in some], dtype=float) for key in ("mean", "std")
            )
            ax.errorbar(
                [place[str(entry["layer"])] for entry in some],
                means,
                yerr=deviations if np.isfinite(deviations).all() else None,
                label=shorten(pooling),
                color=COLOURS[index % len(COLOURS)],
                marker=MARKERS[index % len(MARKERS)],
                capsize=2,
                elinewidth=0.8,
            )
        if not is_scale:
            ax.set_xticks(range(len(names)), [shorten(name, 12) for name in names])
        ax.set_xlabel("Layer")
        ax.set_ylabel("Score in the search")
        ax.legend(title="Pooling", fontsize="small", frameon=False)
    return svg[0]


@contextmanager
def _drawn(height: float) -> Iterator[tuple[Axes, list[str]]]:
    """Yield the axes of a new figure, and a list that holds its SVG in the end.

    pyplot is not used, because it keeps figures and may start a window system.
    """
    style = import_extra("matplotlib.style", of="The report", extra="train")
    figures = import_extra("matplotlib.figure", of="The report", extra="train")
    svg: list[str] = []
    # a user's own settings would change the bytes
    with style.context(["default", _SETTINGS]), warnings.catch_warnings():
        # the reader's fonts draw the text, not those of this machine
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure = figures.Figure(figsize=(_WIDTH, height), layout="constrained", facecolor="white")
        yield figure.add_subplot(), svg
        file = io.StringIO()
        save_figure(figure, file, "svg")
        svg.append(file.getvalue())
