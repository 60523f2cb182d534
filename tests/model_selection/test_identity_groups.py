"""Groups by sequence identity: no relatives in two groups, as Biopython's aligner finds them."""

import sys
from itertools import combinations, islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import GroupKFold

from sklearn_esm.datasets import load_peptides
from sklearn_esm.model_selection import _identity, identity_groups

pytest.importorskip("pyopal")

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
PROTEIN = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQVKVKALPDAQFEVVHSLAKWKR"


@pytest.fixture(scope="module")
def aligner():
    align = pytest.importorskip("Bio.Align")
    matrices = pytest.importorskip("Bio.Align.substitution_matrices")
    aligner = align.PairwiseAligner(mode="local", open_gap_score=-11, extend_gap_score=-1)
    aligner.substitution_matrix = matrices.load("BLOSUM62")
    return aligner


def identity_and_coverage(alignment):
    first, second = alignment.target, alignment.query
    blocks = list(zip(*alignment.aligned, strict=True))
    pairs = [(i, j) for (a, b), (c, d) in blocks for i, j in zip(range(a, b), range(c, d), strict=True)]
    spans = [pairs[-1][axis] + 1 - pairs[0][axis] for axis in (0, 1)]
    columns = sum(spans) - len(pairs)
    identical = sum(first[i] == second[j] for i, j in pairs)
    return identical / columns, min(spans[0] / len(first), spans[1] / len(second))


def relatives(aligner, sequences, threshold, coverage):
    """Whether all, and whether any, of the best alignments of each pair are of relatives."""
    of_all, of_any = np.zeros((2, len(sequences), len(sequences)), dtype=bool)
    for i, j in combinations(range(len(sequences)), 2):
        if aligner.score(sequences[i], sequences[j]) <= 0:
            continue
        best = list(islice(aligner.align(sequences[i], sequences[j]), 30))
        found = [identity_and_coverage(one) for one in best]
        same = [identity >= threshold and covered >= coverage for identity, covered in found]
        # of more than 30 it is not known
        of_all[i, j], of_any[i, j] = all(same) and len(same) < 30, any(same) or len(same) == 30
    return of_all, of_any


def assert_single_linkage(aligner, sequences, threshold, coverage):
    groups = identity_groups(sequences, threshold, coverage)
    of_all, of_any = relatives(aligner, sequences, threshold, coverage)
    apart = groups[:, None] != groups
    assert not (of_all & apart).any()  # no relatives in two groups
    within = connected_components(of_any & ~apart, directed=False)[1]
    assert len(set(within)) == len(set(groups))  # and nothing but chains of relatives in one


def family(rng, length, members):
    """A random sequence, and copies with substitutions, gaps and cut ends."""
    founder = rng.choice(list(RESIDUES), length)
    for _ in range(members):
        rate = rng.uniform(0.05, 0.7)
        kept = founder[rng.integers(0, 1 + length // 6) : length - rng.integers(0, 1 + length // 6)]
        letters = np.where(rng.random(len(kept)) < rate, rng.choice(list(RESIDUES), len(kept)), kept)
        copies = rng.choice([0, 1, 2], len(kept), p=[rate / 20, 1 - rate / 10, rate / 20])
        yield "".join(np.repeat(letters, copies)) or "A"


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.9])
@pytest.mark.parametrize("coverage", [0.0, 0.5, 0.8])
def test_no_two_groups_have_relatives(aligner, threshold, coverage):
    rng = np.random.default_rng(0)
    sequences = [one for length in (8, 15, 30, 60, 60, 90) for one in family(rng, length, 15)]
    sequences = [sequences[row] for row in rng.permutation(len(sequences))]
    assert len(set(sequences)) > _identity._BLOCK
    assert_single_linkage(aligner, sequences, threshold, coverage)


@given(
    st.lists(st.text("ACW", min_size=1, max_size=12), min_size=1, max_size=12),
    st.sampled_from([0.3, 0.5, 0.7, 1.0]),
    st.sampled_from([0.0, 0.5, 0.8, 1.0]),
)
@settings(max_examples=100, deadline=None)
def test_short_peptides_are_not_missed(aligner, sequences, threshold, coverage):
    assert_single_linkage(aligner, sequences, threshold, coverage)


def test_the_threshold_is_among_the_relatives():
    three_of_ten_differ = ["WWWWWWWWWW", "WWFWFWFWWW"]
    assert_array_equal(identity_groups(three_of_ten_differ, 0.7), [0, 0])
    assert_array_equal(identity_groups(three_of_ten_differ, 0.71), [0, 1])


