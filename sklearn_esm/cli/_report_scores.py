"""Scores by fold: means, intervals, and what they say about a model and its baselines, in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from scipy import stats

Folds: TypeAlias = Sequence[float | None]

# name in a sentence, and name of an axis
_METRICS = {
    "spearman": ("Spearman's rank correlation", "Spearman's ρ"),
    "r2": ("R²", "R²"),
    "rmse": ("the root mean squared error", "RMSE"),
    "roc_auc": ("the area under the ROC curve", "ROC AUC"),
    "balanced_accuracy": ("balanced accuracy", "Balanced accuracy"),
    "mcc": ("Matthews' correlation coefficient", "MCC"),
}
_ERRORS = ("rmse",)  # smaller is better


class Summary(NamedTuple):
    """Mean, range and interval of the scores that are defined; NaN if there are none."""

    mean: float
    low: float
    high: float
    half_width: float
    """Half of the 95 % t-interval of the mean; NaN if fewer than two scores are defined."""


def axis_name(metric: str) -> str:
    """Return a short name of a metric."""
    return _METRICS.get(metric, (metric, metric))[1]


def finite(folds: Folds) -> list[float]:
    """Return the scores that are defined."""
    return [score for score in folds if score is not None and math.isfinite(score)]


def summary_of(folds: Folds) -> Summary:
    """Return mean, range and interval of the scores of the folds."""
    scores = np.array(finite(folds))
    if not len(scores):
        return Summary(math.nan, math.nan, math.nan, math.nan)
    half = math.nan
    if len(scores) > 1:
        half = stats.t.ppf(0.975, len(scores) - 1) * scores.std(ddof=1) / math.sqrt(len(scores))
    return Summary(float(scores.mean()), float(scores.min()), float(scores.max()), float(half))


def number(value: float | None, metric: str = "") -> str:
    """Return a score as text, with a minus sign; a dash if it is not defined."""
    if value is None or not math.isfinite(value):
        return "–"
    # errors have the unit of the target, so three decimals may be too few or too many
    text = f"{value:#.4g}".rstrip(".") if metric in _ERRORS else f"{value:.3f}"
    return text.replace("-", "\u2212") if float(text) else text.lstrip("-")


def in_words(metric: str, scores: Mapping[str, Mapping[str, Folds]]) -> list[str]:
    """Return sentences: the score of the model, those of the others, and how they compare."""
    name = _METRICS.get(metric, (metric, metric))[0]
    model = scores["model"][metric]
    others = {label: folds[metric] for label, folds in scores.items() if label != "model"}
    mean, low, high, _ = summary_of(model)
    known = len(finite(model))
    if not known:
        return [f"{_capital(name)} of the model is not defined in any fold."]
    averaged = "" if known == len(model) else f"the {known} in which it is defined of "
    sentences = [
        f"{_capital(name)} is {number(mean, metric)} on average over {averaged}{len(model)} folds, from "
        f"{number(low, metric)} to {number(high, metric)}.",
        *(_score_of(label, folds, metric) for label, folds in others.items()),
    ]
    verdicts = [_verdict(metric, scores["model"], label, scores[label]) for label in others]
    return sentences + [verdict for verdict in verdicts if verdict]


def _verdict(
    metric: str, model: Mapping[str, Folds], label: str, other: Mapping[str, Folds]
) -> str | None:
    """Return a comparison by the first metric that is defined for both, the main one if possible."""
    for used in [metric, *model]:
        pairs = [
            (one, two)
            for one, two in zip(model[used], other[used], strict=True)
            if one is not None and two is not None
        ]
        if pairs:
            break
    else:
        return None
    sign = -1 if used in _ERRORS else 1
    by = "" if used == metric else f"By {_METRICS.get(used, (used,))[0]}, "
    if sign * summary_of(other[used]).mean >= sign * summary_of(model[used]).mean:
        direction = "above" if used in _ERRORS else "below"
        text = (
            f"the model is not better than {_called(label)} on these data: the mean of "
            f"{_called(label)} is not {direction} that of the model."
        )
    else:
        better = sum(sign * one > sign * two for one, two in pairs)
        text = f"the model beats {_called(label)} in {better} of {len(pairs)} folds."
    return by + text if by else _capital(text)


def _score_of(label: str, folds: Folds, metric: str) -> str:
    mean = summary_of(folds).mean
    if math.isfinite(mean):
        return f"{_capital(_called(label))} reaches {number(mean, metric)}."
    reason = ", because its predictions are constant" if metric == "spearman" else ""
    return f"It is not defined for {_called(label)}{reason}."


def _called(label: str) -> str:
    return "the dummy" if label == "dummy" else f"the baseline ({label})"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
