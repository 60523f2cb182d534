"""`LayerSweepDisplay`: what is drawn is what the search found; read from the artists."""

from functools import cache

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import NotFittedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm.display import LayerSweepDisplay

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
pyplot = pytest.importorskip("matplotlib.pyplot")


class States(TransformerMixin, BaseEstimator):
    """Stands for the ESM step: column ``layer`` of X, which ``pooling`` may spoil."""

    def __init__(self, layer=0, pooling="mean"):
        self.layer = layer
        self.pooling = pooling

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        if self.pooling == "fails":
            raise ValueError("no such pooling")
        columns = X[:, np.atleast_1d(self.layer)]
        return np.round(columns) if self.pooling == "max" else columns


TARGET = np.arange(60) % 2
NOISE = [2.0, 1.0, 0.5, 1.5]  # of a layer
COLUMNS = TARGET[:, None] + np.random.default_rng(0).normal(scale=NOISE, size=(60, 4))


def search(grid, **options):
    pipeline = Pipeline([("esm", States()), ("scale", StandardScaler()), ("clf", LogisticRegression())])
    return GridSearchCV(pipeline, grid, **{"cv": 3, **options}).fit(COLUMNS, TARGET)


GRID = {"esm__layer": [3, 0, 1, 2], "esm__pooling": ["max", "mean"], "clf__C": [0.001, 0.1]}


@cache
def whole_search():
    """A search of all candidates, which no test may change."""
    return search(GRID, scoring="roc_auc")


def line(drawn, number):
    """Layers, means and bars of a line, as drawn."""
    points, _, (bars,) = drawn.errorbar_[number].lines
    return points.get_xdata(), points.get_ydata(), [segment[:, 1] for segment in bars.get_segments()]


def test_points_are_the_best_candidates_of_their_layer_and_pooling():
    found = whole_search()
    drawn = LayerSweepDisplay.from_search(found)
    assert drawn.layers == [0, 1, 2, 3]
    assert drawn.poolings == [text.get_text() for text in drawn.legend_.get_texts()] == ["max", "mean"]
    results = found.cv_results_
    for number, pooling in enumerate(drawn.poolings):
        x, y, bars = line(drawn, number)
        assert_allclose(x, drawn.layers, atol=0.2)  # side by side, nearest to their own layer
        for layer in drawn.layers:
            rows = [
                row
                for row, params in enumerate(results["params"])
                if (params["esm__layer"], params["esm__pooling"]) == (layer, pooling)
            ]
            best = max(rows, key=results["mean_test_score"].__getitem__)
            mean, std = results["mean_test_score"][best], results["std_test_score"][best]
            assert y[layer] == mean
            assert_allclose(bars[layer], [mean - std, mean + std])
    assert drawn.ax_.get_ylabel() == "roc_auc (mean and sd of 3 folds)"


def test_ring_and_title_are_of_the_best_candidate():
    found = whole_search()
    drawn = LayerSweepDisplay.from_search(found)
    best = found.best_params_
    assert drawn.best_ == (best["esm__layer"], best["esm__pooling"], found.best_score_)
    ((place, score),) = drawn.ring_.get_offsets()
    assert score == found.best_score_
    assert round(place) == best["esm__layer"]
    assert f"{found.best_score_:.3f}" in drawn.ax_.get_title()


def test_other_parameters_can_be_held_fixed():
    found = whole_search()
    drawn = LayerSweepDisplay.from_search(found, where={"clf__C": 0.1, "esm__pooling": "max"})
    expected = [
        mean
        for layer in range(4)
        for mean, params in zip(
            found.cv_results_["mean_test_score"], found.cv_results_["params"], strict=True
        )
        if params == {"esm__layer": layer, "esm__pooling": "max", "clf__C": 0.1}
    ]
    assert_array_equal(drawn.mean_scores, [expected])
    assert drawn.legend_ is None  # one line needs none


def test_whole_steps_can_be_held_fixed():
    steps = [LogisticRegression(C=0.001), LogisticRegression(C=10)]
    found = search({"esm__layer": [0, 2], "clf": steps})
    scores = [
        LayerSweepDisplay.from_search(found, where={"clf": step}).mean_scores[0].tolist()
        for step in steps
    ]
    assert scores[0] + scores[1] == found.cv_results_["mean_test_score"].tolist()


