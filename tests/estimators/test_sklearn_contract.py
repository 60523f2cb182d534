"""Every estimator keeps scikit-learn's rules: those of its battery, for strings."""

import inspect
from pathlib import Path

import numpy as np
import pytest
from fair_esm_oracle import LAYERS, WIDTH
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import estimator_html_repr, get_tags
from three_estimators import CASES, REFERENCE, assert_close_rows, assert_same_rows

import sklearn_esm

PUBLIC = [getattr(sklearn_esm, name) for name in sklearn_esm.__all__]
KINDS = [public for public in PUBLIC if isinstance(public, type)]


@pytest.fixture
def estimator(case, checkpoint):
    """Not fitted; without a cache, which could hide that values change."""
    return case.new(checkpoint, cache=None)


def test_every_estimator_is_among_the_cases():
    assert {case.kind for case in CASES.values()} == set(KINDS)


# Rows


def test_transform_follows_the_order_of_sequences(estimator, case):
    order = np.random.default_rng(0).permutation(len(case.sequences))
    whole = estimator.fit_transform(case.sequences)
    assert_close_rows(estimator.transform([case.sequences[row] for row in order]), whole[order])


def test_transform_of_a_subset_equals_the_rows_of_the_whole(estimator, case):
    whole = estimator.fit_transform(case.sequences)
    for row, sequence in enumerate(case.sequences):
        assert_close_rows(estimator.transform([sequence]), whole[[row]])


def test_repeated_sequences_keep_their_rows(estimator, case):
    once = estimator.fit_transform(case.sequences[:2])
    repeated = estimator.transform([case.sequences[row] for row in [0, 0, 1, 0]])
    assert_same_rows(repeated, once[[0, 0, 1, 0]])


def test_rows_of_repeated_sequences_share_no_memory(estimator, case):
    first, second = estimator.fit_transform([case.sequences[1]] * 2)
    first[:] = 0
    assert np.abs(second).max() > 0


def test_the_sequences_give_rows_that_differ(estimator, case):
    # or else a test that compares them would pass whatever they are
    rows = estimator.fit_transform(case.sequences)
    assert len({row.tobytes() for row in rows}) == len(rows)


# Fit


def test_what_was_fitted_on_does_not_change_the_values(estimator, case):
    fitted_on_all = estimator.fit(case.sequences).transform(case.sequences)
    assert_same_rows(estimator.fit(case.sequences[2:3]).transform(case.sequences), fitted_on_all)


def test_fit_is_idempotent(estimator, case):
    once = dict(vars(estimator.fit(case.sequences)))
    values = estimator.transform(case.sequences)
    assert vars(estimator.fit(case.sequences)) == once
    assert_same_rows(estimator.transform(case.sequences), values)


def test_transform_leaves_the_estimator_as_it_is(estimator, case):
    before = dict(vars(estimator.fit(case.sequences)))
    estimator.transform(case.sequences)
    assert vars(estimator) == before


def test_fit_and_transform_leave_their_input_as_it_is(estimator, case):
    given = [f" {case.sequences[1].lower()}\n", case.sequences[0]]
    kept = list(given)
    estimator.fit(given).transform(given)
    assert given == kept


def test_fit_transform_equals_fit_then_transform(estimator, case):
    expected = estimator.fit(case.sequences).transform(case.sequences)
    assert_same_rows(clone(estimator).fit_transform(case.sequences), expected)


def test_y_is_ignored(estimator, case):
    expected = estimator.fit(case.sequences).transform(case.sequences)
    y = np.arange(len(case.sequences))
    assert_same_rows(clone(estimator).fit_transform(case.sequences, y), expected)


def test_fit_returns_the_estimator(estimator, case):
    assert estimator.fit(case.sequences) is estimator


def test_fit_does_not_run_the_model(estimator, case, runs):
    estimator.fit(case.sequences)
    assert runs == {"hidden_states": [], "log_probabilities": [], "contact_map": []}
    estimator.transform(case.sequences)  # that the fixture sees anything at all
    assert any(runs.values())


def test_fit_reads_the_shape_of_the_model(checkpoint):
    case = CASES["embedding"]
    embed = case.new(checkpoint, pooling=["mean", "max", "bos"]).fit(case.sequences)
    assert (embed.n_layers_, embed.embedding_dim_) == (LAYERS, WIDTH)
    assert embed.layers_ == [LAYERS, 0]
    assert embed._n_features_out == 2 * 3 * WIDTH
    assert embed.transform(case.sequences).shape == (len(case.sequences), 2 * 3 * WIDTH)


