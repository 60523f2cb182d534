"""The baselines keep the rules of our other transformers of strings: rows, parameters, files, tags."""

import inspect
import pickle
import tracemalloc

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import issparse
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline, make_union
from sklearn.utils import get_tags
from three_estimators import REFERENCE, VARIANTS

from sklearn_esm import baselines
from sklearn_esm.baselines import OneHotResidues, ResidueComposition

CASES = {
    "composition": ResidueComposition(),
    "composition-all": ResidueComposition(length="log", pairs=True),
    "one-hot": OneHotResidues(),
    "one-hot-reference": OneHotResidues(reference=REFERENCE),
    "one-hot-sparse": OneHotResidues(sparse_output=True),
}
KINDS = [getattr(baselines, name) for name in baselines.__all__]
INDEX = pd.Index([f"variant {row}" for row in range(8)], name="accession")

each_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(params=CASES)
def baseline(request):
    return clone(CASES[request.param])


@pytest.fixture(params=[name for name in CASES if "sparse" not in name])
def dense_baseline(request):
    return clone(CASES[request.param])


def rows(matrix):
    return matrix.toarray() if issparse(matrix) else matrix


def test_every_baseline_is_among_the_cases():
    assert {type(case) for case in CASES.values()} == set(KINDS)


# Rows


def test_rows_do_not_depend_on_their_order_or_on_other_rows(baseline):
    whole = rows(baseline.fit_transform(VARIANTS))
    assert len(np.unique(whole, axis=0)) == len(VARIANTS)
    order = [3, 0, 0, 7, 5]
    assert_array_equal(rows(baseline.transform([VARIANTS[row] for row in order])), whole[order])
    for row, sequence in enumerate(VARIANTS):
        assert_array_equal(rows(baseline.transform([sequence])), whole[[row]])


def test_what_was_fitted_on_does_not_change_the_values(baseline):
    expected = rows(baseline.fit(VARIANTS).transform(VARIANTS))
    assert_array_equal(rows(baseline.fit(VARIANTS[2:3]).transform(VARIANTS)), expected)
    assert_array_equal(rows(clone(baseline).fit_transform(VARIANTS, np.arange(8))), expected)


def test_fit_is_idempotent_and_transform_leaves_the_estimator_as_it_is(baseline):
    fitted = dict(vars(baseline.fit(VARIANTS)))
    assert baseline.fit(VARIANTS) is baseline
    baseline.transform(VARIANTS[:2])
    assert vars(baseline) == fitted


@pytest.mark.parametrize("call", ["transform", "get_feature_names_out"])
def test_before_fit_is_refused(baseline, call):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(baseline, call)(*([VARIANTS] if call == "transform" else []))


@pytest.mark.parametrize(
    "form",
    [
        tuple,
        np.array,
        lambda X: np.array(X, dtype=object)[:, None],
        pd.Series,
        lambda X: pd.DataFrame({"seq": X}),
        pl.Series,
        lambda X: [("label", sequence) for sequence in X],
        lambda X: [f" {sequence.lower()}\n" for sequence in X],
    ],
    ids=["tuple", "array", "column", "series", "frame", "polars", "pairs", "lower case"],
)
def test_every_form_of_input_gives_the_rows_of_the_list(baseline, form):
    expected = rows(baseline.fit_transform(VARIANTS))
    assert_array_equal(rows(clone(baseline).fit_transform(form(VARIANTS))), expected)


@pytest.mark.parametrize("method", ["fit", "transform"])
def test_sequences_are_refused_as_by_the_other_transformers(baseline, method):
    baseline.fit(VARIANTS)
    with pytest.raises(ValueError, match=r"^Sequence 1 \(GLD-\) has '-' at position 4, "):
        getattr(baseline, method)([REFERENCE, "GLD-"])
    with pytest.raises(ValueError, match=r"^Sequence 1 is missing: found None\. "):
        getattr(baseline, method)([REFERENCE, None])
    with pytest.raises(ValueError, match=r"^Sequence 0 \(K30R\) looks like a mutation"):
        getattr(baseline, method)(["K30R"])
    with pytest.raises(ValueError, match=r"^X must have one column; got 2 columns"):
        getattr(baseline, method)(pd.DataFrame({"a": VARIANTS, "b": VARIANTS}))


# Memory


@pytest.mark.parametrize(
    ("baseline", "per_residue"),
    [
        (ResidueComposition(), 8 * 20 / 100),
        (ResidueComposition(length=True, pairs=True), 8 * 421 / 100),
        (OneHotResidues(), 8 * 20 + 10),  # and the codes of all residues
        (OneHotResidues(sparse_output=True), 12 + 10 + 8),  # and the columns as 64-bit numbers
    ],
    ids=str,
)
def test_memory_beyond_the_output_is_bounded(baseline, per_residue):
    sequences = [sequence[:20] * 5 for sequence in VARIANTS] * 1000  # 800,000 residues
    baseline.fit(sequences[:1])
    tracemalloc.start()
    try:
        baseline.transform(sequences)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 800_000 * (per_residue + 3) + 8e6  # the clean sequences, and one block


# Parameters


@each_kind
def test_every_parameter_is_stored_and_cloned_untouched_and_keyword_only(kind):
    names = list(inspect.signature(kind).parameters)
    odd = {name: "".join(["odd ", name]) for name in names}
    for estimator in (kind(**odd), kind().set_params(**odd)):
        assert all(estimator.get_params()[name] is value for name, value in odd.items())
        assert clone(estimator).get_params() == odd
    with pytest.raises(TypeError, match="positional"):
        kind(None)


