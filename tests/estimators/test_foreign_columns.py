"""Data sets of Hugging Face, by classes of the same interface, and objects that cannot be read."""

import re
from collections.abc import Sequence

import numpy as np
import pytest
from three_estimators import assert_same_rows

from sklearn_esm._sequences import clean_sequences

SEQUENCES = ["MKTAYIAKQR", "GIGKFLHSAKKF", "MKTAYIAKQR", "A"]


def clean(X, missing="error"):
    return clean_sequences(X, invalid="error", missing=missing)


# Data sets of Hugging Face


class Dataset:
    """As ``datasets.Dataset``: rows are dicts, and a column is had by its name."""

    def __init__(self, columns, column_of=list):
        self._columns = columns
        self._column_of = column_of

    @property
    def column_names(self):
        return list(self._columns)

    @property
    def num_columns(self):
        return len(self._columns)

    @property
    def num_rows(self):
        return len(next(iter(self._columns.values()), []))

    @property
    def shape(self):
        return self.num_rows, self.num_columns

    def __len__(self):
        return self.num_rows

    def __getitem__(self, key):
        if isinstance(key, str):
            return self._column_of(self._columns[key])
        return {name: column[key] for name, column in self._columns.items()}

    def __iter__(self):
        return (self[row] for row in range(len(self)))


class Column(Sequence):
    """As a column of ``datasets`` 4: it looks its items up when they are wanted."""

    def __init__(self, items):
        self._items = list(items)

    def __len__(self):
        return len(self._items)

    def __getitem__(self, key):
        return self._items[key]


@pytest.mark.parametrize("column_of", [list, Column, np.array])
def test_a_data_set_of_one_column_equals_the_list(column_of):
    assert clean(Dataset({"seq": SEQUENCES}, column_of)) == SEQUENCES


def test_a_column_of_a_data_set_equals_the_list():
    assert clean(Column(SEQUENCES)) == SEQUENCES
    assert clean(Dataset({"seq": SEQUENCES, "y": [0, 1, 0, 1]}, Column)["seq"]) == SEQUENCES


def test_missing_rows_of_a_data_set_keep_their_place():
    for column_of in (list, Column):
        data = Dataset({"seq": ["MKT", None, "GIG"]}, column_of)
        assert clean(data, missing="nan") == ["MKT", None, "GIG"]


def test_every_estimator_takes_a_data_set(case, checkpoint):
    expected = case.new(checkpoint).fit_transform(case.sequences)
    for X in (Dataset({"seq": case.sequences}), Column(case.sequences)):
        assert_same_rows(case.new(checkpoint).fit_transform(X), expected)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": ["a"], "seq": ["MKT"]}, "X must have one column; got 2 columns ('id', 'seq'). Select"),
        ({}, "Found array with 0 sample(s) (shape=(0, 0)) while a minimum of 1 is required."),
        ({"seq": []}, "Found array with 0 sample(s) (shape=(0, 1)) while a minimum of 1 is required."),
    ],
    ids=["two columns", "no column", "no rows"],
)
def test_a_data_set_without_just_one_column_is_refused_as_a_frame_is(columns, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        clean(Dataset(columns))


def test_a_streamed_data_set_has_no_length():
    class IterableDataset:
        column_names = property(lambda self: ["seq"])

        def __iter__(self):
            return iter([{"seq": "MKT"}])

    with pytest.raises(
        TypeError, match=r"^X must be a list or column of sequences; got IterableDataset\. Pass list"
    ):
        clean(IterableDataset())


# Objects that cannot be read


def fail(*_):
    raise KeyError("no such part")


def kind(**methods):
    return type(
        "Broken", (), {"__len__": lambda self: 1, "__iter__": lambda self: iter(["A"]), **methods}
    )


class Table:
    """A table of one column, as those of pyarrow are read."""

    column_names = property(lambda self: ["seq"])
    num_rows = num_columns = property(lambda self: 1)

    def column(self, number):
        return ["MKT"]


BROKEN = {
    "length": kind(__len__=fail),
    "iteration": kind(__iter__=fail),
    "an item": kind(__iter__=lambda self: map(fail, [0])),
    "tolist": kind(tolist=fail),
    "to_pylist": kind(to_pylist=fail),
    "tolist gives no list": kind(tolist=lambda self: 3),
    "__array__": type("Broken", (), {"__array__": fail}),
    "column": type("Broken", (Table,), {"column": fail}),
    "column_names": type("Broken", (Table,), {"column_names": property(fail)}),
    "a column's tolist": type("Broken", (Table,), {"column": lambda *_: kind(tolist=fail)()}),
    "frame": type("Broken", (), {"iloc": property(fail), "ndim": property(fail)}),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_an_object_that_cannot_be_read_is_refused_with_its_type_and_the_cause(broken):
    with pytest.raises(TypeError, match=r"^X must be a list or column of sequences; got ") as error:
        clean(broken())
    cause = error.value.__cause__
    assert type(cause) in (KeyError, TypeError)
    assert str(error.value) == (
        "X must be a list or column of sequences; got Broken, which raised "
        f"{type(cause).__name__}: {cause}. Pass a list of strings."
    )


def test_every_estimator_says_that_it_cannot_read_an_object(case, checkpoint):
    fitted = case.new(checkpoint).fit(case.sequences)
    for call in (fitted.fit, fitted.transform):
        with pytest.raises(TypeError, match=r"^X must be a list or column of sequences; got Br"):
            call(BROKEN["an item"]())


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_an_interrupt_and_a_lack_of_memory_pass_through(error):
    def end(self):
        raise error

    with pytest.raises(error):
        clean(kind(tolist=end)())


def test_a_row_that_is_refused_is_not_said_to_be_unreadable():
    class Rows(list):
        def tolist(self):
            return list(self)

    with pytest.raises(TypeError, match=r"^Row 1 must be a string; got 7"):
        clean(Rows(["MKT", 7]))
