"""Write embedded parts one after the other as npz, parquet or HDF5."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sklearn_esm._optional_dependencies import import_extra
from sklearn_esm.cli._parts import Embedded


class Content(NamedTuple):
    """What a file holds besides names and vectors."""

    model: str
    layers: Sequence[int]
    poolings: Sequence[str]  # empty for the states of residues
    features: Sequence[str]
    dtype: np.dtype[Any]
    wide: bool = False  # parquet: one column per feature


class Parts(NamedTuple):
    """Parts to write, read one at a time, as often as needed."""

    rows: int
    longest_name: int  # characters
    read: Callable[[], Iterator[Embedded]]


class Format(NamedTuple):
    """How to write a file with a suffix."""

    library: str | None
    write: Callable[[Any, Content, Parts], None]
    holds_residues: bool

    def check(self) -> None:
        """Raise ImportError if the library is not installed."""
        if self.library is not None:
            _imported(self.library)


def write_npz(file: Any, content: Content, parts: Parts) -> None:
    """Write the arrays ``names`` and ``embeddings`` to a path or an open file."""
    # a unicode array, because an object array needs pickle
    text = np.dtype((np.str_, max(1, parts.longest_name)))
    with zipfile.ZipFile(file, "w") as archive:
        names = (np.array(part.names, dtype=text) for part in parts.read())
        _write_array(archive, "names", (parts.rows,), text, names)
        shape = (parts.rows, len(content.features))
        values = (part.values for part in parts.read())
        _write_array(archive, "embeddings", shape, content.dtype, values)


def _write_array(
    archive: zipfile.ZipFile,
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    blocks: Iterable[np.ndarray],
) -> None:
    """Write an array of which only one block of rows is in memory."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
        np.lib.format.write_array_header_2_0(entry, header)
        for block in blocks:
            entry.write(np.ascontiguousarray(block, dtype=dtype).data.cast("B") if block.size else b"")


def write_parquet(file: Any, content: Content, parts: Parts) -> None:
    """Write the columns ``name`` and ``embedding``, or one column per feature; a row group per part."""
    pa, parquet = _imported("pyarrow"), _imported("pyarrow.parquet")
    kind = pa.from_numpy_dtype(content.dtype)
    vector = pa.list_(kind, len(content.features))
    if content.wide:
        columns = [(feature, kind) for feature in content.features]
    else:
        columns = [("embedding", vector if content.poolings else pa.list_(vector))]
    metadata = {
        "model": content.model,
        "layer": ",".join(map(str, content.layers)),
        "pooling": ",".join(content.poolings) or "none",
    }
    schema = pa.schema([("name", pa.string()), *columns], metadata=metadata)
    # dictionary encoding helps only if values repeat
    with parquet.ParquetWriter(file, schema, use_dictionary=False) as writer:
        for part in parts.read():
            values = part.values
            if content.wide:
                arrays = [pa.array(np.ascontiguousarray(column)) for column in values.T]
            else:
                arrays = [
                    pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
                ]
            if part.lengths is not None:
                ends = np.concatenate([[0], np.cumsum(part.lengths)]).astype(np.int32)
                arrays = [pa.ListArray.from_arrays(pa.array(ends), arrays[0])]
            names = pa.array(part.names, pa.string())
            writer.write_table(pa.Table.from_arrays([names, *arrays], schema=schema))


def write_hdf5(file: Any, content: Content, parts: Parts) -> None:
    """Write the datasets ``names`` and ``embeddings``, or a group ``residues`` with one per record."""
    h5py = _imported("h5py")
    try:
        with h5py.File(file, "w") as opened:
            names = opened.create_dataset("names", (parts.rows,), h5py.string_dtype("utf-8"))
            shape = (parts.rows, len(content.features))
            if content.poolings:
                vectors = opened.create_dataset("embeddings", shape, content.dtype)
            else:
                residues = opened.create_group("residues")
            opened.attrs["model"] = content.model
            opened.attrs["layer"] = list(content.layers)
            opened.attrs["pooling"] = list(content.poolings) or "none"
            row = 0
            for part in parts.read():
                end = row + len(part.names)
                names[row:end] = np.array(part.names, dtype=object)
                if part.lengths is None:
                    vectors[row:end] = part.values
                else:
                    for number, states in enumerate(
                        np.split(part.values, np.cumsum(part.lengths)[:-1]), start=row
                    ):
                        residues.create_dataset(str(number), data=states)
                row = end
    except RuntimeError as error:  # h5py raises RuntimeError when the disk is full
        raise OSError(str(error)) from error


def save_part(path: Path, part: Embedded) -> None:
    """Write a part that `load_part` reads."""
    names = [name.encode() for name in part.names]
    arrays: dict[str, Any] = {
        "names": np.frombuffer(b"".join(names), dtype=np.uint8),
        "ends": np.cumsum([0, *map(len, names)]),
        "values": part.values,
    }
    if part.lengths is not None:
        arrays["lengths"] = part.lengths
    with path.open("wb") as file:  # savez would append .npz to a path
        np.savez(file, **arrays)


def load_part(path: Path) -> Embedded:
    """Return a part."""
    with np.load(path, allow_pickle=False) as arrays:
        text, ends = arrays["names"].tobytes(), arrays["ends"].tolist()
        names = [text[start:end].decode() for start, end in pairwise(ends)]
        return Embedded(names, arrays["values"], arrays.get("lengths"))


def _imported(name: str) -> Any:
    return import_extra(name, of="This format", extra="cli")


FORMATS = {
    ".npz": Format(None, write_npz, holds_residues=False),
    ".parquet": Format("pyarrow", write_parquet, holds_residues=True),
    ".h5": Format("h5py", write_hdf5, holds_residues=True),
}