def test_clone_keeps_nothing_fitted(baseline):
    assert vars(clone(baseline.fit(VARIANTS))).keys() == baseline.get_params().keys()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"invalid": "X"}, r"invalid must be 'error', 'unknown'.* 'mask'.*; got 'X'\."),
        ({"missing": "drop"}, r"missing must be 'error' or 'nan'; got 'drop'\."),
    ],
    ids=str,
)
def test_a_wrong_policy_is_refused(baseline, parameters, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        baseline.set_params(**parameters).fit(VARIANTS)


@each_kind
@pytest.mark.parametrize("missing", ["error", "nan"])
def test_tags_tell_of_sequences(kind, missing):
    tags = get_tags(kind(missing=missing))
    assert tags.input_tags.string
    assert tags.input_tags.one_d_array
    assert not tags.input_tags.two_d_array
    assert tags.input_tags.allow_nan == (missing == "nan")
    assert tags.requires_fit
    assert not tags.target_tags.required
    assert tags.transformer_tags.preserves_dtype == []


def test_html_repr_links_to_the_documentation(baseline):
    page = f"/api/sklearn_esm.baselines.{type(baseline).__name__}.html"
    assert page in baseline._repr_html_()
    assert page in baseline.fit(VARIANTS)._repr_html_()


# Frames


def test_pandas_output_has_names_and_keeps_the_index(dense_baseline):
    plain = clone(dense_baseline).fit_transform(VARIANTS)
    table = dense_baseline.set_output(transform="pandas").fit_transform(pd.Series(VARIANTS, INDEX))
    names = dense_baseline.get_feature_names_out()
    assert len(set(names)) == len(names)
    pd.testing.assert_frame_equal(table, pd.DataFrame(plain, index=INDEX, columns=names))


def test_polars_output_has_names(dense_baseline):
    plain = clone(dense_baseline).fit_transform(VARIANTS)
    table = dense_baseline.set_output(transform="polars").fit_transform(pl.Series(VARIANTS))
    assert table.columns == dense_baseline.get_feature_names_out().tolist()
    assert_array_equal(table.to_numpy(), plain)


# Inside scikit-learn


def test_a_union_and_a_column_transformer_are_the_parts_side_by_side(baseline):
    expected = rows(baseline.fit_transform(VARIANTS))
    lengths = ResidueComposition(length=True).fit_transform(VARIANTS)
    union = make_union(baseline, ResidueComposition(length=True))
    actual = union.fit_transform(VARIANTS)
    assert issparse(actual) == issparse(baseline.transform(VARIANTS))
    assert_array_equal(rows(actual), np.hstack([expected, lengths]))
    assert len(union.get_feature_names_out()) == actual.shape[1]
    columns = make_column_transformer((baseline, "seq"), ("passthrough", ["score"]), sparse_threshold=1)
    actual = columns.fit_transform(pd.DataFrame({"seq": VARIANTS, "score": 3.0}))
    assert_array_equal(rows(actual), np.hstack([expected, np.full((8, 1), 3.0)]))


def test_a_search_over_baselines_and_their_parameters_scores_each():
    y = np.array([sequence.count("K") - sequence.count("A") for sequence in VARIANTS], dtype=float)
    model = Pipeline([("features", ResidueComposition()), ("ridge", RidgeCV())])
    grid = [
        {"features": [ResidueComposition()], "features__pairs": [False, True]},
        {"features": [OneHotResidues()], "features__sparse_output": [False, True]},
    ]
    search = GridSearchCV(model, grid, cv=4, scoring="neg_mean_squared_error").fit(VARIANTS, y)
    scores = search.cv_results_["mean_test_score"]
    assert scores[2] == pytest.approx(scores[3], rel=1e-6)
    assert len({round(score, 9) for score in scores}) == 3
    assert search.predict(VARIANTS).shape == (8,)


# Files


@pytest.fixture
def model(baseline):
    return make_pipeline(baseline, RidgeCV()).fit(VARIANTS, np.arange(8.0))


@pytest.mark.parametrize("how", ["pickle", "joblib"])
def test_a_file_of_a_pipeline_predicts_the_same_to_the_bit(model, how, tmp_path):
    joblib.dump(model, tmp_path / "model")
    read = joblib.load(tmp_path / "model") if how == "joblib" else pickle.loads(pickle.dumps(model))
    assert read[0].get_params() == model[0].get_params()
    assert read[0].get_feature_names_out().tolist() == model[0].get_feature_names_out().tolist()
    assert_array_equal(read.predict(VARIANTS), model.predict(VARIANTS))


def test_skops_trusts_everything_but_our_class(model):
    skops_io = pytest.importorskip("skops.io")
    dumped = skops_io.dumps(model)
    untrusted = skops_io.get_untrusted_types(data=dumped)
    assert untrusted == [f"{type(model[0]).__module__}.{type(model[0]).__name__}"]
    read = skops_io.loads(dumped, trusted=untrusted)
    assert vars(read[0]) == vars(model[0])
    assert_array_equal(read.predict(VARIANTS), model.predict(VARIANTS))


@pytest.mark.parametrize(
    "path",
    [
        "sklearn_esm.baselines._composition.ResidueComposition",
        "sklearn_esm.baselines._one_hot.OneHotResidues",
    ],
)
def test_the_paths_in_files_stay(path):
    module, name = path.rsplit(".", 1)
    assert getattr(baselines, name).__module__ == module
