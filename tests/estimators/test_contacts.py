"""Contact maps by value against fair-esm, and their features against loops over pairs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from fair_esm_oracle import HEADS, LAYERS, fair_esm_contacts, save_random_regression
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sklearn_esm import ESMContactTransformer
from sklearn_esm._contact_features import FEATURES, contact_features, full_map, upper_triangle
from sklearn_esm._engine import PackedModel, _attention

pytestmark = pytest.mark.no_cover

FAMILIES = ["esm2", "esm1b", "esm1"]
PROTEIN = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQVKVKALPDAQFEVVHSLAKWKRQTLGQHDFSAGE"
LONG = (PROTEIN + PROTEIN[::-1] + PROTEIN[5:])[:200]
SEQUENCES = [
    "MKTAYIAKQR",
    "A",
    PROTEIN[:38],
    "MK",
    "ACDEFGHIKLMNPQRSTVWYBUZOX",
    "KA<mask>ISQGLDALQITV",
    "MKTAYIAKQR",
    "GLDALQITVQI",
    "A",
]


def contacts(checkpoint, sequences=SEQUENCES, **parameters):
    return ESMContactTransformer(checkpoint.path, **{"cache": None, **parameters}).fit_transform(
        sequences
    )


def assert_contacts(actual, expected):
    assert actual.shape == (len(expected),)
    assert actual.dtype == object
    for one, other in zip(actual, expected, strict=True):
        assert one.dtype == np.float32
        assert_array_equal(one, one.T)
        assert_allclose(one, other, rtol=0, atol=1e-5)


@pytest.fixture
def own(checkpoint, tmp_path):
    """A copy of the checkpoint, to which regressions can be given."""
    path = tmp_path / "esm2.pt"
    path.write_bytes(checkpoint.path.read_bytes())
    copy = replace(checkpoint, path=path)
    save_random_regression(copy)
    return copy


@pytest.fixture
def observed(monkeypatch, in_this_thread):
    """The shapes of the attention maps that are shown, a list for each sequence run."""
    shapes = []
    observe_attention = PackedModel.observe_attention

    def observing(model, tokens, see):
        shapes.append([])
        observe_attention(model, tokens, lambda maps: (shapes[-1].append(tuple(maps.shape)), see(maps)))

    monkeypatch.setattr(PackedModel, "observe_attention", observing)
    return shapes


# maps


@pytest.mark.parametrize("family", FAMILIES)
def test_maps_equal_fair_esm_of_each_sequence_alone(checkpoints, family):
    assert_contacts(contacts(checkpoints[family]), fair_esm_contacts(checkpoints[family], SEQUENCES))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_random_regressions_put_the_oracle_to_use(checkpoints, family):
    # the counter-check: probabilities near one another would pass whatever the weights of the maps
    (probabilities,) = fair_esm_contacts(checkpoints[family], [PROTEIN[:38]])
    low, middle, high = np.quantile(probabilities, [0.05, 0.5, 0.95])
    assert high - low > 0.5
    assert 0.05 < middle < 0.95


@pytest.mark.parametrize("family", ["esm2", "esm1"])
def test_maps_of_two_hundred_residues_equal_fair_esm(checkpoints, family):
    assert_contacts(
        contacts(checkpoints[family], [LONG]), fair_esm_contacts(checkpoints[family], [LONG])
    )


def test_esm1v_predicts_with_a_regression_put_beside_it(checkpoints, tmp_path):
    path = tmp_path / "variant.pt"
    path.write_bytes(checkpoints["esm1v"].path.read_bytes())
    checkpoint = replace(checkpoints["esm1v"], path=path)
    save_random_regression(checkpoint)
    assert_contacts(contacts(checkpoint), fair_esm_contacts(checkpoint, SEQUENCES))


@pytest.mark.parametrize("family", FAMILIES)
def test_one_map_at_a_time_gives_the_same(checkpoints, family, monkeypatch, observed):
    monkeypatch.setattr(_attention, "_MAPS_AT_A_TIME", 1)
    expected = fair_esm_contacts(checkpoints[family], [PROTEIN[:38]])
    assert_contacts(contacts(checkpoints[family], [PROTEIN[:38]]), expected)
    tokens = 38 + (2 if checkpoints[family].has_eos else 1)
    assert observed == [[(1, tokens, tokens)] * LAYERS * HEADS]


def test_maps_are_weighed_in_the_order_of_heads_where_some_are_shown_together(
    checkpoint, monkeypatch, observed
):
    monkeypatch.setattr(_attention, "_MAPS_AT_A_TIME", 3 * 12**2)  # of four heads
    assert_contacts(contacts(checkpoint, SEQUENCES[:1]), fair_esm_contacts(checkpoint, SEQUENCES[:1]))
    assert observed == [[(3, 12, 12), (1, 12, 12)] * LAYERS]


def test_order_and_repeats_do_not_show(checkpoint, observed):
    once = dict(zip(SEQUENCES, contacts(checkpoint), strict=True))
    assert len(observed) == len(once)  # each distinct sequence is run once
    shuffled = [*SEQUENCES[::-1], *SEQUENCES[2:5]]
    for sequence, actual in zip(shuffled, contacts(checkpoint, shuffled), strict=True):
        assert_array_equal(actual, once[sequence])


def test_maps_share_no_memory(checkpoint):
    # what a user writes into one must not show in a repeat, nor in the cache
    maps = contacts(checkpoint, ["MKTAYI", "MKTAYI"], cache="memory")
    expected = maps[1].copy()
    maps[0][:] = 7
    assert_array_equal(maps[1], expected)
    assert_array_equal(contacts(checkpoint, ["MKTAYI"], cache="memory")[0], expected)


def test_two_workers_give_the_same(checkpoint):
    import joblib

    with joblib.parallel_config("threading"):
        actual = contacts(checkpoint, n_jobs=2)
    for one, other in zip(actual, contacts(checkpoint), strict=True):
        assert_array_equal(one, other)


# measured: 0.001, 0.009 and 0.024, with weights that are far rougher than those of trained models
@pytest.mark.parametrize(("dtype", "bound"), [("float16", 3e-3), ("bfloat16", 2.5e-2), ("int8", 7e-2)])
@pytest.mark.parametrize("family", FAMILIES)
def test_lower_precision_is_near_float32(checkpoints, family, dtype, bound):
    exact, actual = contacts(checkpoints[family]), contacts(checkpoints[family], dtype=dtype)
    assert all(one.dtype == np.float32 for one in actual)
    deviations = np.concatenate([(a - e).ravel() for a, e in zip(actual, exact, strict=True)])
    spread = np.sqrt((deviations**2).mean())
    assert 1e-5 < spread < bound  # below, it was float32 after all


# memory


class Sizes(TorchDispatchMode):
    """How many numbers the largest tensor has that torch makes."""

    largest = 0

    def __torch_dispatch__(self, operation, types, arguments=(), settings=None):
        made = operation(*arguments, **(settings or {}))
        tensors = [one for one in tree_leaves(made) if isinstance(one, torch.Tensor)]
        self.largest = max([self.largest, *(one.numel() for one in tensors)])
        return made


@pytest.mark.parametrize(("numbers", "maps"), [(1, 1), (2**22, HEADS)])
def test_never_more_than_a_few_maps_exist(checkpoint, monkeypatch, observed, numbers, maps):
    monkeypatch.setattr(_attention, "_MAPS_AT_A_TIME", numbers)
    transformer = ESMContactTransformer(checkpoint.path, cache=None, device="cpu").fit(["A"])
    transformer.transform(["A"])  # loads the model, whose weights would be seen
    with Sizes() as made:
        transformer.transform([LONG])
    assert set(observed[-1]) == {(maps, 202, 202)}
    assert 200**2 <= made.largest <= maps * 202**2


# features

PAIRLESS = ["A", "MK", "MKTAYI"]  # of six residues, none is six apart


def features_by_hand(probabilities):
    """Every number of the summary, pair by pair."""
    probabilities = probabilities.tolist()  # numbers of Python are faster in loops
    L = len(probabilities)
    numbers = []
    for low, high in ((6, 11), (12, 23), (24, L)):
        band = [probabilities[i][j] for i in range(L) for j in range(L) if low <= j - i <= high]
        numbers.append(sum(p > 0.5 for p in band))
        numbers.append(sum(band) / len(band) if band else 0)
    order = total = 0.0
    for i in range(L):
        for j in range(i + 6, L):
            order += probabilities[i][j] * (j - i)
            total += probabilities[i][j]
    numbers.append(order / total / L if total else 0)
    return np.array(numbers)


@pytest.mark.parametrize("family", FAMILIES)
def test_features_equal_those_of_fair_esms_contacts(checkpoints, family):
    sequences = [*SEQUENCES, *PAIRLESS] if family == "esm1b" else [*SEQUENCES, LONG, *PAIRLESS]
    maps = fair_esm_contacts(checkpoints[family], sequences)
    expected = np.stack([features_by_hand(one.astype(np.float64)) for one in maps])
    actual = contacts(checkpoints[family], sequences, output="features")
    assert actual.dtype == np.float32
    assert expected[:, [0, 2, 4]].max(axis=0).min() > 0  # each kind of count is put to use
    assert_allclose(actual, expected, rtol=1e-4)


def test_a_sequence_without_such_pairs_has_zeros(checkpoint):
    assert_array_equal(contacts(checkpoint, PAIRLESS, output="features"), np.zeros((3, 7)))


def test_features_and_maps_are_named(checkpoint):
    transformer = ESMContactTransformer(checkpoint.path, output="features").fit(SEQUENCES)
    assert transformer.get_feature_names_out().tolist() == [
        "esm2_contacts_count_short",
        "esm2_contacts_mean_short",
        "esm2_contacts_count_medium",
        "esm2_contacts_mean_medium",
        "esm2_contacts_count_long",
        "esm2_contacts_mean_long",
        "esm2_contacts_relative_contact_order",
    ]
    transformer.set_params(output="map").fit(SEQUENCES)
    assert transformer.get_feature_names_out().tolist() == ["esm2_contact_map"]


def test_the_output_is_the_one_that_was_fitted(checkpoint):
    # names and columns belong together, whatever was set meanwhile
    transformer = ESMContactTransformer(checkpoint.path, output="features", cache=None).fit(["MKT"])
    transformer.set_params(output="map")
    assert transformer.transform(["MKT"]).shape == (1, len(transformer.get_feature_names_out()))


SYMMETRIC = st.integers(0, 40).flatmap(
    lambda residues: arrays(np.float32, (residues, residues), elements=st.floats(0, 1, width=32))
)


@settings(deadline=None, max_examples=50)
@given(SYMMETRIC)
def test_a_map_comes_back_from_its_upper_triangle(half):
    whole = np.maximum(half, half.T)
    triangle = upper_triangle(whole)
    assert triangle.shape == (len(whole) * (len(whole) + 1) // 2,)
    back = full_map(triangle)
    assert back.dtype == np.float32
    assert_array_equal(back, whole)


def test_a_triangle_of_any_length_gives_its_map():
    # the number of residues comes from a square root
    for residues in (*range(70), 1022, 1023, 3000):
        assert len(full_map(np.zeros(residues * (residues + 1) // 2, dtype=np.int8))) == residues


@settings(deadline=None, max_examples=50)
@given(SYMMETRIC)
def test_features_equal_loops_over_pairs(half):
    whole = np.maximum(half, half.T)
    actual = contact_features(whole)
    assert actual.shape == (len(FEATURES),)
    assert_allclose(actual, features_by_hand(whole.astype(np.float64)), rtol=1e-5, atol=1e-30)


@settings(deadline=None, max_examples=30)
@given(SYMMETRIC)
def test_residues_near_in_the_chain_do_not_count(half):
    whole = np.maximum(half, half.T)
    without = whole.copy()
    apart = np.abs(np.subtract.outer(np.arange(len(whole)), np.arange(len(whole))))
    without[apart < 6] = 0
    assert_array_equal(contact_features(without), contact_features(whole))


# cache


@pytest.mark.parametrize("output", ["map", "features"])
def test_a_second_call_runs_nothing(checkpoint, cache, observed, output):
    fresh = contacts(checkpoint, output=output)
    first = contacts(checkpoint, output=output, cache=cache)
    observed.clear()
    again = contacts(checkpoint, output=output, cache=cache)
    assert observed == []
    for one, other, third in zip(again, first, fresh, strict=True):
        assert_array_equal(one, other)
        assert_array_equal(one, third)


def test_maps_and_features_are_cached_apart(checkpoint, cache):
    for output in ("map", "features", "map", "features"):
        actual = contacts(checkpoint, ["MKTAYIAKQR"], output=output, cache=cache)
        assert_array_equal(actual[0], contacts(checkpoint, ["MKTAYIAKQR"], output=output)[0])


@pytest.mark.parametrize("output", ["map", "features"])
def test_another_regression_does_not_get_what_is_cached(own, cache, output):
    # the weights are the same, and so is their fingerprint
    for seed in (0, 1, 0):
        save_random_regression(own, seed)
        expected = fair_esm_contacts(own, SEQUENCES)
        actual = contacts(own, output=output, cache=cache)
        if output == "features":
            expected = [features_by_hand(one.astype(np.float64)) for one in expected]
        for one, other in zip(actual, expected, strict=True):
            assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_a_regression_changed_since_fitting_is_refused(own):
    transformer = ESMContactTransformer(own.path).fit(SEQUENCES)
    transformer.transform(SEQUENCES)
    save_random_regression(own, 1)
    with pytest.raises(
        ValueError, match=r"The contact regression of .*esm2.* must be the one .* fitted with"
    ):
        transformer.transform(SEQUENCES)
    assert_contacts(transformer.fit_transform(SEQUENCES), fair_esm_contacts(own, SEQUENCES))
