"""The transformer keeps scikit-learn's rules: its own battery, and the same rules for strings."""

import inspect
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from fair_esm_oracle import LAYERS, WIDTH, assert_faithful, fair_esm_residues
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import estimator_checks, estimator_html_repr, get_tags
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted, validate_data

from sklearn_esm import ESMEmbeddingTransformer

SEQUENCES = [
    "GIGKFLHSAKKFGKAFVGEIMNS",
    "HSQGTFTSDYSKYLDSRRAQDFVQWLMNT",
    "YGGFM",
    "RPKPQQFFGLM",
    "LLGDFFRKSKEKIGKEFKRIVQRIKDFLRNLVPRTES",
    "CYIQNCPLG",
    "DRVYIHPF",
    "YGGFL",
]


# The battery


class RowsAsSequences(ESMEmbeddingTransformer):
    """The transformer behind a reader of numbers, which scikit-learn's checks pass: a residue each.

    Attributes
    ----------
    n_features_in_ : int
        Number of columns.

    feature_names_in_ : ndarray of str
        Names of the columns, where they have names.
    """

    def fit(self, X, y=None):
        return super().fit(self._read(X, reset=True), y)

    def transform(self, X):
        check_is_fitted(self)
        return super().transform(self._read(X, reset=False))

    def get_feature_names_out(self, input_features=None):
        _check_feature_names_in(self, input_features, generate_names=False)
        return super().get_feature_names_out(input_features)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = False
        tags.input_tags.two_d_array = True
        tags.input_tags.string = False
        return tags

    def _read(self, X, *, reset):
        numbers = validate_data(self, X, reset=reset)
        residues = np.array(list("ACDEFGHIKLMNPQRSTVWY"))
        rows = residues[np.floor(4 * np.abs(numbers)).astype(int) % len(residues)]
        sequences = ["".join(row) for row in rows]
        return pd.Series(sequences, index=X.index) if isinstance(X, pd.DataFrame) else sequences


@pytest.mark.parametrize("cache", ["memory", None])
def test_check_estimator_passes_without_expected_failures(checkpoints, cache):
    # scikit-learn compares to seven digits, and alone in its batch a row is the same to the last bit
    estimator = RowsAsSequences(checkpoints["esm2"].path, cache=cache, batch_tokens=1)
    results = estimator_checks.check_estimator(estimator, on_skip=None, on_fail=None)
    failed = {
        r["check_name"]: r["exception"] for r in results if r["status"] not in ("passed", "skipped")
    }
    skipped = {result["check_name"] for result in results if result["status"] == "skipped"}
    assert not failed
    # runs only where SCIPY_ARRAY_API=1 was set before scipy was imported, and passes there
    assert skipped <= {"check_array_api_input"}
    assert sum(result["status"] == "passed" for result in results) >= 44


# these checks mix arrays and frames on purpose, and scikit-learn itself warns of it
@pytest.mark.filterwarnings("ignore:X (does not have valid|has) feature names")
@pytest.mark.parametrize(
    "name",
    [
        # scikit-learn runs these on its own estimators; check_estimator leaves them out
        "check_dataframe_column_names_consistency",
        "check_get_feature_names_out_error",
        "check_global_output_transform_pandas",
        "check_global_set_output_transform_polars",
        "check_inplace_ensure_writeable",
        "check_set_output_transform",
        "check_set_output_transform_pandas",
        "check_set_output_transform_polars",
        "check_transformer_get_feature_names_out",
        "check_transformer_get_feature_names_out_pandas",
    ],
)
def test_check_that_scikit_learn_runs_on_itself_passes(checkpoints, name):
    getattr(estimator_checks, name)("RowsAsSequences", RowsAsSequences(checkpoints["esm2"].path))


# The same for strings


@pytest.fixture
def estimator(checkpoints):
    """Not fitted; without a cache, which could hide that values change."""
    return ESMEmbeddingTransformer(checkpoints["esm2"].path, cache=None)


def test_transform_follows_the_order_of_sequences(estimator):
    order = np.random.default_rng(0).permutation(len(SEQUENCES))
    whole = estimator.fit_transform(SEQUENCES)
    assert_faithful(estimator.transform([SEQUENCES[row] for row in order]), whole[order])