def test_fit_reads_the_reference_and_the_methods(checkpoint):
    case = CASES["variants"]
    score = case.new(checkpoint, reference=f" {REFERENCE.lower()}\n").fit(case.sequences)
    assert (score.reference_, score.methods_) == (REFERENCE, ["masked-marginals", "wt-marginals"])
    score.set_params(reference=None, method="log-likelihood").fit(case.sequences)
    assert (score.reference_, score.methods_) == (None, ["log-likelihood"])


@pytest.mark.parametrize("call", ["transform", "get_feature_names_out"])
def test_before_fit_is_refused(estimator, case, call):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(estimator, call)(*([case.sequences] if call == "transform" else []))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_type_of_the_output_is_always_the_same(estimator, case, dtype):
    rows = estimator.set_params(dtype=dtype).fit_transform(case.sequences)
    assert rows.dtype == case.dtype
    assert {row.dtype for row in rows} == {np.dtype(np.float32 if case.dtype is object else case.dtype)}


# Parameters

# a value for every parameter that could not be told apart if it were stored changed
ODD = {
    "model": Path("some.pt"),
    "layer": [-1, 2],
    "pooling": ["mean", np.max],
    "output": "".join(["fea", "tures"]),
    "method": ("log-likelihood", "masked-marginals"),
    "reference": "".join(["mk", "t"]),
    "aggregate": "".join(["me", "an"]),
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

each_kind = pytest.mark.parametrize("kind", KINDS)


def odd_parameters(kind):
    return {name: ODD[name] for name in inspect.signature(kind).parameters}


def test_no_odd_value_is_of_a_parameter_that_is_gone():
    assert set().union(*map(odd_parameters, KINDS)) == set(ODD)


@each_kind
def test_init_stores_every_parameter_untouched(kind):
    parameters = odd_parameters(kind)
    stored = kind(**parameters).get_params()
    assert stored.keys() == parameters.keys()
    assert all(stored[name] is value for name, value in parameters.items())


@each_kind
def test_set_params_stores_every_parameter_untouched(kind):
    parameters = odd_parameters(kind)
    stored = vars(kind().set_params(**parameters))
    assert all(stored[name] is value for name, value in parameters.items())


@each_kind
def test_clone_keeps_every_parameter(kind):
    assert clone(kind(**odd_parameters(kind))).get_params() == odd_parameters(kind)


def test_clone_keeps_nothing_fitted(estimator, case):
    assert vars(clone(estimator.fit(case.sequences))).keys() == estimator.get_params().keys()


@each_kind
def test_all_parameters_but_the_model_are_keyword_only(kind):
    with pytest.raises(TypeError, match="positional"):
        kind("esm2_t6_8M_UR50D", 6)


@each_kind
def test_parameters_that_several_have_agree_in_order_and_default(kind):
    first = inspect.signature(KINDS[0]).parameters
    own = inspect.signature(kind).parameters
    shared = [name for name in own if name in first]
    assert shared == [name for name in first if name in own]
    assert [own[name].default for name in shared] == [first[name].default for name in shared]
    assert {"model", "overlong", "max_length", "invalid", "missing", "device"} < set(shared)


WRONG = [
    ({"model": 3}, TypeError, r"model must be a str or path-like; got 3\. Pass a model's name"),
    ({"model": None}, TypeError, r"model must be a str or path-like; got None\."),
    ({"overlong": "cut"}, ValueError, "overlong must be 'error'.*'truncate'.*; got 'cut'"),
    ({"max_length": 0}, ValueError, "max_length must be None or a positive integer; got 0"),
    ({"invalid": "X"}, ValueError, "invalid must be 'error', 'unknown', 'mask' or 'drop'; got 'X'"),
    ({"missing": "drop"}, ValueError, "missing must be 'error' or 'nan'; got 'drop'"),
    ({"device": "gpu"}, ValueError, "device must be None, 'cpu', 'cuda', 'cuda:N' or 'mps'; got 'gpu'."),
    ({"dtype": "int4"}, ValueError, "dtype must be 'float32', .* got 'int4'"),
    ({"cache": 3}, TypeError, "cache must be None, 'memory' or the path of a folder; got 3"),
    (
        {"model": "absent.pt"},
        FileNotFoundError,
        "model must be the path of an existing file; got .*absent.pt",
    ),
]


@pytest.mark.parametrize(("parameters", "error", "message"), WRONG, ids=str)
def test_a_wrong_parameter_is_refused_alike(estimator, case, parameters, error, message):
    with pytest.raises(error, match=message):
        estimator.set_params(**parameters).fit(case.sequences)


# What scikit-learn asks an estimator about itself


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


def test_html_repr_links_to_the_documentation(estimator, case):
    page = f"/api/sklearn_esm.{case.kind.__name__}.html"
    assert page in estimator_html_repr(estimator)
    assert page in estimator.fit(case.sequences)._repr_html_()
