"""Groups by position: ProteinGym's rules on literals, and no position in two groups."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.model_selection import PredefinedSplit

from sklearn_esm.datasets import load_gb1
from sklearn_esm.model_selection import mutation_counts, position_groups

REFERENCE = "MKTAYIAKQRQISFVKSHFS"


def variant(*positions):
    """REFERENCE with tryptophan at positions counted from 1."""
    return "".join("W" if at in positions else letter for at, letter in enumerate(REFERENCE, start=1))


# Position 2 and those from 12 are not measured, nor is every residue: positions are divided, not rows.
MEASURED = [1, 1, 1, 3, 4, 5, 6, 7, 7, 8, 9, 10, 11]
CONTIGUOUS = [0, 0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 4]
MODULO = [0, 0, 0, 1, 2, 3, 4, 0, 0, 1, 2, 3, 4]


@pytest.mark.parametrize(("scheme", "folds"), [("contiguous", CONTIGUOUS), ("modulo", MODULO)])
def test_groups_are_the_folds_of_proteingym(scheme, folds):
    order = np.random.default_rng(0).permutation(len(MEASURED))
    groups = position_groups([variant(MEASURED[row]) for row in order], REFERENCE, scheme)
    assert_array_equal(groups, np.array(folds)[order])


@pytest.mark.parametrize(
    ("positions", "n_groups", "sizes"),
    [(12, 5, [3, 3, 2, 2, 2]), (7, 5, [2, 2, 1, 1, 1]), (5, 5, [1] * 5), (9, 2, [5, 4])],
)
def test_the_first_groups_have_the_positions_that_are_over(positions, n_groups, sizes):
    X = [variant(at) for at in range(1, positions + 1)]
    contiguous = position_groups(X, REFERENCE, n_groups=n_groups)
    assert_array_equal(contiguous, np.repeat(np.arange(n_groups), sizes))
    modulo = position_groups(X, REFERENCE, "modulo", n_groups)
    assert_array_equal(modulo, np.arange(positions) % n_groups)


def folds_of_the_script(positions, n_groups):
    """The arithmetic of ProteinNPT's cv_split.py, by position."""
    mutated = sorted(set(positions))
    k, m = divmod(len(mutated), n_groups)
    contiguous = [fold for fold in range(n_groups) for _ in range(k + (fold < m))]
    return dict(zip(mutated, contiguous, strict=True)), {p: i % n_groups for i, p in enumerate(mutated)}


def test_single_substitutions_of_gb1_have_the_folds_of_the_script():
    gb1 = load_gb1()
    single = gb1.data != gb1.reference
    X, positions = gb1.data[single], gb1.positions[single]
    for scheme, fold_of in zip(("contiguous", "modulo"), folds_of_the_script(positions, 5), strict=True):
        expected = [fold_of[position] for position in positions]
        assert_array_equal(position_groups(X, gb1.reference, scheme), expected)


def test_rows_that_straddle_groups_and_the_wild_type_are_in_none():
    X = [variant(1), variant(2), variant(3), variant(4), variant(1, 2), variant(2, 3), variant(3, 4)]
    groups = position_groups([*X, REFERENCE], REFERENCE, n_groups=2)
    assert_array_equal(groups, [0, 0, 1, 1, 0, -1, 1, -1])
    groups = position_groups([*X, variant(1, 3)], REFERENCE, "modulo", n_groups=2)
    assert_array_equal(groups, [0, 1, 0, 1, -1, -1, -1, 0])


