"""The report: what it says about the scores, and a page that is whole, escaped and repeatable."""

import base64
import copy
import re
import shlex
from html.parser import HTMLParser

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from training_records import classification_record, regression_record

pytest.importorskip("typer")
pytest.importorskip("matplotlib")

from sklearn_esm.cli._report import html_report
from sklearn_esm.cli._report_figures import scores_by_layer
from sklearn_esm.cli._report_scores import in_words, number, summary_of


class Page(HTMLParser):
    """The text, tags, addresses and pictures of a page, which must close what it opens."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.words, self.addresses, self.pictures = [], [], [], [], []
        self.feed(html)
        self.close()
        assert self.open == []
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    def svg(self):
        prefix = "data:image/svg+xml;base64,"
        return [
            base64.b64decode(address.removeprefix(prefix)).decode()
            for address in self.addresses
            if address.startswith(prefix)
        ]


@pytest.fixture(scope="module")
def records():
    return {
        "regression": regression_record(),
        "two classes": classification_record(),
        "three classes": classification_record(3),
    }


FIGURES = {
    "regression": ["Scores by fold", "Predicted against measured", "Score by layer"],
    "two classes": ["Scores by fold", "ROC curve", "Confusion matrix"],
    "three classes": ["Scores by fold", "ROC curves", "Confusion matrix"],
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_page_has_its_figures_and_loads_nothing(records, name):
    html = html_report(records[name])
    page = Page(html)
    assert re.findall(r"<figure><h2>(.+?)</h2>", html) == FIGURES[name]
    assert len(page.svg()) == len(FIGURES[name])
    assert all(address.startswith("data:") for address in page.addresses)
    assert "url(" not in html
    assert "script" not in page.tags
    assert "prefers-color-scheme: dark" in html


@pytest.mark.parametrize("name", FIGURES)
def test_the_same_record_gives_the_same_bytes_whatever_the_settings(records, name):
    import matplotlib

    first = html_report(records[name])
    with matplotlib.rc_context({"lines.linewidth": 9, "svg.hashsalt": None, "font.size": 30}):
        assert html_report(records[name]) == first
    assert not re.search(r"<dc:date>", "".join(Page(first).svg()))


def test_pyplot_is_not_used(new_process):
    new_process("""
        import sys
        sys.path.insert(0, "tests/helpers")
        from training_records import classification_record
        from sklearn_esm.cli._report import html_report
        html_report(classification_record())
        assert "matplotlib.pyplot" not in sys.modules
    """)


def test_the_table_has_every_score(records):
    record = records["three classes"]
    page = Page(html_report(record))
    for metric in ("balanced_accuracy", "mcc"):
        for label in ("model", "composition", "dummy"):
            folds = record["scores"][label][metric]
            row = [number(np.mean(folds)), number(summary_of(folds).half_width), *map(number, folds)]
            assert f"{label} {' '.join(row)}" in page.text


def test_confusion_matrix_counts_the_rows(records):
    record = records["two classes"]
    rows = record["out_of_fold"]
    (svg,) = (svg for svg in Page(html_report(record)).svg() if "Measured" in svg)
    for truth in record["classes"]:
        for guess in record["classes"]:
            pairs = zip(rows["measured"], rows["predicted"], strict=True)
            count = sum(pair == (truth, guess) for pair in pairs)
            assert f">{count}</text>" in svg


def test_the_interval_is_that_of_scipy():
    folds = [0.4, 0.5, 0.45, 0.6]
    low, high = stats.ttest_1samp(folds, 0).confidence_interval(0.95)
    summary = summary_of([*folds, None])
    assert_allclose(
        [summary.mean - summary.half_width, summary.mean + summary.half_width], [low, high], rtol=1e-12
    )
    assert (summary.low, summary.high) == (0.4, 0.6)
    assert np.isnan(summary_of([0.4]).half_width)
    assert np.isnan(summary_of([None]).mean)


def scores(metric, **folds):
    return metric, {label.replace("_", "-"): {metric: values} for label, values in folds.items()}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            scores("roc_auc", model=[0.8, 0.9], composition=[0.7, 0.95], dummy=[0.5, 0.5]),
            [
                "The area under the ROC curve is 0.850 on average over 2 folds, from 0.800 to 0.900.",
                "The baseline (composition) reaches 0.825.",
                "The dummy reaches 0.500.",
                "The model beats the baseline (composition) in 1 of 2 folds.",
                "The model beats the dummy in 2 of 2 folds.",
            ],
        ),
        (
            scores("spearman", model=[0.2, None], one_hot=[0.2, 0.2], dummy=[None, None]),
            [
                "Spearman's rank correlation is 0.200 on average over the 1 in which it is defined of 2 "
                "folds, from 0.200 to 0.200.",
                "The baseline (one-hot) reaches 0.200.",
                "It is not defined for the dummy, because its predictions are constant.",
                "The model is not better than the baseline (one-hot) on these data: the mean of the "
                "baseline (one-hot) is not below that of the model.",
            ],
        ),
        (
            scores("rmse", model=[2000.0, 1000.0], one_hot=[1e-5, 3e-5]),
            [
                "The root mean squared error is 1500 on average over 2 folds, from 1000 to 2000.",
                "The baseline (one-hot) reaches 2.000e\u221205.",
                "The model is not better than the baseline (one-hot) on these data: the mean of the "
                "baseline (one-hot) is not above that of the model.",
            ],
        ),
        (
            (
                "spearman",
                {
                    "model": {"spearman": [0.3, 0.5], "r2": [0.1, 0.2]},
                    "one-hot": {"spearman": [None, None], "r2": [-0.1, 0.3]},
                },
            ),
            [
                "Spearman's rank correlation is 0.400 on average over 2 folds, from 0.300 to 0.500.",
                "It is not defined for the baseline (one-hot), because its predictions are constant.",
                "By R², the model beats the baseline (one-hot) in 1 of 2 folds.",
            ],
        ),
        (scores("r2", model=[None], dummy=[0.0]), ["R² of the model is not defined in any fold."]),
    ],
)
def test_the_summary_says_what_the_scores_say(given, expected):
    assert in_words(*given) == expected


def test_warnings_come_first(records):
    text = Page(html_report(records["two classes"])).text
    assert text.index("Relatives are in different folds.") < text.index("The area under the ROC curve")
    assert "Warning" not in Page(html_report(records["regression"])).text


def test_every_text_is_escaped(records):
    odd = "<b>&\"'$x$ 蛋白"
    texts = ("estimator", "model", "group", "sklearn_esm")
    record = {
        **copy.deepcopy(records["two classes"]),
        **dict.fromkeys(texts, odd),
        "best_params": {odd: odd},
        "versions": {odd: odd},
        "command": shlex.join(["sklearn-esm", "train", odd]),
        "warnings": [odd],
    }
    record["input"]["target"] = record["input"]["column"] = odd
    record["classes"] = [odd, "z"]
    rows, name = record["out_of_fold"], {"antimicrobial": odd, "hormone/neuropeptide": "z"}
    for key in ("measured", "predicted"):
        rows[key] = [name[value] for value in rows[key]]
    record["scores"][odd] = record["scores"].pop("composition")
    page = Page(html_report(record))
    assert "b" not in page.tags
    assert page.text.count(odd) > 10


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (
            "sklearn-esm train a.csv -o out/best.skops",
            "skops.io.load('best.skops', trusted=json.load(open('best.json'))['types'])",
        ),
        ("sklearn-esm train a.csv '--output=my model.joblib'", "joblib.load('my model.joblib')"),
        ("sklearn-esm train a.csv", "skops.io.load('model.skops', "),
    ],
)
def test_the_code_loads_the_file_that_was_written(records, command, code):
    assert code in Page(html_report({**records["regression"], "command": command})).text


def test_without_probabilities_there_is_no_roc_curve(records):
    record = records["two classes"]
    rows = {**record["out_of_fold"], "probabilities": None}
    assert "ROC curve<" not in html_report({**record, "out_of_fold": rows})


def test_layers_that_are_concatenated_are_categories():
    entry = {"pooling": "mean", "mean": 0.5, "std": None}
    svg = scores_by_layer([{**entry, "layer": [3, 6]}, {**entry, "layer": -1, "mean": None}])
    assert ">[3, 6]<" in svg


def test_many_points_are_pixels(records):
    record = records["regression"]
    rows = record["out_of_fold"]
    many = {**rows, **{key: rows[key] * 20 for key in ("measured", "predicted")}}
    assert len(html_report({**record, "out_of_fold": many})) < 400_000
