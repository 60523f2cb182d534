"""Check what every function on variants is given: the reference, its numbering, and a column of rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from sklearn_esm._columns import items_of
from sklearn_esm._sequences import (
    MASK,
    SequenceError,
    clean_sequences,
    is_int,
    is_missing,
    reference_named,
    shorten,
)


def checked_reference(reference: Any, first_position: Any) -> str:
    """Return the clean reference, and raise an error if it or its numbering is invalid."""
    if not is_int(first_position):
        raise TypeError(
            "first_position must be an integer, the number of the reference's first residue; got "
            f"{first_position!r}."
        )
    if reference is None or (isinstance(reference, str) and not reference.strip()):
        raise ValueError(
            f"reference must be a sequence of residues; got {reference!r}. Pass the wild-type sequence."
        )
    with reference_named():
        (clean,) = clean_sequences([reference], invalid="error", missing="error")
    assert clean is not None  # missing="error"
    if MASK in clean:
        raise ValueError(
            f"reference must not have masks; got one at position {clean.index(MASK) + 1}. Write X for "
            "an unknown residue."
        )
    return clean


def texts_of(X: Any) -> list[str]:
    """Return the text of each row of a column of mutations.

    Raises
    ------
    SequenceError
        If a row is missing.
    TypeError
        If a row is not a text, or the column cannot be read.
    """
    return [item if isinstance(item, str) else _text(item, row) for row, item in enumerate(items_of(X))]


def column_of_texts(texts: list[str]) -> np.ndarray:
    """Return texts as an object array of shape (n_rows,)."""
    column = np.empty(len(texts), dtype=object)
    column[:] = texts
    return column


def _text(item: Any, row: int) -> str:
    if isinstance(item, list) and len(item) == 1:  # a row of a table of one column
        item = item[0]
    if isinstance(item, str):
        return item
    if is_missing(item):
        raise SequenceError(
            row,
            f"is missing: found {item!r}. Write 'WT' for the reference, or remove the row.",
            "Row",
        )
    raise TypeError(
        f"Row {row} must be a string of mutations such as 'A24G:K30R'; got {shorten(repr(item))} (type "
        f"{type(item).__name__})."
    )