@given(
    st.lists(st.sets(st.integers(1, 20), max_size=4), min_size=1, max_size=30),
    st.sampled_from(["contiguous", "modulo"]),
    st.integers(2, 5),
)
@settings(max_examples=100, deadline=None)
def test_no_position_of_the_test_rows_is_trained_on(changes, scheme, n_groups):
    changes.extend({at} for at in range(1, 6))
    groups = position_groups([variant(*some) for some in changes], REFERENCE, scheme, n_groups)
    kept = np.flatnonzero(groups >= 0)
    for group in range(n_groups):
        tested = set().union(*(changes[row] for row in kept[groups[kept] == group]))
        assert not tested & set().union(*(changes[row] for row in kept[groups[kept] != group]))
    fold_of = folds_of_the_script(set().union(*changes), n_groups)[scheme == "modulo"]
    for some, group in zip(changes, groups, strict=True):
        assert group == -1 or {fold_of[at] for at in some} == {group}
        assert group != -1 or len({fold_of[at] for at in some}) != 1


def test_counts_of_substitutions():
    X = np.array([REFERENCE, variant(2), variant(1, 20).lower(), variant(3, 4, 5)], dtype=object)
    counts = mutation_counts(X, REFERENCE)
    assert_array_equal(counts, [0, 1, 2, 3])
    assert counts.dtype == np.int64
    ((train, test),) = PredefinedSplit(np.where(counts > 1, 0, -1)).split()
    assert_array_equal(train, [0, 1])
    assert_array_equal(test, [2, 3])


def test_mutations_equal_their_sequences():
    pytest.importorskip("sklearn_esm.variants")
    mutations = ["M1W", "K2W:T3W", "p.Ala4Trp", "WT", "Y5W,I6W", "A7A"]
    X = [variant(1), variant(2, 3), variant(4), REFERENCE, variant(5, 6), REFERENCE]
    assert_array_equal(mutation_counts(mutations, REFERENCE), [1, 2, 1, 0, 2, 0])
    expected = position_groups(X, REFERENCE, n_groups=3)
    assert_array_equal(expected, [0, -1, 1, -1, 2, -1])
    assert_array_equal(position_groups(mutations, REFERENCE, n_groups=3), expected)


def test_mutations_may_count_from_another_position():
    pytest.importorskip("sklearn_esm.variants")
    mutations = ["M24W", "K25W:T26W", "WT"]
    assert_array_equal(mutation_counts(mutations, REFERENCE, first_position=24), [1, 2, 0])
    groups = position_groups(mutations, REFERENCE, "modulo", 2, first_position=24)
    assert_array_equal(groups, [0, -1, -1])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"scheme": "random"}, "scheme must be 'contiguous' or 'modulo'; got 'random'."),
        ({"n_groups": 1}, "n_groups must be an integer of at least 2; got 1."),
        ({"n_groups": 2.0}, "n_groups must be an integer of at least 2; got 2.0."),
        ({"n_groups": 4}, "n_groups must be at most the number of positions that change, 3; got 4."),
    ],
)
def test_refused_parameters(parameters, message):
    with pytest.raises(ValueError, match="must be") as error:
        position_groups([variant(1), variant(2, 3)], REFERENCE, **parameters)
    assert str(error.value) == message


def test_a_sequence_of_another_length_is_named():
    message = (
        r"^Sequence 1 \(MKTAYIAKQRQISFVKSHF\) must have the length of the reference, 20; got 19. Remove "
        "variants with insertions or deletions.$"
    )
    for function in (position_groups, mutation_counts):
        with pytest.raises(ValueError, match=message):
            function([variant(1), REFERENCE[:-1]], REFERENCE)


def test_one_digit_in_a_sequence_is_not_taken_for_a_mutation():
    with pytest.raises(
        ValueError, match=r"^Sequence 1 \(.*\) has '1' at position 2, which is not in ESM"
    ):
        mutation_counts([REFERENCE, "M1" + REFERENCE[2:]], REFERENCE)


def test_a_reference_that_is_no_sequence_is_refused():
    with pytest.raises(
        ValueError, match=r"^reference must be a sequence of residues. Sequence 0 \(M-K\)"
    ):
        mutation_counts(["MKK"], "M-K")
    with pytest.raises(TypeError, match=r"^reference must be a sequence of residues. "):
        mutation_counts(["MKK"], 3)
