"""Errors about one sequence: they carry its row, and a text that is no sequence is never repaired."""

import pickle
import re

import numpy as np
import pytest
from three_estimators import REFERENCE

from sklearn_esm import ESMEmbeddingTransformer, ESMLikelihoodTransformer
from sklearn_esm._sequences import SequenceError, clean_sequences

MODEL = "esm2_t6_1M_bundled"


def clean(X, invalid="error", missing="error"):
    return clean_sequences(X, invalid=invalid, missing=missing)


# The row


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("MK*T", "Sequence 2 (MK*T) has '*' at position 3"),
        (None, "Sequence 2 is missing: found None."),
        ("", "Sequence 2 is missing: found ''."),
        (["M", "K"], "Row 2 must be one sequence; got a list of 2 items"),
    ],
    ids=repr,
)
def test_the_error_of_a_row_carries_its_number(item, message):
    with pytest.raises(SequenceError, match=f"^{re.escape(message)}") as error:
        clean(["MKT", "GIG", item, "MK*T"])
    assert error.value.row == 2
    assert str(error.value).endswith(f"{error.value.problem} 1 other row is invalid: 3.")
    assert isinstance(error.value, ValueError)


def test_a_biopython_sequence_without_content_carries_its_row():
    Seq = pytest.importorskip("Bio.Seq")
    for row in (Seq.Seq(None, length=3), ("label", Seq.Seq(None, length=3))):
        with pytest.raises(
            SequenceError, match=r"^Row 1 .*must be a Biopython Seq with content"
        ) as error:
            clean(["MKT", row])
        assert error.value.row == 1


@pytest.mark.parametrize(
    ("estimator", "X", "message"),
    [
        (
            ESMEmbeddingTransformer(MODEL, max_length=3),
            ["MKT", "MKTA"],
            "Sequence 1 (MKTA) must have at most 3 resid",
        ),
        (ESMLikelihoodTransformer(MODEL), ["MKT", "<mask>"], "Sequence 1 has only <mask>"),
        (
            ESMLikelihoodTransformer(MODEL, method="wt-marginals", reference=REFERENCE),
            [REFERENCE, "MKT"],
            "Sequence 1 (MKT) has 3 residues, and the reference has 23",
        ),
        (
            ESMLikelihoodTransformer(MODEL, method="wt-marginals", reference="MKT"),
            ["MKT", "M<mask>T"],
            "Sequence 1 has <mask> at position 2, and the reference has 'K'",
        ),
    ],
    ids=["overlong", "nothing but mask", "another length", "mask"],
)
def test_what_an_estimator_refuses_carries_its_row(estimator, X, message):
    with pytest.raises(SequenceError, match=f"^{re.escape(message)}") as error:
        estimator.fit(X)
    assert error.value.row == 1


def test_an_error_of_the_reference_is_of_no_row():
    scorer = ESMLikelihoodTransformer(MODEL, method="wt-marginals", reference="MK*")
    with pytest.raises(
        ValueError, match=r"^reference must be a sequence of residues\. Sequence 0 \(MK\*\)"
    ) as error:
        scorer.fit(["MKT"])
    assert not isinstance(error.value, SequenceError)


def test_the_error_of_a_row_comes_back_from_another_process():
    error = pickle.loads(pickle.dumps(SequenceError(7, "is missing: found None.")))
    assert (error.row, error.problem) == (7, "is missing: found None.")
    assert str(error) == "Sequence 7 is missing: found None."


# A fast check of many rows at once


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("MK*T", "Sequence 1500 (MK*T) has '*' at position 3"),
        ("MKJ", "Sequence 1500 (MKJ) has 'J' at position 3"),
        ("M#", "Sequence 1500 (M#) has '#' at position 2"),
        ("Q2A", "Sequence 1500 (Q2A) looks like a mutation"),
        ("", "Sequence 1500 is missing: found ''."),
        (None, "Sequence 1500 is missing: found None."),
        ("NaN", "Sequence 1500 is the text 'NaN'"),
        ("MK\N{LATIN CAPITAL LETTER A WITH DIAERESIS}", "Sequence 1500 (MKÄ) has 'Ä' at position 3"),
        (["M", "K"], "Row 1500 must be one sequence; got a list of 2 items"),
    ],
    ids=repr,
)
def test_a_row_among_thousands_is_named(item, message):
    with pytest.raises(SequenceError, match=f"^{re.escape(message)}") as error:
        clean(["MKT"] * 1500 + [item] + ["MKT"] * 1500)
    assert error.value.row == 1500


def test_rows_among_thousands_are_cleaned():
    unusual = {5: " mkt\n", 1023: "MK-T", 1024: None, 2047: np.str_("GIG"), 2999: "<mask>A"}
    given = [unusual.get(row, f"A{'CDEFG'[row % 5]}") for row in range(3000)]
    cleaned = {5: "MKT", 1023: "MKXT", 1024: None, 2047: "GIG", 2999: "#A"}
    actual = clean(given, invalid="unknown", missing="nan")
    assert actual == [cleaned.get(row, given[row]) for row in range(3000)]
    assert {type(sequence) for sequence in actual} == {str, type(None)}