def test_transform_of_a_subset_equals_the_rows_of_the_whole(estimator):
    whole = estimator.fit_transform(SEQUENCES)
    for row, sequence in enumerate(SEQUENCES):
        assert_faithful(estimator.transform([sequence]), whole[[row]])


def test_repeated_sequences_keep_their_rows(estimator):
    once = estimator.fit_transform(SEQUENCES[:2])
    repeated = estimator.transform([SEQUENCES[row] for row in [0, 0, 1, 0]])
    assert_array_equal(repeated, once[[0, 0, 1, 0]])


def test_what_was_fitted_on_does_not_change_the_values(estimator):
    fitted_on_all = estimator.fit(SEQUENCES).transform(SEQUENCES)
    assert_array_equal(estimator.fit(["MKT"]).transform(SEQUENCES), fitted_on_all)


def test_fit_is_idempotent(estimator):
    once = dict(vars(estimator.fit(SEQUENCES)))
    values = estimator.transform(SEQUENCES)
    assert vars(estimator.fit(SEQUENCES)) == once
    assert_array_equal(estimator.transform(SEQUENCES), values)


def test_transform_leaves_the_estimator_as_it_is(estimator):
    before = dict(vars(estimator.fit(SEQUENCES)))
    estimator.transform(SEQUENCES)
    assert vars(estimator) == before


def test_transform_leaves_its_input_as_it_is(estimator):
    given = [" giGKFL ", "MKT"]
    estimator.fit(given).transform(given)
    assert given == [" giGKFL ", "MKT"]


def test_fit_transform_equals_fit_then_transform(estimator):
    expected = estimator.fit(SEQUENCES).transform(SEQUENCES)
    assert_array_equal(clone(estimator).fit_transform(SEQUENCES), expected)


def test_y_is_ignored(estimator):
    expected = estimator.fit(SEQUENCES).transform(SEQUENCES)
    y = np.arange(len(SEQUENCES))
    assert_array_equal(clone(estimator).fit_transform(SEQUENCES, y), expected)


def test_fit_returns_the_estimator(estimator):
    assert estimator.fit(SEQUENCES) is estimator


def test_fit_does_not_run_the_model(estimator, embedded):
    estimator.fit(SEQUENCES)
    assert embedded == []
    estimator.transform(SEQUENCES)  # that the fixture counts at all
    assert sorted(embedded) == sorted(SEQUENCES)


def test_fit_reads_the_shape_of_the_model(estimator):
    estimator.set_params(layer=[-1, 0], pooling=["mean", "max", "bos"]).fit(SEQUENCES)
    assert (estimator.n_layers_, estimator.embedding_dim_) == (LAYERS, WIDTH)
    assert estimator.layers_ == [LAYERS, 0]
    assert estimator._n_features_out == 2 * 3 * WIDTH
    assert estimator.transform(SEQUENCES).shape == (len(SEQUENCES), 2 * 3 * WIDTH)


@pytest.mark.parametrize("call", ["transform", "get_feature_names_out"])
def test_before_fit_is_refused(estimator, call):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(estimator, call)(*([SEQUENCES] if call == "transform" else []))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_output_is_float32(estimator, dtype):
    assert estimator.set_params(dtype=dtype).fit_transform(SEQUENCES).dtype == np.float32


def odd_parameters():
    """One value for every parameter that could not be told apart if it were stored changed."""
    return {
        "model": Path("some.pt"),
        "layer": [-1, 2],
        "pooling": ["mean", np.max],
        "overlong": "".join(["win", "dow"]),
        "max_length": 10**6,
        "invalid": "nonsense, which only fit may refuse",
        "missing": "".join(["n", "an"]),
        "device": "cuda:7",
        "dtype": "".join(["bfloat", "16"]),
        "batch_tokens": np.int64(12345),
        "cache": Path("a/folder"),
        "n_jobs": -2,
        "verbose": np.bool_(True),
    }


def test_every_parameter_is_tested_for_being_stored():
    assert list(inspect.signature(ESMEmbeddingTransformer).parameters) == list(odd_parameters())


def test_init_stores_every_parameter_untouched():
    parameters = odd_parameters()
    stored = ESMEmbeddingTransformer(**parameters).get_params()
    assert all(stored[name] is value for name, value in parameters.items())


def test_set_params_stores_every_parameter_untouched():
    parameters = odd_parameters()
    stored = vars(ESMEmbeddingTransformer().set_params(**parameters))
    assert all(stored[name] is value for name, value in parameters.items())


