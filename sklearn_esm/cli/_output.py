"""Write embeddings as npz, parquet or HDF5, atomically."""

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
    errno.ENOENT: "Create the folder first",
    errno.ENOSPC: "Free space there",
    errno.EDQUOT: "Free space there",
    errno.EFBIG: "Raise the file size limit",
}


class Embeddings(NamedTuple):
    """Vectors of named records, with the model, layers and poolings that made them."""

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
        Path whose suffix selects the format, or ``"-"``.
    source : str or None, default=None
        Path of the input file, or ``"-"``.

    Raises
    ------
    ValueError
        If the suffix is unknown, the output is a terminal, or the output is the source.
    """

    def __init__(self, output: str, source: str | None = None) -> None:
        self._path: Path | None = None
        if output == "-":
            if sys.stdout.isatty():
                raise ValueError("-o - writes binary data. Redirect it to a file or a pipe.")
            return
        # resolved, so that the target of a link is replaced and not the link
        self._path = Path(output).expanduser().resolve()
        if self._path.suffix.lower() not in _WRITERS:
            raise ValueError(
                f"-o must end in one of {', '.join(_WRITERS)}; got {output}. Pass another name, or - "
                "for npz on standard output."
            )
        if source is not None and source != "-" and _is_same(source, self._path):
            raise ValueError(
                f"-o must be another file than the input; got {output}, which is {source}. Pass another "
                "name to -o."
            )

    def __str__(self) -> str:
        return "standard output" if self._path is None else str(self._path)

    def check(self) -> None:
        """Raise OSError or ImportError if the file cannot be written, before anything is computed."""
        if self._path is None:
            return
        library, _ = _WRITERS[self._path.suffix.lower()]
        if library is not None:
            _imported(library)
        if self._path.is_dir():
            raise IsADirectoryError(f"{self._path} is a folder. Pass a file to -o.")
        with _draft(self._path) as draft:
            draft.touch()

    def write(self, embeddings: Embeddings) -> None:
        """Write the embeddings, a file atomically."""
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
                os.fsync(file.fileno())  # the content must reach the disk before the name
            os.replace(draft, self._path)


def _is_same(source: str, output: Path) -> bool:
    """Return whether two paths lead to the same file, also through links."""
    try:
        return os.path.samefile(os.path.expanduser(source), output)
    except OSError:  # one of the files does not exist
        return False


@contextmanager
def _draft(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside a file, and remove what is left under it."""
    # .part comes last, so that a pattern such as *.npz does not match an unfinished file
    draft = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        yield draft
    except OSError as error:
        reason = error.strerror or str(error)
        remedy = _REMEDIES.get(error.errno or 0, "Check the permissions there")
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
    # a unicode array, because an object array needs pickle
    names = np.array(embeddings.names, dtype=np.str_)
    # not numpy.savez, because before numpy 2.2 it leaves the archive open after an error
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in {"names": names, "embeddings": embeddings.vectors}.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


def _write_parquet(path: Path, embeddings: Embeddings) -> None:
    pa, parquet = _imported("pyarrow"), _imported("pyarrow.parquet")
    columns = {"name": pa.array(embeddings.names, pa.string())}
    for feature, column in zip(embeddings.features, embeddings.vectors.T, strict=True):
        columns[feature] = pa.array(np.ascontiguousarray(column))
    # dictionary encoding helps only if values repeat
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
    except RuntimeError as error:  # h5py raises RuntimeError when the disk is full
        raise OSError(str(error)) from error


def _imported(name: str) -> Any:
    return import_extra(name, of="This format", extra="cli")


_WRITERS: dict[str, tuple[str | None, Callable[[Path, Embeddings], None]]] = {
    ".npz": (None, _write_npz),
    ".parquet": ("pyarrow", _write_parquet),
    ".h5": ("h5py", _write_hdf5),
}
