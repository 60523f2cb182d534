"""Embed the partitions of a table in the tasks of Dask, Ray Data or Spark."""

from __future__ import annotations

import sys
from copy import copy
from typing import Any

import numpy as np

from sklearn_esm._columns import items_of
from sklearn_esm._embedding import ESMEmbeddingTransformer
from sklearn_esm._sequences import SequenceError, shorten

__all__ = ["embed_partition", "partition_meta"]

_MAX_OFFSET = 2**31 - 1  # of the numbers in one chunk of a list column of Arrow
_ROW_SHOWN = 200  # characters of a row in a message


def embed_partition(
    frame: Any, *, column: str, estimator: ESMEmbeddingTransformer, name: str = "embedding"
) -> Any:
    """Return a table with a column of vectors added, one for each sequence.

    Pass this function to ``map_partitions`` of Dask, ``map_batches`` of Ray Data or ``mapInArrow`` of
    Spark. Each worker process loads the model once, and a task is sent a few hundred bytes.

    Parameters
    ----------
    frame : pandas.DataFrame, pyarrow.Table or polars.DataFrame
        One partition. It may have no rows.

    column : str
        Column of sequences.

    estimator : ESMEmbeddingTransformer
        How to embed, fitted or not. If it is fitted, a worker whose weights are others raises an
        error. ``n_jobs`` has no effect, because the engine runs several tasks already.
        ``cache="memory"`` has no effect either: it would hold up to 512 MiB in each worker, and most
        sequences are in one partition only. A folder must be on a disk of the worker's machine.
        ``pooling`` must not be None.

    name : str, default="embedding"
        Column to add.

    Returns
    -------
    pandas.DataFrame, pyarrow.Table or polars.DataFrame
        A table of the same library with all columns, the same rows in the same order, and the new
        column as the last one. In pyarrow and polars its type is a list of float32. In pandas its
        objects are float32 arrays, of which ``numpy.stack`` makes a matrix. The types are the same if
        there are no rows. A missing sequence with ``missing="nan"`` has a vector of NaN.

    Raises
    ------
    ValueError
        If a sequence or a parameter is invalid. The message has the row of the partition, counted from
        0, and what its other columns hold.
    TypeError
        If the table is of another library, or the estimator of another class.

    See Also
    --------
    partition_meta : Return the columns and types of the result, for Dask.

    Notes
    -----
    In a parquet file the column is a list of float32, which every reader of parquet has. Its type does
    not have the number of features, so that a partition without rows needs no checkpoint.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from sklearn_esm import ESMEmbeddingTransformer
    >>> from sklearn_esm.distributed import embed_partition
    >>> peptides = pa.table({"id": ["magainin", "GLP-1"], "sequence": ["GIGKFLHSAKKF", "HAEGTFTSD"]})
    >>> embed = ESMEmbeddingTransformer("esm2_t6_1M_bundled")
    >>> vectors = embed_partition(peptides, column="sequence", estimator=embed)
    >>> vectors.column_names
    ['id', 'sequence', 'embedding']
    >>> len(vectors["embedding"][0])
    128
    """
    _check(frame, column, estimator, name)
    vectors = np.empty((0, 1), dtype=np.float32)
    if len(frame):
        try:
            vectors = _embed(frame[column], estimator)
        except SequenceError as error:
            row, problem, noun, rows = error.args
            problem += _rest_of_row(frame, column, row)
            raise SequenceError(row, problem, noun, rows) from None
    return _with_column(frame, name, vectors)


def partition_meta(
    frame: Any, *, column: str, estimator: ESMEmbeddingTransformer, name: str = "embedding"
) -> Any:
    """Return what :func:`embed_partition` returns for a table without rows: its columns and types.

    Dask needs it as ``meta``. Without it, Dask would run the model on invented sequences.

    Parameters
    ----------
    frame : dask.dataframe.DataFrame, or a partition of one
        Table to embed.

    column : str
        Column of sequences.

    estimator : ESMEmbeddingTransformer
        As for :func:`embed_partition`. Its checkpoint is not looked up.

    name : str, default="embedding"
        Column to add.

    Returns
    -------
    pandas.DataFrame, pyarrow.Table or polars.DataFrame
        A table without rows. Of a Dask DataFrame it is a pandas.DataFrame.

    Raises
    ------
    ValueError, TypeError
        If a parameter is invalid.

    See Also
    --------
    embed_partition : Add the column.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_esm import ESMEmbeddingTransformer
    >>> from sklearn_esm.distributed import partition_meta
    >>> frame = pd.DataFrame({"id": [1], "sequence": ["GIGKFLHSAKKF"]})
    >>> embed = ESMEmbeddingTransformer("esm2_t6_1M_bundled")
    >>> partition_meta(frame, column="sequence", estimator=embed).dtypes["embedding"]
    dtype('O')
    """
    partition = getattr(frame, "_meta", frame)[:0]
    return embed_partition(partition, column=column, estimator=estimator, name=name)


