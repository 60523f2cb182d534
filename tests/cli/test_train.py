"""`train` in processes: its scores and predictions are those of plain scikit-learn, every time."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import MODEL
from numpy.testing import assert_allclose
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import matthews_corrcoef, r2_score, roc_auc_score, root_mean_squared_error
from sklearn.model_selection import GridSearchCV, GroupKFold, StratifiedGroupKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm.baselines import ResidueComposition
from sklearn_esm.datasets import load_gb1, load_peptides
from sklearn_esm.model_selection import identity_groups, position_groups
from sklearn_esm.variants import MutationsToSequences

for library in ("typer", "pandas", "skops", "matplotlib"):
    pytest.importorskip(library, reason="training needs the extra train")

from sklearn_esm.cli._saved_model import load_pipeline  # noqa: E402  the command line is an extra

ROOT = Path(__file__).parents[2]
PEPTIDES, GB1 = load_peptides(), load_gb1()


def run(output, *arguments):
    """The record that a process writes, and what it prints."""
    command = [sys.executable, "-W", "error", "-m", "sklearn_esm.cli", "train", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "SKLEARN_ESM_OFFLINE": "1"}
    process = subprocess.run(
        [*command, "-o", output, "--model", MODEL],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout == ""
    return json.loads(output.with_suffix(".json").read_text(encoding="utf-8")), process.stderr


PEPTIDE_OPTIONS = (PEPTIDES.filename, "--target", "class", "--group", "identity", "--identity", 0.7)
GB1_OPTIONS = (
    *("--target", "effect", "--mutations", "mutation", "--reference", GB1.reference),
    *("--group", "positions", "--layers", "0,6", "--seed", 3),
)
MUTATIONS, EFFECTS, VARIANTS = GB1.mutations[::4], GB1.target[::4], GB1.data[::4]


@pytest.fixture(scope="module")
def gb1_table(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "gb1.csv"
    rows = zip(MUTATIONS, EFFECTS.tolist(), strict=True)
    path.write_text("mutation,effect\n" + "".join(f"{name},{effect}\n" for name, effect in rows))
    return path


@pytest.fixture(scope="module")
def peptide_model(tmp_path_factory):
    pytest.importorskip("pyopal")
    output = tmp_path_factory.mktemp("peptides") / "model.skops"
    return output, *run(output, *PEPTIDE_OPTIONS)


@pytest.fixture(scope="module")
def gb1_model(tmp_path_factory, gb1_table):
    output = tmp_path_factory.mktemp("gb1") / "model.skops"
    return output, *run(output, gb1_table, *GB1_OPTIONS)


def nested(model, X, y, groups, outer):
    """Out-of-fold predictions, probabilities if there are any, and test rows, in plain scikit-learn."""
    predicted, probabilities, tests = np.empty(len(y), dtype=y.dtype), np.empty((len(y), 2)), []
    for train, test in outer.split(X, y, groups):
        fitted = clone(model)
        grouped = {"groups": groups[train]} if isinstance(fitted, GridSearchCV) else {}
        fitted.fit(X[train], y[train], **grouped)
        predicted[test] = fitted.predict(X[test])
        if hasattr(fitted, "predict_proba"):
            probabilities[test] = fitted.predict_proba(X[test])
        tests.append(test)
    return predicted, probabilities, tests


def classifier(features, folds):
    last = LogisticRegression(max_iter=5000, random_state=0)
    steps = [("features", features), ("scale", StandardScaler()), ("last", last)]
    grid = {"last__C": [0.001, 0.01, 0.1, 1, 10]}
    return GridSearchCV(Pipeline(steps), grid, scoring="roc_auc", cv=folds)


def test_classification_scores_equal_plain_scikit_learn(peptide_model):
    _, record, _ = peptide_model
    X, y = PEPTIDES.data, np.array(PEPTIDES.target_names)[PEPTIDES.target]
    groups = identity_groups(X, 0.7)
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    models = {
        "model": classifier(ESMEmbeddingTransformer(MODEL), folds),
        "composition": classifier(ResidueComposition(length="log"), folds),
        "dummy": DummyClassifier(strategy="prior"),
    }
    assert list(record["scores"]) == list(models)
    for name, model in models.items():
        predicted, probabilities, tests = nested(model, X, y, groups, folds)
        actual = record["scores"][name]
        auc = [roc_auc_score(y[test], probabilities[test, 1]) for test in tests]
        mcc = [matthews_corrcoef(y[test], predicted[test]) for test in tests]
        assert_allclose(actual["roc_auc"], auc, rtol=1e-6)
        assert_allclose(actual["mcc"], mcc, rtol=1e-6)
        if name == "model":
            assert record["out_of_fold"]["predicted"] == predicted.tolist()
            assert record["out_of_fold"]["measured"] == y.tolist()
            assert_allclose(record["out_of_fold"]["probabilities"], probabilities, atol=1e-4)
            for number, test in enumerate(tests):
                assert set(np.array(record["out_of_fold"]["fold"])[test]) == {number}
    assert (record["identity"], record["n_groups"]) == (0.7, len(set(groups)))
    assert record["metric"] == "roc_auc"


def test_the_saved_classifier_is_the_search_on_all_rows(peptide_model):
    output, record, _ = peptide_model
    X, y = PEPTIDES.data, np.array(PEPTIDES.target_names)[PEPTIDES.target]
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    search = classifier(ESMEmbeddingTransformer(MODEL), folds)
    search.fit(X, y, groups=identity_groups(X, 0.7))
    loaded = load_pipeline(output)
    assert_allclose(loaded.predict_proba(X), search.predict_proba(X), atol=1e-5)
    assert record["best_params"] == {"estimator__C": search.best_params_["last__C"]}
    assert record["model_fingerprint"] == loaded.named_steps["features"].model_fingerprint_
    assert loaded.named_steps["features"].cache is None


def regressor(features, grid, seed):
    last = Ridge(random_state=seed)
    to_sequences = MutationsToSequences(GB1.reference)
    steps = [("sequences", to_sequences), ("features", features), ("scale", StandardScaler())]
    grid = {**grid, "last__alpha": [1, 10, 100, 1000, 10000]}
    # of the four groups that an outer fold trains on
    return GridSearchCV(Pipeline([*steps, ("last", last)]), grid, scoring="r2", cv=GroupKFold(4))


@pytest.fixture(scope="module")
def gb1_searches():
    return {
        "model": regressor(ESMEmbeddingTransformer(MODEL), {"features__layer": [0, 6]}, 3),
        "composition": regressor(ResidueComposition(length="log"), {}, 3),
        "dummy": DummyRegressor(),
    }


def test_regression_scores_equal_plain_scikit_learn(gb1_model, gb1_searches):
    _, record, _ = gb1_model
    X, y = MUTATIONS.astype(object), EFFECTS
    groups = position_groups(VARIANTS, GB1.reference)
    assert list(record["scores"]) == list(gb1_searches)
    for name, model in gb1_searches.items():
        predicted, _, tests = nested(model, X, y, groups, GroupKFold(5))
        actual = record["scores"][name]
        pairs = [(y[test], predicted[test]) for test in tests]
        assert_allclose(actual["r2"], [r2_score(*pair) for pair in pairs], rtol=1e-4)
        assert_allclose(actual["rmse"], [root_mean_squared_error(*pair) for pair in pairs], rtol=1e-5)
        if name == "dummy":  # one value has no ranks
            assert actual["spearman"] == [None] * 5
        else:
            expected = [spearmanr(*pair).statistic for pair in pairs]
            assert_allclose(actual["spearman"], expected, rtol=1e-4)
        if name == "model":
            assert_allclose(record["out_of_fold"]["predicted"], predicted, rtol=1e-3, atol=1e-4)


def test_scores_by_layer_are_those_of_the_search(gb1_model, gb1_searches):
    output, record, _ = gb1_model
    X, groups = MUTATIONS.astype(object), position_groups(VARIANTS, GB1.reference)
    search = clone(gb1_searches["model"]).fit(X, EFFECTS, groups=groups)
    means, layers = search.cv_results_["mean_test_score"], search.cv_results_["param_features__layer"]
    expected = [means[layers == layer].max() for layer in (0, 6)]
    assert [(one["layer"], one["pooling"]) for one in record["layers"]] == [(0, "mean"), (6, "mean")]
    assert_allclose([one["mean"] for one in record["layers"]], expected, rtol=1e-4)
    predicted = load_pipeline(output).predict(X)
    assert_allclose(predicted, search.predict(X), rtol=1e-4, atol=1e-5)


def test_the_record_describes_the_run(gb1_model):
    output, record, errors = gb1_model
    assert record["input"] == {
        "kind": "mutations",
        "column": "mutation",
        "id": None,
        "target": "effect",
        "reference": GB1.reference,
        "first_position": 1,
        "rows": 262,
        "rows_without_target": 0,
        "duplicates": 0,
    }
    described = [record[name] for name in ("task", "classes", "estimator", "group", "n_groups", "seed")]
    assert described == ["regression", None, "ridge", "positions", 5, 3]
    assert record["measured"]["highest"] == EFFECTS.max()
    assert record["measured"]["lowest"] == EFFECTS.min()
    assert len(set(record["measured"]["digests"])) == 262
    assert record["warnings"] == []
    assert errors.splitlines()[0] == "Regression on 262 rows."
    page = output.with_suffix(".html").read_text(encoding="utf-8")
    assert record["command"].split()[-1] in page


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to handle")
def test_a_stopped_run_writes_nothing(tmp_path, gb1_table):
    command = [sys.executable, "-m", "sklearn_esm.cli", "train", gb1_table, *map(str, GB1_OPTIONS)]
    output = tmp_path / "model.skops"
    process = subprocess.Popen(
        [*command, "-o", output, "--model", MODEL], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr.readline() == "Regression on 262 rows.\n"
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []


def test_the_same_command_writes_the_same_bytes(gb1_model, gb1_table):
    output, _, _ = gb1_model
    paths = [output, output.with_suffix(".html"), output.with_suffix(".json")]
    former = [path.read_bytes() for path in paths]
    run(output, gb1_table, *GB1_OPTIONS)
    assert [path.read_bytes() for path in paths] == former
    assert sorted(output.parent.iterdir()) == sorted(paths)
