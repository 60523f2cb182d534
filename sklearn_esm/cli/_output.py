"""What ``embed`` writes: npz, parquet or HDF5, whole or not at all."""

from __future__ import annotations

import errno
import os
import sys
import uuid
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sklearn_esm._optional_dependencies import import_extra
from sklearn_esm.cli._errors import discard_output

_REMEDIES = {
    errno.ENOENT: "Make its folder first",
    errno.ENOSPC: "Make room there",
    errno.EDQUOT: "Make room there",
    errno.EFBIG: "Raise the limit of a file's size",
}


class Embeddings(NamedTuple):
    """Vectors of named records, and where they come from."""

    names: Sequence[str]
    vectors: np.ndarray  # (records, features), float32
    features: Sequence[str]
    model: str
    layers: Sequence[int]
    poolings: Sequence[str]


class Destination:
    """A file, or standard output.

    Parameters
    ----------
    output : str
        A path whose end says the format, or ``"-"``.
    source : str or None, default=None
        The file that the records are read from, or ``"-"``.

    Raises
    ------
    ValueError
        If the end names no format, for a terminal, and if the output would overwrite the source.
    """

    def __init__(self, output: str, source: str | None = None) -> None:
        self._path: Path | None = None
        if output == "-":
            if sys.stdout.isatty():
                raise ValueError("-o - writes binary data: redirect it to a file or a pipe.")
            return
        # resolved: where the name is a link, what it leads to is replaced
        self._path = Path(output).expanduser().resolve()
        if self._path.suffix.lower() not in _WRITERS:
            raise ValueError(
                f"-o {output} has none of the formats {', '.join(_WRITERS)}. Let the name end in one of "
                "them, or pass - for npz on standard output."
            )
        if source is not None and source != "-" and _is_same(source, self._path):
            raise ValueError(
                f"-o must be another file than the input; got {output}, which is {source}. Pass another "
                "name to -o."
            )

    def __str__(self) -> str:
        return "standard output" if self._path is None else str(self._path)

    def check(self) -> None:
        """Fail before the work where it could not be written after it."""
        if self._path is None:
            return
        library, _ = _WRITERS[self._path.suffix.lower()]
        if library is not None:
            _imported(library)
        if self._path.is_dir():
            raise IsADirectoryError(f"{self._path} is a folder. Pass the name of a file.")
        with _draft(self._path) as draft:
            draft.touch()

    def write(self, embeddings: Embeddings) -> None:
        """Write all of it; a file appears under its name when the disk has the whole."""
        if self._path is None:
            try:
                _write_arrays(sys.stdout.buffer, embeddings)
                sys.stdout.buffer.flush()
            except BrokenPipeError:
                discard_output()
                raise
            except OSError as error:
                discard_output()
                reason = f"{self} cannot be written: {error.strerror}."
                raise OSError(error.errno, reason) from error
            return
        _, write = _WRITERS[self._path.suffix.lower()]
        with _draft(self._path) as draft:
            write(draft, embeddings)
            with draft.open("r+b") as file:
                os.fsync(file.fileno())  # the name must not reach the disk before the bytes do
            os.replace(draft, self._path)


def _is_same(source: str, output: Path) -> bool:
    """Return whether two paths lead to one file, through links as well."""
    try:
        return os.path.samefile(os.path.expanduser(source), output)
    except OSError:  # one of them is not there
        return False


@contextmanager
def _draft(path: Path) -> Iterator[Path]:
    """A new name in the folder of a file; nothing is left under it."""
    # after the file's own ending, so that no pattern such as *.npz takes it for a finished one
    draft = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        yield draft
    except OSError as error:
        reason = error.strerror or str(error)
        remedy = _REMEDIES.get(error.errno or 0, "See to the rights there")
        raise OSError(
            error.errno, f"{path} cannot be written: {reason}. {remedy}, or pass another file to -o."
        ) from error
    finally:
        with suppress(OSError):
            draft.unlink()


def _write_npz(path: Path, embeddings: Embeddings) -> None:
    with path.open("wb") as file:
        _write_arrays(file, embeddings)


def _write_arrays(file: Any, embeddings: Embeddings) -> None:
    # a unicode array rather than objects, which only pickle could write and read
    names = np.array(embeddings.names, dtype=np.str_)
    # not numpy.savez: before 2.2 it leaves an archive open that it could not write
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in {"names": names, "embeddings": embeddings.vectors}.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


def _write_parquet(path: Path, embeddings: Embeddings) -> None:
    pa, parquet = _imported("pyarrow"), _imported("pyarrow.parquet")
    columns = {"name": pa.array(embeddings.names, pa.string())}
    for feature, column in zip(embeddings.features, embeddings.vectors.T, strict=True):
        columns[feature] = pa.array(np.ascontiguousarray(column))
    # dictionaries pay where values repeat
    parquet.write_table(pa.table(columns), str(path), use_dictionary=False)


def _write_hdf5(path: Path, embeddings: Embeddings) -> None:
    h5py = _imported("h5py")
    try:
        with h5py.File(path, "w") as file:
            text = h5py.string_dtype("utf-8")
            file.create_dataset("names", data=np.array(embeddings.names, dtype=object), dtype=text)
            file.create_dataset("embeddings", data=embeddings.vectors)
            file.attrs["model"] = embeddings.model
            file.attrs["layer"] = list(embeddings.layers)
            file.attrs["pooling"] = list(embeddings.poolings)
    except RuntimeError as error:  # where the disk is full, this is how the library says it
        raise OSError(str(error)) from error


def _imported(name: str) -> Any:
    return import_extra(name, of="This format", extra="cli")


_WRITERS: dict[str, tuple[str | None, Callable[[Path, Embeddings], None]]] = {
    ".npz": (None, _write_npz),
    ".parquet": ("pyarrow", _write_parquet),
    ".h5": ("h5py", _write_hdf5),
}