def _check(frame: Any, column: str, estimator: Any, name: str) -> None:
    if not isinstance(estimator, ESMEmbeddingTransformer):
        raise TypeError(
            f"estimator must be an ESMEmbeddingTransformer; got {type(estimator).__name__}. Apply "
            "further steps to the new column."
        )
    estimator._check_parameters()
    if estimator.pooling is None:
        raise ValueError(
            "pooling must reduce each sequence to one vector; got None. Set pooling='mean'."
        )
    columns = _columns(frame)
    if column not in columns:
        raise ValueError(f"column must be one of {columns}; got {column!r}.")
    if name in columns:
        raise ValueError(f"name must not be a column of the partition; got {name!r}. Pass another name.")


def _columns(frame: Any) -> list[Any]:
    if _is_a(frame, "pyarrow", "Table"):
        return list(frame.column_names)
    if _is_a(frame, "pandas", "DataFrame") or _is_a(frame, "polars", "DataFrame"):
        return list(frame.columns)
    raise TypeError(
        "A partition must be a pandas.DataFrame, pyarrow.Table or polars.DataFrame; got "
        f"{type(frame).__name__}. Pass batch_format='pyarrow' to map_batches of Ray Data, or "
        "pyarrow.Table.from_batches([batch]) in mapInArrow of Spark."
    )


def _is_a(frame: Any, library: str, kind: str) -> bool:
    module = sys.modules.get(library)  # a table exists only if its library is imported
    return module is not None and isinstance(frame, getattr(module, kind))


def _embed(sequences: Any, estimator: ESMEmbeddingTransformer) -> np.ndarray:
    """Return the vectors of sequences, ``(sequences, features)``, computed in this process."""
    alone = copy(estimator)
    alone.n_jobs = 1
    if alone.cache == "memory":
        alone.cache = None
    fitted = hasattr(alone, "model_fingerprint_")
    # set_output can make it a table
    return np.asarray(alone.transform(sequences) if fitted else alone.fit_transform(sequences))


def _rest_of_row(frame: Any, column: str, row: int) -> str:
    """Return what the other columns hold, as the end of a message."""
    one = frame[row : row + 1]
    others = [other for other in _columns(frame) if other != column]
    if not others:
        return ""
    held = ", ".join(f"{other}={items_of(one[other])[0]!r}" for other in others)
    return f" In the same row of the partition: {shorten(held, _ROW_SHOWN)}."


def _with_column(frame: Any, name: str, vectors: np.ndarray) -> Any:
    if _is_a(frame, "pyarrow", "Table"):
        return frame.append_column(name, _lists_of_arrow(vectors))
    if _is_a(frame, "polars", "DataFrame"):
        polars = sys.modules["polars"]
        kind = polars.List(polars.Float32)
        if not len(vectors):  # the oldest versions cannot make a column of an array without rows
            return frame.with_columns(polars.Series(name, [], dtype=kind))
        return frame.with_columns(polars.Series(name, vectors).arr.to_list())
    # not a type of Arrow, because pandas cannot read a parquet file that was written from one of lists
    column = sys.modules["pandas"].Series(list(vectors), index=frame.index, dtype=object)
    return frame.assign(**{name: column})


def _lists_of_arrow(vectors: np.ndarray) -> Any:
    """Return rows as a chunked array of lists of float32, without a copy."""
    pa = sys.modules["pyarrow"]
    rows, width = vectors.shape
    at_once = max(1, _MAX_OFFSET // width)
    chunks = []
    for start in range(0, rows, at_once):
        part = vectors[start : start + at_once]
        offsets = np.arange(len(part) + 1, dtype=np.int32) * np.int32(width)
        chunks.append(pa.ListArray.from_arrays(pa.array(offsets), pa.array(part.ravel())))
    return pa.chunked_array(chunks, pa.list_(pa.float32()))
