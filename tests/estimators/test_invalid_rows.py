"""An error about one row counts the other invalid rows, and names labels of pandas."""

import pickle

import numpy as np
import pandas as pd
import pytest

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm._sequences import SequenceError, clean_sequences

MODEL = "esm2_t6_1M_bundled"
STOP = (
    "(MKT*) has '*' at position 4, which is not in ESM's alphabet. Remove the stop at the end of a "
    "translation with sequence.rstrip('*'). Set invalid='unknown', 'mask' or 'drop' to accept it."
)


def message_of(X, kind=SequenceError):
    with pytest.raises(kind) as error:
        clean_sequences(X, invalid="error", missing="error")
    return str(error.value)


def rows_with(invalid, number=60):
    return [invalid.get(row, "MKT") for row in range(number)]


@pytest.mark.parametrize(
    ("others", "end"),
    [
        ({}, ""),
        ({5: "M-K"}, " 1 other row is invalid: 5."),
        ({5: "M-K", 9: None}, " 2 other rows are invalid: 5, 9."),
        (dict.fromkeys([5, 9, 12, 40], "A24G"), " 4 other rows are invalid: 5, 9, 12, 40."),
        (
            dict.fromkeys([5, 9, 12, *range(40, 54)], ("a", "b", "c")),
            " 17 other rows are invalid: 5, 9, 12, 40, ...",
        ),
    ],
    ids=["none", "one", "two", "four", "seventeen"],
)
def test_other_rows_are_counted_and_the_first_are_named(others, end):
    assert message_of(rows_with({3: "MKT*", **others})) == f"Sequence 3 {STOP}{end}"


def test_rows_of_a_wrong_type_are_counted_in_both_errors():
    assert message_of(["MKT*", 5]) == f"Sequence 0 {STOP} 1 other row is invalid: 1."
    message = message_of([5, "MKT*", b"MKT"], TypeError)
    assert message.startswith("Row 0 must be a string; got 5 (type int). Pass strings such as")
    assert message.endswith(" of a table. 2 other rows are invalid: 1, 2.")


def test_rows_of_every_block_are_counted():
    rows = [700, 1023, 1024, 2999, 3000, 9998]
    message = message_of(rows_with(dict.fromkeys(rows, "MKT*"), 9999))
    assert message == f"Sequence 700 {STOP} 5 other rows are invalid: 1023, 1024, 2999, 3000, ..."


def test_counting_stops_at_a_hundred_thousand_rows():
    read = []

    class Peptide:
        @property
        def seq(self):
            read.append(self)
            return "MKT*"

    message = message_of([Peptide()] * 150_000)
    assert message == f"Sequence 0 {STOP} At least 99,999 other rows are invalid: 1, 2, 3, 4, ..."
    assert len(read) == 100_001  # the first row is read twice


def test_valid_rows_are_read_once():
    read = []

    class Peptide:
        @property
        def seq(self):
            read.append(self)
            return "MKT"

    assert clean_sequences([Peptide()] * 3000, invalid="error", missing="error") == ["MKT"] * 3000
    assert len(read) == 3000


def test_policies_decide_which_other_rows_are_invalid():
    with pytest.raises(SequenceError, match=r"^Sequence 0 \(A24G\).* 1 other row is invalid: 3\.$"):
        clean_sequences(["A24G", "MK*", None, "K30R"], invalid="drop", missing="nan")


# The index of pandas


@pytest.mark.parametrize(
    ("index", "end"),
    [
        (range(5), " 2 other rows are invalid: 3, 4."),
        (
            range(5, 10),
            " The index label of row 1 is 6. 2 other rows are invalid: 3 (label 8), 4 (label 9).",
        ),
        (
            ["P1", "P2", "P3", "P4", "P5"],
            " The index label of row 1 is 'P2'. 2 other rows are invalid: 3 (label 'P4'), 4 (label "
            "'P5').",
        ),
        (
            pd.MultiIndex.from_product([["A"], range(5)]),
            " The index label of row 1 is ('A', 1). 2 other rows are invalid: 3 (label ('A', 3)), 4 "
            "(label ('A', 4)).",
        ),
    ],
    ids=["numbers of the rows", "part of a table", "text", "several levels"],
)
@pytest.mark.parametrize("form", ["series", "frame"])
def test_index_labels_are_named(index, end, form):
    column = pd.Series(["MKT", "MKT*", "GIG", None, "A24G"], index=index, dtype=object)
    X = column if form == "series" else column.to_frame("sequence")
    assert message_of(X) == f"Sequence 1 {STOP}{end}"


def test_the_label_of_a_single_invalid_row_is_named():
    column = pd.Series(["MKT", "MKT*"], index=["P1", "P2"])
    assert message_of(column) == f"Sequence 1 {STOP} The index label of row 1 is 'P2'."
    assert message_of(column.to_numpy()) == f"Sequence 1 {STOP}"
    with pytest.raises(ValueError, match=r" The index label of row 1 is 'P2'\.$"):
        ESMEmbeddingTransformer(MODEL).fit(column)


def test_a_long_label_is_shortened():
    message = message_of(pd.Series(["MKT*"], index=["P" * 1000]))
    assert (
        message
        == f"Sequence 0 {STOP} The index label of row 0 is 'PPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPPP...."
    )


# Errors of other steps


def test_overlong_rows_are_counted():
    embed = ESMEmbeddingTransformer(MODEL, max_length=3)
    with pytest.raises(
        SequenceError, match=r"^Sequence 1 .* 5 other rows are invalid: 3, 4, 5, 6, \.\.\.$"
    ):
        embed.fit(["MKT", "MKTA", "GIG", *["MKTAY"] * 5])


def test_the_rows_are_no_part_of_the_problem_and_come_back_from_another_process():
    with pytest.raises(SequenceError) as caught:
        clean_sequences(np.array(["MKT*", "MK-"]), invalid="error", missing="error")
    error = pickle.loads(pickle.dumps(caught.value))
    assert (error.row, error.problem) == (0, STOP)
    assert str(error) == f"Sequence 0 {STOP} 1 other row is invalid: 1."
