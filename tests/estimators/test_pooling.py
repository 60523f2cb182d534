"""Poolings by value, against numpy written out; functions of the user's own."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_esm import ESMEmbeddingTransformer, _pooling
from sklearn_esm._pooling import POOLINGS, pool_by_function, pooled_width, pooling_name, residue_states


def states(sequences=3, residues=7, width=5, has_eos=True, seed=0):
    shape = (sequences, 1 + residues + has_eos, width)  # BOS, residues, EOS
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def pool(hidden, pooling, has_eos, width=None):
    if isinstance(pooling, str):
        return _pooling.pool(hidden, pooling, has_eos)
    states = residue_states(hidden, has_eos).copy()  # as a function gets them
    return np.stack([pool_by_function(pooling, one, width or hidden.shape[2]) for one in states])


def written_out(hidden, pooling, has_eos):
    """Pool one sequence ``(tokens, width)``, residue by residue in double precision."""
    rows = [row.astype(float) for row in hidden]
    if pooling == "bos":
        return rows[0]
    if pooling == "eos":
        return rows[-1]
    residues = rows[1:-1] if has_eos else rows[1:]
    if pooling in ("max", "min"):
        return functools.reduce(np.maximum if pooling == "max" else np.minimum, residues)
    total = sum(residues)
    if pooling == "sum":
        return total
    mean = total / len(residues)
    if pooling == "mean":
        return mean
    return (sum((row - mean) ** 2 for row in residues) / len(residues)) ** 0.5


@pytest.mark.parametrize("has_eos", [True, False])
@pytest.mark.parametrize("pooling", POOLINGS)
@settings(deadline=None, max_examples=30)  # a busy machine is no failure
@given(
    sequences=st.integers(1, 4),
    residues=st.integers(1, 60),
    width=st.integers(1, 9),
    seed=st.integers(0, 9),
)
def test_a_pooling_equals_numpy_written_out(pooling, has_eos, sequences, residues, width, seed):
    hidden = states(sequences, residues, width, has_eos, seed)
    pooled = pool(hidden, pooling, has_eos)
    expected = np.stack([written_out(one, pooling, has_eos) for one in hidden])
    assert pooled.dtype == np.float32
    assert pooled.shape == (sequences, width)
    assert_allclose(pooled, expected, rtol=1e-6, atol=1e-6)


def test_the_names_are_those_of_the_documentation():
    assert POOLINGS == ("mean", "max", "min", "sum", "std", "bos", "eos")


@pytest.mark.parametrize("pooling", ["mean", "max", "min", "sum", "std"])
@pytest.mark.parametrize("has_eos", [True, False])
def test_bos_and_eos_do_not_enter(pooling, has_eos):
    hidden = states(has_eos=has_eos)
    changed = hidden.copy()
    changed[:, 0] = 1e6
    if has_eos:
        changed[:, -1] = -1e6
    assert_array_equal(pool(changed, pooling, has_eos), pool(hidden, pooling, has_eos))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_pooled_vector_does_not_change_with_the_states_it_came_from(pooling):
    # the engine overwrites its states at the next layer
    hidden = states()
    pooled = pool(hidden, pooling, has_eos=True)
    before = pooled.copy()
    hidden[:] = 7
    assert_array_equal(pooled, before)


def test_std_is_that_of_the_population():
    hidden = np.array([[[9], [1], [3], [9]]], dtype=np.float32)
    assert pool(hidden, "std", has_eos=True).tolist() == [[1.0]]


def test_std_of_a_single_residue_is_zero():
    assert pool(states(residues=1), "std", has_eos=True).tolist() == [[0.0] * 5] * 3


def test_a_sum_over_a_protein_as_long_as_titin_keeps_its_digits():
    residues = np.full((1, 34_352, 1), 0.1, dtype=np.float32)
    assert_allclose(pool(residues, "sum", has_eos=True), 34_350 * np.float64(np.float32(0.1)), rtol=1e-7)
    assert_allclose(pool(residues, "mean", has_eos=True), np.float32(0.1), rtol=1e-7)


@pytest.mark.parametrize(("has_eos", "tokens"), [(True, slice(1, -1)), (False, slice(1, None))])
def test_the_residues_are_what_lies_between_bos_and_eos(has_eos, tokens):
    hidden = states(has_eos=has_eos)
    assert_array_equal(residue_states(hidden, has_eos), hidden[:, tokens])


# functions


@pytest.mark.parametrize("has_eos", [True, False])
def test_a_function_gets_the_residues_of_one_sequence_at_a_time(has_eos):
    hidden = states(has_eos=has_eos)
    received = []

    def keep(residues):
        received.append(residues)
        return residues[0]

    pooled = pool(hidden, keep, has_eos)
    expected = hidden[:, 1:-1] if has_eos else hidden[:, 1:]
    of_sequences = [one for one in received if one.shape == (7, 5)]  # the others are trials on noise
    assert_array_equal(np.stack(of_sequences), expected)
    assert all(one.dtype == np.float32 for one in received)
    assert_array_equal(pooled, expected[:, 0])


def test_a_function_may_change_and_keep_what_it_gets():
    hidden = states()
    before = hidden.copy()

    def spoil(residues):
        residues[:] = 0
        return residues.sum(0)

    assert_array_equal(pool(hidden, spoil, has_eos=True), np.zeros((3, 5)))
    assert_array_equal(hidden, before)


@pytest.mark.parametrize("kind", [np.float64, np.float16, np.int64, bool])
def test_numbers_of_every_kind_become_float32(kind):
    pooled = pool(states(), lambda residues: np.array([1, 0], dtype=kind), True, width=2)
    assert pooled.dtype == np.float32
    assert pooled.tolist() == [[1.0, 0.0]] * 3


def test_a_function_may_return_a_list():
    pooled = pool(states(), lambda residues: [len(residues)], has_eos=True, width=1)
    assert pooled.tolist() == [[7.0]] * 3


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (lambda residues: residues, "of shape (7, 5) and dtype float32 for states of shape (7, 5)"),
        (lambda residues: 1.0, "of shape () and dtype float64"),
        (lambda residues: np.array(["a"]), "of shape (1,) and dtype <U1"),
        (lambda residues: np.array([1j]), "of shape (1,) and dtype complex128"),
        (lambda residues: None, "of shape () and dtype object"),
    ],
)
def test_a_function_that_returns_no_vector_is_refused(wrong, what):
    with pytest.raises(
        ValueError, match="The pooling function 'lambda' must return a 1-D array"
    ) as error:
        pool(states(), wrong, has_eos=True)
    assert what in str(error.value)
    assert "Reduce the first axis, as in states.mean(axis=0)." in str(error.value)


def test_a_function_whose_vectors_differ_in_length_is_refused():
    def ragged(residues):
        return residues[:, 0]

    with pytest.raises(
        ValueError, match="'ragged' must return vectors of one length; got 7 and 12 numbers"
    ):
        pool(states(), ragged, has_eos=True, width=12)


# widths and names


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_named_pooling_is_as_wide_as_the_states(pooling):
    assert pooled_width(pooling, 5) == 5


@pytest.mark.parametrize(
    ("function", "width"),
    [(lambda r: r[0, :3], 3), (lambda r: np.append(r.mean(0), len(r)), 6), (lambda r: [0], 1)],
)
def test_the_width_of_a_function_is_found_by_trying_it(function, width):
    assert pooled_width(function, 5) == width


def _named(residues):
    return residues[0]


class _Callable:
    def __call__(self, residues):
        return residues[0]


@pytest.mark.parametrize(
    ("pooling", "name"),
    [
        ("mean", "mean"),
        (_named, "_named"),
        (lambda residues: residues[0], "lambda"),
        (_Callable(), "_Callable"),
        (functools.partial(np.quantile, q=0.5, axis=0), "partial"),
    ],
)
def test_a_pooling_has_a_name_for_its_features(pooling, name):
    assert pooling_name(pooling) == name


def test_a_function_stands_in_its_place_between_named_poolings(checkpoints):
    def first_two(residues):
        return residues[0, :2]

    def embed(pooling):
        transformer = ESMEmbeddingTransformer(checkpoints["esm2"].path, layer=[2, 0], pooling=pooling)
        return transformer, transformer.fit_transform(["MKTAYI", "GLDALQITV", "A"])

    transformer, matrix = embed(["max", first_two, "mean"])
    residues = embed(None)[1]
    for row, states_of_row in zip(matrix, residues, strict=True):
        expected = [
            np.concatenate([layer.max(0), layer[0, :2], layer.mean(0)])
            for layer in (states_of_row[:, :32], states_of_row[:, 32:])
        ]
        assert_allclose(row, np.concatenate(expected), rtol=1e-5, atol=1e-6)
    names = transformer.get_feature_names_out()
    assert names[32:35].tolist() == [
        "esm2_L2_first_two_0000",
        "esm2_L2_first_two_0001",
        "esm2_L2_mean_0000",
    ]
    assert len(names) == matrix.shape[1] == 2 * (32 + 2 + 32)


def test_a_wrong_function_is_refused_when_fitting(checkpoints):
    def square(residues):
        return residues.T @ residues

    transformer = ESMEmbeddingTransformer(checkpoints["esm2"].path, pooling=square)
    with pytest.raises(ValueError, match=r"'square' must return a 1-D array .* of shape \(32, 32\)"):
        transformer.fit(["MKTAYI"])