def test_pooling_that_is_not_searched_is_the_estimators():
    drawn = LayerSweepDisplay.from_search(search({"esm__layer": [0, 1]}, refit=False))
    assert drawn.poolings == ["mean"]
    assert "mean" in drawn.ax_.get_title()


def test_one_of_several_scores_is_chosen():
    found = search({"esm__layer": [0, 2]}, scoring=["accuracy", "roc_auc"], refit=False)
    drawn = LayerSweepDisplay.from_search(found, scoring="roc_auc")
    assert drawn.best_[2] == found.cv_results_["mean_test_roc_auc"].max()
    assert drawn.score_name == "roc_auc"
    with pytest.raises(ValueError, match=r"scores \['accuracy', 'roc_auc'\]; got None"):
        LayerSweepDisplay.from_search(found)


def test_score_that_the_search_has_not_is_refused():
    found = search({"esm__layer": [0, 1]}, scoring="accuracy")
    assert LayerSweepDisplay.from_search(found, scoring="accuracy").score_name == "accuracy"
    with pytest.raises(ValueError, match="must be None or 'accuracy', the only score"):
        LayerSweepDisplay.from_search(found, scoring="roc_auc")


def test_layers_that_are_no_row_of_numbers_stand_side_by_side():
    drawn = LayerSweepDisplay.from_search(search({"esm__layer": [[0, 2], -1, -4, 2, 0]}))
    assert drawn.layers == [0, 2, -4, -1, "0+2"]
    assert_array_equal(line(drawn, 0)[0], range(5))
    assert [label.get_text() for label in drawn.ax_.get_xticklabels()] == ["0", "2", "-4", "-1", "0+2"]


def test_layers_keep_their_distances():
    x, _, _ = line(LayerSweepDisplay.from_search(search({"esm__layer": np.array([0, 1, 3])})), 0)
    assert_array_equal(x, [0, 1, 3])


@pytest.mark.filterwarnings("ignore")  # scikit-learn's, about the fits that fail
def test_candidate_that_failed_is_a_gap():
    grid = [{"esm__layer": [0, 1]}, {"esm__layer": [1], "esm__pooling": ["fails"]}]
    drawn = LayerSweepDisplay.from_search(search(grid))
    assert drawn.poolings == ["mean", "fails"]
    assert_array_equal(np.isnan(drawn.mean_scores), [[False, False], [True, True]])


def test_search_whose_candidates_all_failed_is_refused():
    found = search({"esm__layer": [0]}, refit=False)
    found.cv_results_["mean_test_score"][:] = np.nan
    with pytest.raises(ValueError, match="error_score='raise'"):
        LayerSweepDisplay.from_search(found)


def test_candidates_without_the_step_are_left_out():
    grid = [{"esm__layer": [0, 1]}, {"esm": [FunctionTransformer()]}]
    assert LayerSweepDisplay.from_search(search(grid)).layers == [0, 1]


def test_later_rounds_of_a_halving_count():
    found = search({"esm__layer": [0, 1], "clf__C": [0.1, 10]})
    # scikit-learn's halving is experimental; what counts here is a column that it adds
    found.cv_results_["iter"] = np.array([0, 0, 0, 1])
    found.cv_results_["mean_test_score"] = np.array([0.9, 0.8, 0.95, 0.7])  # of layers 0, 1, 0, 1
    assert_array_equal(LayerSweepDisplay.from_search(found).mean_scores, [[0.95, 0.7]])


def halving(**options):
    pipeline = Pipeline([("esm", States()), ("scale", StandardScaler()), ("clf", LogisticRegression())])
    found = HalvingGridSearchCV(pipeline, {"esm__layer": [0, 1, 2, 3]}, cv=3, random_state=0, **options)
    return found.fit(COLUMNS, TARGET)


