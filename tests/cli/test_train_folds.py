"""Folds of `train`: groups stay together, what is left out is counted, and leaks are warned of."""

import tempfile

import numpy as np
import pytest
from command_line import run, train
from numpy.testing import assert_allclose
from sklearn.base import clone
from training_tables import FAST, NUMBERS, SEQUENCES, fails, replaced, table

for library in ("pandas", "skops", "matplotlib"):
    pytest.importorskip(library, reason="training needs the extra train")

from sklearn_esm.cli import _folds, _training  # noqa: E402
from sklearn_esm.cli._saved_model import load_pipeline  # noqa: E402
from sklearn_esm.datasets import load_gb1  # noqa: E402
from sklearn_esm.model_selection import position_groups  # noqa: E402
from sklearn_esm.recipes import _estimators  # noqa: E402

GB1 = load_gb1()
MUTATIONS = [*GB1.mutations[::11], "WT", "Q2A:T55G"]
EFFECTS = [*GB1.target[::11].tolist(), 0.0, -1.0]
OF_GB1 = ("--mutations", "mutation", "--reference", GB1.reference)


@pytest.fixture
def csv(tmp_path):
    return tmp_path / "measured.csv"


@pytest.fixture
def model(tmp_path):
    return tmp_path / "model.skops"


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    # half a second for each run, and test_report.py tests them
    monkeypatch.setattr("sklearn_esm.cli._report.html_report", lambda record: "")


def gb1_table(path):
    rows = zip(MUTATIONS, EFFECTS, strict=True)
    path.write_text("mutation,y\n" + "".join(f"{mutation},{effect}\n" for mutation, effect in rows))
    return path


def folds_of(record, keys):
    """The folds in which each key has rows."""
    found = {}
    for row, fold in zip(record["out_of_fold"]["row"], record["out_of_fold"]["fold"], strict=True):
        found.setdefault(keys[row], set()).add(fold)
    return found


def test_a_column_of_groups_stays_together(csv, model):
    families = [f"family {row % 8}" for row in range(40)]
    result, record = train(table(csv, family=families), model, "y", *FAST, "--group", "family")
    assert result.exit_code == 0
    assert all(len(folds) == 1 for folds in folds_of(record, families).values())
    assert (record["group"], record["n_groups"], record["warnings"]) == ("family", 8, [])


def test_a_row_without_a_group_is_named(csv, model):
    families = replaced([f"family {row % 8}" for row in range(40)], row_6="")
    result, _ = train(table(csv, family=families), model, "y", *FAST, "--group", "family")
    fails(result, "data row 7 has no group in 'family'")


def test_relatives_stay_together(csv, model):
    pytest.importorskip("pyopal")
    # a relative of each: one residue differs
    relatives = [("K" if one[0] != "K" else "R") + one[1:] for one in SEQUENCES[:20]]
    sequences = [*SEQUENCES[:20], *relatives]
    options = ("--group", "identity", "--identity", "0.8")
    _, record = train(table(csv, sequences), model, "y", *FAST, *options)
    assert all(len(folds) == 1 for folds in folds_of(record, [row % 20 for row in range(40)]).values())
    assert record["warnings"] == []


def test_relatives_in_several_folds_are_counted(csv, model):
    pytest.importorskip("pyopal")
    relatives = [("K" if one[0] != "K" else "R") + one[1:] for one in SEQUENCES[:3]]
    result, record = train(table(csv, replaced(SEQUENCES, row_37=relatives[0])), model, "y", *FAST)
    groups = _folds.identity_groups(replaced(SEQUENCES, row_37=relatives[0]), 0.8).tolist()
    folds = folds_of(record, groups)
    straddling = sum(len(folds[group]) > 1 for group in groups)
    assert straddling > 0
    (warning,) = record["warnings"]
    assert warning.startswith(f"{straddling} of 40 rows have a relative of at least 80% identity")
    assert f"Warning: {warning}" in result.stderr


