"""Read the column of sequences from a list, an array or a table of any library."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set, Sized
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np

_COLUMNS_SHOWN = 10
_FASTA_SUFFIXES = (".fasta", ".fa", ".faa", ".fas", ".fsa", ".fna")
_PATH_SHOWN = 60
_Layout: TypeAlias = "tuple[tuple[int, ...], list[Any], Any]"  # shape, names of columns, first column


def items_of(X: Any, *, allow_empty: bool = False) -> list[Any]:
    """Return the items of a list, an array, a column or a one-column table, as Python objects.

    Raises
    ------
    ValueError
        If X is a single sequence, is empty and may not be, has several columns or dimensions, or
        holds paths of FASTA files.
    TypeError
        If X has an unsupported type or cannot be read.
    """
    _refuse_containers(X)
    shape, names, column = _layout(X)
    if shape[0] == 0 and not allow_empty:
        raise ValueError(
            f"Found array with 0 sample(s) (shape={shape}) while a minimum of 1 is required."
        )
    if len(shape) > 1 and shape[1] == 0:
        raise ValueError(
            f"Found array with 0 feature(s) (shape={shape}) while a minimum of 1 is required: "
            "X must have one column, the sequences."
        )
    if len(shape) > 1 and shape[1] > 1:
        shown = ", ".join(map(repr, names[:_COLUMNS_SHOWN]))
        more = ", ..." if len(names) > _COLUMNS_SHOWN else ""
        raise ValueError(
            f"X must have one column; got {shape[1]} columns ({shown}{more}). Select the column of "
            "sequences, for instance with a ColumnTransformer."
        )
    with _explained(X):
        items = _to_list(column)
    if items and _is_fasta_path(items[0]) and all(map(_is_fasta_path, items)):
        raise ValueError(_path_message(items[0]))
    return items


def labels_of(X: Any, rows: Sequence[int]) -> list[Any]:
    """Return the labels of rows of a pandas object; none if they are the numbers of the rows."""
    if not hasattr(type(X), "iloc"):
        return []
    labels = X.iloc[list(rows)].index.tolist()
    return [] if labels == list(rows) else labels


def is_biopython_seq(item: Any) -> bool:
    """Return whether an object is a ``Seq`` of Biopython, without importing Biopython."""
    return any(base.__module__ == "Bio.Seq" for base in type(item).__mro__)


def _refuse_containers(X: Any) -> None:
    kind = type(X).__name__
    if isinstance(X, str) and _has_fasta_suffix(X):
        raise ValueError(_path_message(X))
    if isinstance(X, os.PathLike):
        raise TypeError(_path_message(X))
    if isinstance(X, tuple) and hasattr(X, "sequences"):
        raise ValueError(f"X must be a list or column of sequences; got {kind}. Pass X.sequences.")
    # checked on the class, because a table with a column "seq" has an attribute of that name
    if isinstance(X, str) or is_biopython_seq(X) or hasattr(type(X), "seq"):
        raise ValueError(
            f"X must be a list or column of sequences; got a single {kind}. Pass [sequence]."
        )
    if isinstance(X, (bytes, bytearray, memoryview)):
        raise TypeError(f"X must be a list or column of sequences; got {kind}. Pass [X.decode()].")
    if isinstance(X, Mapping):
        raise TypeError(f"X must be a list or column of sequences; got {kind}. Pass list(X.values()).")
    if isinstance(X, Set):
        raise TypeError(f"X must have an order; got {kind}. Pass sorted(X).")
    if hasattr(type(X), "tocsr"):
        raise TypeError(
            f"X must hold sequences; got the sparse matrix {kind}. Pass a list or column of sequences."
        )


def _is_fasta_path(item: Any) -> bool:
    if not isinstance(item, str):
        return isinstance(item, os.PathLike)
    if not _has_fasta_suffix(item):
        return False
    # a row of an alignment can end in ".fa"
    return "/" in item or "\\" in item or ".fasta" in item[1:].lower() or os.path.isfile(item)


def _has_fasta_suffix(text: str) -> bool:
    # the end only, because a sequence is long
    return text[-20:].rstrip().lower().removesuffix(".gz").endswith(_FASTA_SUFFIXES)


def _path_message(path: Any) -> str:
    shown = str(os.fsdecode(path))  # str, because numpy's strings have another repr
    if len(shown) > _PATH_SHOWN:
        shown = "..." + shown[3 - _PATH_SHOWN :]
    return (
        f"X must be a list or column of sequences; got the path {shown!r}. Read a FASTA file with "
        "names, sequences = sklearn_esm.read_fasta(path), and pass sequences."
    )


def _layout(X: Any) -> _Layout:
    """Return the shape, the names of the columns, and the first column, if any."""
    kind = type(X)
    with _explained(X):
        table = _table_layout(X)
    if table is not None:
        return table
    if isinstance(X, np.ndarray):
        return _array_layout(X)
    if hasattr(kind, "__array__") and not _list_methods(kind):
        with _explained(X):
            array = np.asarray(X)
        return _array_layout(array)
    if not isinstance(X, Sized) or not isinstance(X, Iterable):
        raise TypeError(
            f"X must be a list or column of sequences; got {kind.__name__}. Pass list(X) for a "
            "generator or parser."
        )
    with _explained(X):
        return (len(X),), [], X


def _table_layout(X: Any) -> _Layout | None:
    """Return the layout of a table, or None if X is not a table."""
    kind = type(X)
    if hasattr(kind, "column_names") and hasattr(kind, "num_rows"):
        names = list(X.column_names)
        shape = X.num_rows, len(names)  # pyarrow's batches have no shape before version 15
        if not names:
            return shape, names, None
        # pyarrow by number, because names can be repeated; Hugging Face data sets by name
        return shape, names, X.column(0) if hasattr(kind, "column") else X[names[0]]
    if hasattr(kind, "get_columns"):  # polars
        return X.shape, X.columns, X.get_columns()[0] if X.width else None
    if hasattr(kind, "iloc") and X.ndim == 2:  # pandas
        return X.shape, list(X.columns), X.iloc[:, 0] if X.shape[1] else None
    return None


def _array_layout(X: np.ndarray) -> tuple[tuple[int, ...], list[Any], Any]:
    if X.ndim not in (1, 2):
        raise ValueError(
            f"Found array with dim {X.ndim} (shape={X.shape}). X must have one dimension, or two with "
            "a single column. Pass X.ravel() if every item is a sequence."
        )
    if X.ndim == 1:
        return X.shape, [], X
    return X.shape, list(range(X.shape[1])), X[:, 0] if X.shape[1] else None


def _to_list(column: Any) -> list[Any]:
    methods = _list_methods(type(column))
    return list(getattr(column, methods[0])() if methods else column)


def _list_methods(kind: type) -> list[str]:
    # pyarrow, pandas and numpy, then polars; iterating over pyarrow yields scalar objects
    return [name for name in ("to_pylist", "tolist", "to_list") if hasattr(kind, name)]


@contextmanager
def _explained(X: Any) -> Iterator[None]:
    """Raise TypeError if the methods of X raise any error."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        raise TypeError(
            f"X must be a list or column of sequences; got {type(X).__name__}, which raised "
            f"{type(error).__name__}: {error}. Pass a list of strings."
        ) from error
