"""Frequencies of residues and of pairs, counted one by one."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_esm.baselines import ResidueComposition, _composition
from sklearn_esm.datasets import load_peptides

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
PAIRS = [first + second for first in RESIDUES for second in RESIDUES]
EVERYTHING = {"length": True, "pairs": True}
# the 20 in another order, letters without a column, a single residue, and nothing that has a column
ODD = ["YWVTSRQPNMLKIHGFEDCA", "BAAUZACOXAA", "AAAA", "G", "X", "BUZOX", "gl \n"]


def counted(sequence):
    """The frequencies of residues, the length and the frequencies of pairs, counted one by one."""
    residues = Counter(sequence)
    pairs = Counter("".join(pair) for pair in pairwise(sequence))
    return [
        *(residues[residue] / len(sequence) for residue in RESIDUES),
        len(sequence),
        *(pairs[pair] / max(len(sequence) - 1, 1) for pair in PAIRS),
    ]


def test_columns_are_the_counts_of_each_residue_and_pair():
    expected = [counted(sequence.strip().upper()) for sequence in ODD]
    actual = ResidueComposition(**EVERYTHING).fit_transform(ODD)
    assert actual.dtype == np.float64
    assert_array_equal(actual, expected)


@given(st.lists(st.text(RESIDUES + "BUZOX", min_size=1, max_size=40), min_size=1, max_size=20))
def test_columns_of_any_sequences_are_the_counts(sequences):
    actual = ResidueComposition(**EVERYTHING).fit_transform(sequences)
    assert_array_equal(actual, [counted(sequence) for sequence in sequences])


@pytest.mark.parametrize("block", [1, 450, 1000, 5000])
def test_sequences_of_several_blocks_are_counted_alike(monkeypatch, block):
    sequences = load_peptides().data
    expected = ResidueComposition(**EVERYTHING).fit_transform(sequences)
    assert_array_equal(expected, [counted(sequence) for sequence in sequences])
    monkeypatch.setattr(_composition, "_BLOCK", block)
    assert_array_equal(ResidueComposition(**EVERYTHING).fit_transform(sequences), expected)


def test_blocks_are_all_rows_in_order_and_bounded(monkeypatch):
    monkeypatch.setattr(_composition, "_BLOCK", 100)
    costs = np.random.default_rng(0).integers(1, 250, size=500)
    blocks = list(_composition._blocks(costs))
    assert [row for block in blocks for row in range(500)[block]] == list(range(500))
    assert len(blocks) > 100
    assert max(costs[block][1:].sum() for block in blocks) < 100


@pytest.mark.parametrize(("length", "column"), [(True, [2, 4, 1]), ("log", np.log([2, 4, 1]))])
def test_the_length_is_a_column_or_its_logarithm(length, column):
    actual = ResidueComposition(length=length).fit_transform(["MK", "MKTX", "M"])
    assert_allclose(actual[:, 20], column, rtol=1e-15)
    assert actual.shape == (3, 21)


def test_a_mask_counts_as_a_residue_without_a_column():
    actual = ResidueComposition(**EVERYTHING).fit_transform(["AA<mask>A", "<mask>"])
    assert_array_equal(actual, ResidueComposition(**EVERYTHING).fit_transform(["AAXA", "X"]))
    assert actual[:, 0].tolist() == [0.75, 0]
    assert actual[:, 20].tolist() == [4, 1]
    assert actual[:, 21:].sum(axis=1).tolist() == [1 / 3, 0]


@pytest.mark.parametrize(
    ("invalid", "read"), [("unknown", "AXAX"), ("mask", "A<mask>A<mask>"), ("drop", "AA")]
)
def test_an_invalid_character_is_read_as_the_policy_says(invalid, read):
    actual = ResidueComposition(invalid=invalid, **EVERYTHING).fit_transform(["A-A*"])
    assert_array_equal(actual, ResidueComposition(**EVERYTHING).fit_transform([read]))


@pytest.mark.parametrize("parameters", [{}, {"length": "log"}, {"pairs": True}], ids=str)
def test_a_missing_row_is_a_row_of_nan_in_its_place(parameters):
    composition = ResidueComposition(missing="nan", invalid="drop", **parameters)
    actual = composition.fit_transform([None, "MKT", "**", float("nan"), "GLD", ""])
    assert np.isnan(actual[[0, 2, 3, 5]]).all()
    assert_array_equal(actual[[1, 4]], composition.transform(["MKT", "GLD"]))
    assert np.isnan(composition.transform([None])).all()


@pytest.mark.parametrize(
    ("parameters", "names"),
    [
        ({}, [*RESIDUES]),
        ({"length": True}, [*RESIDUES, "length"]),
        ({"length": "log"}, [*RESIDUES, "log_length"]),
        ({"pairs": True}, [*RESIDUES, *PAIRS]),
        (EVERYTHING, [*RESIDUES, "length", *PAIRS]),
    ],
    ids=str,
)
def test_feature_names_are_the_residues_and_pairs(parameters, names):
    composition = ResidueComposition(**parameters).fit(["GLD"])
    assert composition.get_feature_names_out().tolist() == names
    assert composition.get_feature_names_out().dtype == object
    assert composition.transform(["MKT"]).shape == (1, len(names))


def test_columns_of_a_frame_are_what_their_names_say():
    composition = ResidueComposition(**EVERYTHING).set_output(transform="pandas")
    table = composition.fit_transform(pd.Series(["MKKM", "WWWW"], index=["a", "b"]))
    assert table.loc["a", ["M", "K", "length"]].tolist() == [0.5, 0.5, 4]
    assert table.loc["a", ["MK", "KK", "KM"]].tolist() == [1 / 3] * 3
    assert table.loc["b", ["W", "WW"]].tolist() == [1, 1]
    assert table.sum(axis=1).tolist() == [1 + 4 + 1] * 2


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"length": "residues"}, ValueError, r"length must be True, False or 'log'; got 'residues'\."),
        ({"length": 1}, ValueError, r"length must be True, False or 'log'; got 1\."),
        ({"pairs": "yes"}, TypeError, r"pairs must be a bool; got 'yes'\."),
        ({"pairs": 2}, TypeError, r"pairs must be a bool; got 2\."),
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["fit", "transform"])
def test_a_wrong_parameter_is_refused(parameters, error, message, method):
    with pytest.raises(error, match=f"^{message}$"):
        getattr(ResidueComposition().fit(["MKT"]).set_params(**parameters), method)(["MKT"])