def test_without_pyopal_equal_sequences_are_counted(csv, model, monkeypatch):
    monkeypatch.setattr(_folds, "find_spec", lambda name: None)
    _, record = train(table(csv), model, "y", *FAST)
    assert record["warnings"] == []
    # 20 pairs of equal rows, of which a random split separates some
    table(csv, SEQUENCES[:20] * 2, NUMBERS[:20] * 2)
    _, record = train(csv, model, "y", *FAST)
    folds = folds_of(record, SEQUENCES[:20] * 2)
    straddling = 2 * sum(len(found) > 1 for found in folds.values())
    assert record["warnings"][0].startswith(f"{straddling} of 40 rows have the same sequence")


def test_random_folds_of_mutations_are_warned_of(csv, model):
    result, record = train(gb1_table(csv), model, "y", *FAST, *OF_GB1)
    assert len(record["warnings"]) == 1
    assert "Pass --group positions" in record["warnings"][0]
    assert "Warning: All rows are variants of one protein" in result.stderr
    assert list(record["scores"]) == ["model", "one-hot", "dummy"]


def test_positions_stay_together_and_rows_of_no_group_train_the_final_model(csv, model):
    options = (*FAST, *OF_GB1, "--group", "positions")
    _, record = train(gb1_table(csv), model, "y", *options)
    expected = position_groups(MUTATIONS, GB1.reference, n_groups=3)
    scored = np.flatnonzero(expected >= 0)
    assert expected[-2:].tolist() == [-1, -1]
    assert record["out_of_fold"]["row"] == scored.tolist()
    assert all(len(folds) == 1 for folds in folds_of(record, expected).values())
    assert record["warnings"][0].startswith("2 of 97 rows change positions of several groups, or none.")
    # parameters come from the rows that are scored, and coefficients from all of them
    pipeline = load_pipeline(model)
    again = clone(pipeline).fit(np.array(MUTATIONS, dtype=object), EFFECTS)
    assert_allclose(pipeline.predict(MUTATIONS), again.predict(MUTATIONS), rtol=1e-9)


def test_too_few_groups(csv, model):
    families = ["a", "b"] * 20
    result, _ = train(table(csv, family=families), model, "y", *FAST, "--group", "family")
    fails(result, "--group must give at least 3 groups for 3 folds; got 2.")


def test_variants_of_one_protein_are_one_group_of_identity(csv, model):
    pytest.importorskip("pyopal")
    result, _ = train(gb1_table(csv), model, "y", *FAST, *OF_GB1, "--group", "identity")
    fails(result, "got 1.", "--group positions")


def test_groups_that_keep_a_class_together(csv, model):
    # all rows of one class are in one group
    targets = ["low"] * 30 + ["high"] * 10
    families = [f"family {min(row // 5, 6)}" for row in range(40)]
    table(csv, targets=targets, family=families)
    result, _ = train(csv, model, "y", *FAST, "--group", "family")
    fails(result, "must have all classes, and groups keep one out")


# work


def test_the_model_runs_once_per_distinct_sequence(csv, model, runs):
    sequences = [*SEQUENCES[:38], *SEQUENCES[:2]]
    targets = [*NUMBERS[:38], *NUMBERS[:2]]
    options = ("--folds", "3", "--layers", "all", "--poolings", "mean,max")
    result, record = train(table(csv, sequences, targets), model, "y", *options)
    assert result.exit_code == 0
    assert sorted(runs["hidden_states"]) == sorted(set(sequences))
    layers = [(one["layer"], one["pooling"]) for one in record["layers"]]
    assert layers == [(layer, pooling) for layer in range(7) for pooling in ("mean", "max")]


def test_poolings_are_searched_at_one_layer(csv, model):
    _, record = train(table(csv), model, "y", "--folds", "3", "--poolings", "mean,bos")
    assert [(one["layer"], one["pooling"]) for one in record["layers"]] == [(6, "mean"), (6, "bos")]
    assert record["best_params"].keys() == {"estimator__alpha", "features__pooling"}


def test_a_cache_folder_is_used_again(csv, model, folder, embedded):
    options = ("--folds", "3", "--cache", folder)
    train(table(csv), model, "y", *options)
    assert len(embedded) == 40
    train(csv, model, "y", *options)
    assert len(embedded) == 40
    assert load_pipeline(model).named_steps["features"].cache is None