def test_scores_of_a_halving_on_fewer_samples_are_hollow_and_not_the_best():
    found = halving(factor=2, min_resources=15)
    assert found.n_resources_ == [15, 30, 60]
    drawn = LayerSweepDisplay.from_search(found)
    results = found.cv_results_
    last = {}  # rows are in the order of the iterations
    for row, params in enumerate(results["params"]):
        last[params["esm__layer"]] = row
    amounts = [results["n_resources"][last[layer]] for layer in range(4)]
    assert_array_equal(drawn.n_resources, [amounts])
    assert set(amounts) == {15, 30, 60}
    (hollow,) = drawn.hollow_
    fewer = [layer for layer in range(4) if amounts[layer] < 60]
    assert hollow.get_xdata().tolist() == fewer
    assert_array_equal(hollow.get_ydata(), drawn.mean_scores[0, fewer])
    assert [text.get_text() for text in drawn.legend_.get_texts()] == ["hollow: n_samples < 60"]
    assert drawn.best_ == (found.best_params_["esm__layer"], "mean", found.best_score_)


def test_better_score_on_fewer_samples_does_not_win():
    drawn = LayerSweepDisplay(
        [0, 1, 2],
        np.array([[0.9, 0.8, 0.7], [0.95, np.nan, 0.75]]),
        np.zeros((2, 3)),
        poolings=["mean", "max"],
        n_resources=np.array([[20, 40, 40], [20, 80, 40]]),  # the one with 80 has no score
    ).plot()
    assert drawn.best_ == (1, "mean", 0.8)
    assert [line.get_ydata().tolist() for line in drawn.hollow_] == [[0.9], [0.95]]
    labels = [text.get_text() for text in drawn.legend_.get_texts()]
    assert labels == ["mean", "max", "hollow: n_samples < 40"]
    assert drawn.ring_.get_offsets()[0][1] == 0.8


def test_search_of_the_same_samples_has_no_hollow_points():
    drawn = LayerSweepDisplay.from_search(whole_search())
    assert drawn.n_resources is None
    assert drawn.hollow_ == []


def test_search_without_a_layer_is_refused():
    with pytest.raises(ValueError, match=r"must have a parameter 'layer'; got \['clf__C'\]"):
        LayerSweepDisplay.from_search(search({"clf__C": [0.1, 1]}))


def test_search_that_is_not_fitted_is_refused():
    for unfit in (GridSearchCV(States(), {"layer": [0]}), make_pipeline(States())):
        with pytest.raises(NotFittedError, match=f"got {type(unfit).__name__} without cv_results_"):
            LayerSweepDisplay.from_search(unfit)


def test_no_candidate_matches():
    with pytest.raises(ValueError, match=r"where=\{'clf__C': 7\}"):
        LayerSweepDisplay.from_search(search({"esm__layer": [0]}), where={"clf__C": 7})


def test_one_of_two_steps_is_chosen():
    union = FeatureUnion([("a", States()), ("b", States(1))])
    pipeline = Pipeline([("esm", union), ("clf", LogisticRegression())])
    found = GridSearchCV(pipeline, {"esm__a__layer": [0, 2], "esm__b__layer": [1, 3]}, cv=3)
    found.fit(COLUMNS, TARGET)
    with pytest.raises(ValueError, match=r"\['esm__a__layer', 'esm__b__layer'\].*None"):
        LayerSweepDisplay.from_search(found)
    assert LayerSweepDisplay.from_search(found, layer="esm__b__layer").layers == [1, 3]


def test_sweep_of_the_transformer_itself(checkpoint):
    sequences = ["GIGKFLHSAKKF", "HSQGTFTSDYSK", "YGGFM", "RPKPQQFFGLM"] * 2
    pipeline = make_pipeline(
        ESMEmbeddingTransformer(checkpoint.path), LogisticRegression(max_iter=10_000)
    )
    step = "esmembeddingtransformer"
    grid = {f"{step}__layer": range(4), f"{step}__pooling": ["mean", ["max", "std"], spread]}
    found = GridSearchCV(pipeline, grid, cv=2).fit(sequences, [0, 1] * 4)
    drawn = LayerSweepDisplay.from_search(found)
    assert drawn.layers == [0, 1, 2, 3]
    assert drawn.poolings == ["mean", "max+std", "spread"]


def spread(residues):
    return np.ptp(residues, axis=0)