def test_clone_keeps_every_parameter_and_nothing_fitted(estimator):
    assert clone(ESMEmbeddingTransformer(**odd_parameters())).get_params() == odd_parameters()
    assert vars(clone(estimator.fit(SEQUENCES))).keys() == estimator.get_params().keys()


def test_all_parameters_but_the_model_are_keyword_only():
    with pytest.raises(TypeError, match="positional"):
        ESMEmbeddingTransformer("esm2_t6_8M_UR50D", 6)


@pytest.mark.parametrize("missing", ["error", "nan"])
def test_tags_tell_of_sequences(missing):
    tags = get_tags(ESMEmbeddingTransformer(missing=missing))
    assert tags.input_tags.string
    assert tags.input_tags.one_d_array
    assert not tags.input_tags.two_d_array
    assert tags.input_tags.allow_nan == (missing == "nan")
    assert tags.requires_fit
    assert not tags.target_tags.required
    assert tags.transformer_tags.preserves_dtype == []


def test_html_repr_links_to_the_documentation(estimator):
    page = "/api/sklearn_esm.ESMEmbeddingTransformer.html"
    assert page in estimator_html_repr(estimator)
    assert page in estimator.fit(SEQUENCES)._repr_html_()


# Names and containers

NAMES = [
    f"esm2_L{layer}_{pooling}_{i:04d}"
    for layer in (3, 0)
    for pooling in ("max", "bos")
    for i in range(32)
]


@pytest.fixture
def four_parts(estimator):
    return estimator.set_params(layer=[-1, 0], pooling=["max", "bos"])


def test_feature_names_tell_model_layer_pooling_and_number(four_parts):
    names = four_parts.fit(SEQUENCES).get_feature_names_out()
    assert names.tolist() == NAMES
    assert names.dtype == object


def test_columns_are_what_their_names_say(four_parts, checkpoints):
    table = four_parts.set_output(transform="pandas").fit_transform(SEQUENCES)
    states = fair_esm_residues(checkpoints["esm2"], SEQUENCES, 0)
    expected = np.stack([residues.max(0) for residues in states])
    assert_faithful(table[[f"esm2_L0_max_{i:04d}" for i in range(WIDTH)]], expected)


def test_feature_names_call_a_function_by_its_name(estimator):
    def first_two(residues):
        return residues[0, :2]

    estimator.set_params(pooling=["mean", first_two]).fit(SEQUENCES)
    assert estimator.get_feature_names_out()[-3:].tolist() == [
        "esm2_L3_mean_0031",
        "esm2_L3_first_two_0000",
        "esm2_L3_first_two_0001",
    ]


@pytest.mark.parametrize("form", ["series", "frame"])
def test_pandas_output_has_names_and_keeps_the_index(four_parts, form):
    index = pd.Index([f"protein {row}" for row in range(len(SEQUENCES))], name="accession")
    X = pd.Series(SEQUENCES, index=index, name="seq")
    if form == "frame":
        X = X.to_frame()
    plain = clone(four_parts).fit_transform(X)
    table = four_parts.set_output(transform="pandas").fit_transform(X)
    pd.testing.assert_frame_equal(table, pd.DataFrame(plain, index=index, columns=NAMES))


@pytest.mark.parametrize("form", ["list", "series", "frame"])
def test_polars_output_has_names(four_parts, form):
    X = {"list": SEQUENCES, "series": pl.Series(SEQUENCES), "frame": pl.DataFrame({"s": SEQUENCES})}[
        form
    ]
    plain = clone(four_parts).fit_transform(SEQUENCES)
    table = four_parts.set_output(transform="polars").fit_transform(X)
    assert isinstance(table, pl.DataFrame)
    assert table.columns == NAMES
    assert_array_equal(table.to_numpy(), plain)


def test_pandas_output_of_residues_is_one_column_of_arrays(estimator):
    X = pd.Series(SEQUENCES, index=list("abcdefgh"))
    plain = clone(estimator).set_params(pooling=None).fit_transform(X)
    table = estimator.set_params(pooling=None).set_output(transform="pandas").fit_transform(X)
    assert table.columns.tolist() == ["esm2_L3_residues"]
    assert_array_equal(table.loc["c", "esm2_L3_residues"], plain[2])
