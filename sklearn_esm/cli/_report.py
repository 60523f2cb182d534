"""`html_report`: what `train` measured, as one HTML page."""

from __future__ import annotations

import base64
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import PurePath
from typing import Any

from sklearn_esm.cli._report_figures import (
    confusion,
    predicted_against_measured,
    roc_curves,
    scores_by_fold,
    scores_by_layer,
)
from sklearn_esm.cli._report_page import page
from sklearn_esm.cli._report_scores import axis_name, in_words, number, summary_of


def html_report(record: Mapping[str, Any]) -> str:
    """Return a page about a trained model, which loads nothing from elsewhere.

    Parameters
    ----------
    record : mapping
        What `train` writes as JSON: task, input, scores by fold, predictions of held-out rows,
        parameters, versions and warnings.

    Returns
    -------
    str
        HTML. The same record gives the same text on one machine.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    title = f"{record['input']['target']}: {record['estimator']}"
    parts = [
        f"<h1>{_text(title)}</h1>",
        _warnings(record["warnings"]),
        _summary(record),
        f'<div class="figures">{"".join(_figures(record))}</div>',
        _score_table(record["scores"]),
        _loading(record),
        f"<h2>Command</h2><p>This command repeats it.</p><pre>{_text(record['command'])}</pre>",
        f"<h2>Parameters</h2>{_pairs(_parameters(record))}",
        f"<h2>Versions</h2>{_pairs({'sklearn-esm': record['sklearn_esm'], **record['versions']})}",
    ]
    return page(_text(title), _text(record["sklearn_esm"]), "\n".join(parts))


def _text(value: object) -> str:
    return escape(str(value))


def _summary(record: Mapping[str, Any]) -> str:
    sentences = in_words(record["metric"], record["scores"])
    lead, verdicts = sentences[: len(record["scores"])], sentences[len(record["scores"]) :]
    rows = len(record["out_of_fold"]["row"])
    groups = "" if record["n_groups"] is None else f" {record['n_groups']:,} groups by"
    folds = (
        "Rows were assigned to folds at random"
        if record["group"] == "none"
        else f"Folds keep groups together:{groups} {record['group']}"
    )
    what = f"{record['task'].capitalize()}, evaluated on {rows:,} rows. {folds}."
    parts = [f'<p class="lead">{_text(" ".join(lead))}</p>']
    if verdicts:
        parts.append(f"<p>{_text(' '.join(verdicts))}</p>")
    return "".join([*parts, f'<p class="soft">{_text(what)}</p>'])


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return ""
    items = "".join(f"<li>{_text(warning)}</li>" for warning in warnings)
    heading = "Warning" if len(warnings) == 1 else f"{len(warnings)} warnings"
    return f'<section class="warnings"><h2>{heading}</h2><ul>{items}</ul></section>'


def _figures(record: Mapping[str, Any]) -> Iterable[str]:
    metric, scores, rows = record["metric"], record["scores"], record["out_of_fold"]
    yield _figure(
        "Scores by fold",
        scores_by_fold(metric, scores),
        f"{axis_name(metric)} of each fold (dots), with mean and 95 % t-interval (diamond and bar). "
        "The folds share training rows, so they are not independent and the interval is approximate.",
    )
    if record["task"] == "regression":
        yield _figure(
            "Predicted against measured",
            predicted_against_measured(rows["measured"], rows["predicted"]),
            f"Each of {len(rows['measured']):,} rows was predicted by the model of a fold that did not "
            "train on it. The line is where both are equal.",
        )
    else:
        classes = record["classes"]
        if rows["probabilities"] is not None:
            what = (
                f"The class {classes[1]}: thin lines are single folds, the thick line is all rows "
                "together."
                if len(classes) == 2
                else "Each class against the others, all rows together."
            )
            yield _figure(
                "ROC curve" if len(classes) == 2 else "ROC curves",
                roc_curves(classes, rows["measured"], rows["probabilities"], rows["fold"]),
                f"{what} Areas of all rows differ from means over folds, because each fold has a model "
                "of its own.",
            )
        yield _figure(
            "Confusion matrix",
            confusion(classes, rows["measured"], rows["predicted"]),
            "Numbers of held-out rows. Colours are shares of the measured class.",
        )
    if record["layers"]:
        yield _figure(
            "Score by layer",
            scores_by_layer(record["layers"]),
            "Mean and standard deviation over the folds of the search on all rows. The best of many is "
            "optimistic; the scores by fold are not, because each fold searched without its test rows.",
        )


def _figure(heading: str, svg: str, caption: str) -> str:
    # a picture of its own, because the identifiers of several SVGs in one page would collide
    data = base64.b64encode(svg.encode()).decode()
    return (
        f'<figure><h2>{heading}</h2><img alt="{heading}" src="data:image/svg+xml;base64,{data}">'
        f"<figcaption>{_text(caption)}</figcaption></figure>"
    )


def _score_table(scores: Mapping[str, Mapping[str, Sequence[float | None]]]) -> str:
    metrics = list(scores["model"])
    folds = range(1, len(scores["model"][metrics[0]]) + 1)
    head = "".join(f"<th>{name}</th>" for name in ["Score", "Of", "Mean", "±", *folds])
    rows = []
    for metric in metrics:
        for label, by_metric in scores.items():
            summary = summary_of(by_metric[metric])
            numbers = [summary.mean, summary.half_width, *by_metric[metric]]
            cells = "".join(f"<td>{number(value, metric)}</td>" for value in numbers)
            kind = ' class="model"' if label == "model" else ""
            rows.append(
                f"<tr{kind}><td>{_text(axis_name(metric))}</td><td>{_text(label)}</td>{cells}</tr>"
            )
    return (
        f'<h2>All scores</h2><div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        '<p class="soft">± is half of the 95 % t-interval of the mean. The columns with numbers are the '
        "folds. – is a score that is not defined.</p>"
    )


def _loading(record: Mapping[str, Any]) -> str:
    name = _output_name(record["command"])
    given = record["input"]
    example = "MKTAYIAKQR"
    if given["kind"] == "mutations":
        first = given["reference"][0]
        example = f"{first}{given['first_position']}{'G' if first == 'A' else 'A'}"
    if name.endswith(".joblib"):
        lines = ["import joblib", f"model = joblib.load({name!r})"]
        advice = "Load only a file that you trust, because a pickle can run any code."
    else:
        types = f"json.load(open({str(PurePath(name).with_suffix('.json'))!r}))['types']"
        lines = ["import json, skops.io", f"model = skops.io.load({name!r}, trusted={types})"]
        advice = "Read the list of types first if the file comes from somebody else."
    code = "\n".join([*lines, f"model.predict([{example!r}])"])
    return (
        "<h2>Load the model in Python</h2><p>The file holds a fitted scikit-learn pipeline. "
        f"{advice}</p><pre>{_text(code)}</pre>"
    )


def _output_name(command: str) -> str:
    """Return the name of the file after ``-o``."""
    words = shlex.split(command)
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word in ("-o", "--output"):
            return PurePath(following).name
        if word.startswith("--output="):
            return PurePath(word.removeprefix("--output=")).name
    return "model.skops"


def _parameters(record: Mapping[str, Any]) -> dict[str, Any]:
    given = record["input"]
    numbered = given["kind"] == "mutations"
    return {
        "Target": given["target"],
        "Column of " + given["kind"]: given["column"],
        "Reference": given["reference"],
        "First position": given["first_position"] if numbered else None,
        "Rows": f"{given['rows']:,}",
        "Rows without target": f"{given['rows_without_target']:,}",
        "Duplicates": f"{given['duplicates']:,}",
        "Classes": None if record["classes"] is None else ", ".join(map(str, record["classes"])),
        "Features": ", ".join(record["features"]),
        "Model": record["model"],
        "SHA-256 of the model": record["model_fingerprint"],
        "Estimator": record["estimator"],
        **{f"Best {name}": _shown(value) for name, value in record["best_params"].items()},
        "Groups": record["group"],
        "Number of groups": record["n_groups"],
        "Folds": record["folds"],
        "Seed": record["seed"],
    }


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) and math.isfinite(value) else str(value)


def _pairs(values: Mapping[str, Any]) -> str:
    known = {name: value for name, value in values.items() if value is not None}
    items = "".join(f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in known.items())
    return f"<dl>{items}</dl>"