def test_vectors_that_memory_cannot_keep_are_in_a_temporary_folder(
    csv, model, embedded, monkeypatch, folder
):
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    _, expected = train(table(csv), model, "y", "--folds", "3", "--layers", "3,6")
    embedded.clear()
    monkeypatch.setattr(_training.MEMORY_CACHE, "max_bytes", 20_000)
    _, record = train(csv, model, "y", "--folds", "3", "--layers", "3,6")
    assert len(embedded) == 40
    assert (record["scores"], record["warnings"]) == (expected["scores"], expected["warnings"])
    assert list(folder.iterdir()) == []


def test_likelihoods_and_embeddings_side_by_side(csv, model, runs):
    options = ("--features", "embedding,likelihood,one-hot", "--folds", "3", "--group", "positions")
    _, record = train(gb1_table(csv), model, "y", *OF_GB1, *options)
    names = [name for name, _ in load_pipeline(model).named_steps["features"].transformer_list]
    assert names == record["features"] == ["embedding", "likelihood", "one-hot"]
    varied = {int(part[1:-1]) for text in MUTATIONS[:-2] for part in text.split(":")} | {2, 55}
    assert len(runs["log_probabilities"]) == len(varied)  # each varied position is masked once


@pytest.mark.parametrize(
    ("estimator", "kind"),
    [
        ("svm", "regression"),
        ("random-forest", "regression"),
        ("gaussian-process", "regression"),
        ("gradient-boosting", "regression"),
        ("svm", "classification"),
        ("random-forest", "classification"),
        ("gradient-boosting", "classification"),
    ],
)
def test_every_estimator_trains_and_is_saved(csv, model, estimator, kind, monkeypatch):
    monkeypatch.setattr(_estimators, "_TREES", 10)
    targets = NUMBERS if kind == "regression" else [0, 1] * 20
    options = ("--estimator", estimator)
    result, record = train(table(csv, targets=targets), model, "y", *FAST, *options)
    assert result.exit_code == 0, result.stderr
    assert record["task"] == kind
    loaded = load_pipeline(model)
    assert loaded.predict(SEQUENCES).shape == (40,)
    has_probabilities = kind == "classification" and estimator != "svm"
    assert (record["out_of_fold"]["probabilities"] is not None) == has_probabilities
    if kind == "classification":
        assert np.isfinite(record["scores"]["model"]["roc_auc"]).all()
    if estimator == "gaussian-process":
        assert (loaded.predict(SEQUENCES, return_std=True)[1] > 0).all()


def test_a_large_gaussian_process_is_warned_of(csv, model, monkeypatch):
    monkeypatch.setattr(_training, "_GAUSSIAN_PROCESS_ROWS", 39)
    _, record = train(table(csv), model, "y", *FAST, "--estimator", "gaussian-process")
    assert record["warnings"][-1].startswith("A Gaussian process on 40 rows is slow")


# nothing half written


def test_nothing_is_written_if_the_report_fails(csv, model, monkeypatch):
    from sklearn_esm.cli import _report

    def fail(record):
        raise OSError("no space")

    monkeypatch.setattr(_report, "html_report", fail)
    result = run("train", table(csv), "-o", model, "--target", "y", *FAST)
    fails(result, "no space")
    assert [path.name for path in model.parent.iterdir()] == ["measured.csv"]


def test_quiet_and_verbose(csv, model):
    families = [f"family {row % 8}" for row in range(40)]
    options = (*FAST, "--group", "family")
    result, _ = train(table(csv, family=families), model, "y", *options, "--quiet")
    assert (result.stdout, result.stderr) == ("", "")
    result, _ = train(csv, model, "y", *options, "--verbose")
    assert result.stdout == ""
    assert "Scoring: 100%" in result.stderr
    result, record = train(csv, model, "y", *options)
    first, scores, last = result.stderr.splitlines()
    assert first == "Regression on 40 rows."
    mean = np.mean(record["scores"]["model"]["spearman"])
    assert scores.startswith(f"Mean spearman over 3 folds: model {mean:.3f}, composition ")
    assert scores.endswith("dummy undefined.")
    assert last == f"Wrote {model}, and beside it the same name with .json and .html."