def test_columns_of_gaps_count_as_different():
    inserted = PROTEIN[:40] + "GG" + PROTEIN[40:]  # 79 of 81 columns are identical
    assert_array_equal(identity_groups([PROTEIN, inserted], len(PROTEIN) / len(inserted)), [0, 0])
    assert_array_equal(identity_groups([PROTEIN, inserted], 0.98), [0, 1])


def test_both_sequences_must_be_covered():
    four_fifths = PROTEIN[: round(0.8 * len(PROTEIN))]
    exact = len(four_fifths) / len(PROTEIN)
    assert_array_equal(identity_groups([PROTEIN, four_fifths], coverage=exact), [0, 0])
    assert_array_equal(identity_groups([four_fifths, PROTEIN], coverage=exact + 0.001), [0, 1])


def test_relatives_of_relatives_are_in_one_group():
    half = len(PROTEIN) // 2
    first, last = "W" * half + PROTEIN[half:], PROTEIN[:half] + "C" * (len(PROTEIN) - half)
    assert_array_equal(identity_groups([first, last], 0.4, 0.4), [0, 1])
    assert_array_equal(identity_groups([first, last, PROTEIN], 0.4, 0.4), [0, 0, 0])


def test_groups_are_numbered_in_the_order_of_their_first_rows():
    sequences = ["WWWW", "ACDEFGHIK", "WWWW", "CC", "acdefghik "]
    assert_array_equal(identity_groups(sequences), [0, 1, 0, 2, 1])


def test_equal_sequences_without_an_alignment_are_in_one_group():
    assert_array_equal(identity_groups(["X", "XX", "X"]), [0, 1, 0])  # X against X scores -1


def test_residues_that_the_matrix_lacks_are_aligned_as_the_nearest():
    assert_array_equal(identity_groups(["MKUAYOAK", "MKCAYKAK"], 1.0), [0, 0])
    assert_array_equal(identity_groups(["MK<mask>AYOAK", "MKXAYKAK"], 1.0), [0, 0])


def test_threads_give_the_same_groups():
    peptides = load_peptides().data
    assert_array_equal(identity_groups(peptides, 0.5, n_jobs=2), identity_groups(peptides, 0.5))


def test_known_families_of_peptides():
    peptides = load_peptides()
    groups = identity_groups(peptides.data, threshold=0.7)
    assert (len(set(groups)), np.bincount(groups).max()) == (277, 5)
    for train, test in GroupKFold(5).split(peptides.data, groups=groups):
        assert not set(groups[train]) & set(groups[test])


def test_variants_of_one_protein_are_aligned_once(monkeypatch):
    aligned = []
    align = _identity._Relatives._align

    def counted(self, mode, query, targets):
        aligned.append(len(targets))
        return align(self, mode, query, targets)

    monkeypatch.setattr(_identity._Relatives, "_align", counted)
    variants = {PROTEIN[:at] + letter + PROTEIN[at + 1 :] for at in range(79) for letter in RESIDUES}
    assert set(identity_groups(sorted(variants))) == {0}
    assert sum(aligned) == 2 * (len(variants) - 1)  # each once for its end, once in full


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"threshold": 0}, "threshold must be above 0 to 1; got 0."),
        ({"threshold": 30}, "threshold must be above 0 to 1; got 30."),
        ({"threshold": "0.3"}, "threshold must be above 0 to 1; got '0.3'."),
        ({"threshold": float("nan")}, "threshold must be above 0 to 1; got nan."),
        ({"coverage": -0.1}, "coverage must be from 0 to 1; got -0.1."),
        ({"coverage": None}, "coverage must be from 0 to 1; got None."),
    ],
)
def test_refused_parameters(parameters, message):
    with pytest.raises(ValueError, match="must be") as error:
        identity_groups(["MKT"], **parameters)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "MK*",
            "Sequence 1 (MK*) has '*' at position 3, which is not in ESM's alphabet. Remove the stop at "
            "the end of a translation with sequence.rstrip('*'). Replace it by 'X', or remove the row.",
        ),
        (None, "Sequence 1 is missing: found None. Remove the row."),
    ],
)
def test_refused_rows_name_no_parameter_of_a_transformer(row, message):
    with pytest.raises(ValueError, match="Sequence 1") as error:
        identity_groups(["MKT", row])
    assert str(error.value) == message


def test_a_missing_library_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyopal", None)
    message = (
        r'identity_groups needs pyopal, which is not installed: pip install "sklearn-esm\[groups\]"'
    )
    with pytest.raises(ImportError, match=message):
        identity_groups(["MKT"])
