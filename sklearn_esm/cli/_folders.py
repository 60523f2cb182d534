"""Folders in which files are complete or absent: on this machine, or behind an address such as s3://."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from sklearn_esm._optional_dependencies import import_extra
from sklearn_esm.cli._drafts import draft_of


class Folder(Protocol):
    """A folder, created with its first file."""

    def names(self) -> list[str]:
        """Return the names of the files; none if there is no folder."""

    def new(self, name: str) -> Any:
        """Return a context manager with a path; the file written there gets the name."""

    def remove(self, name: str) -> None:
        """Remove a file, if it exists."""


class LocalFolder:
    """A folder on this machine."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        """Return the names of the files."""
        return [path.name for path in self.path.iterdir()] if self.path.is_dir() else []

    @contextmanager
    def new(self, name: str) -> Iterator[Path]:
        """Yield a draft beside the file."""
        self.path.mkdir(exist_ok=True)
        try:
            with draft_of(self.path / name) as draft:
                yield draft
        except BaseException:
            self.remove_if_empty()
            raise

    def remove(self, name: str) -> None:
        """Remove a file."""
        (self.path / name).unlink(missing_ok=True)

    def remove_if_empty(self) -> None:
        """Remove the folder, if it exists and has no file."""
        with suppress(OSError):
            self.path.rmdir()


class RemoteFolder:
    """A folder behind an address, which fsspec opens; an object store shows complete files only."""

    def __init__(self, address: str) -> None:
        fsspec = import_extra("fsspec", of=f"The address {address}", extra="dask")
        self._files, self._path = fsspec.core.url_to_fs(address.rstrip("/"))

    def names(self) -> list[str]:
        """Return the names of the files."""
        self._files.invalidate_cache()
        try:
            found = self._files.ls(self._path, detail=False)
        except FileNotFoundError:
            return []
        return [path.rstrip("/").rpartition("/")[2] for path in found]

    @contextmanager
    def new(self, name: str) -> Iterator[Path]:
        """Yield a path on this machine, and upload the file."""
        with tempfile.TemporaryDirectory(prefix="sklearn-esm-") as folder:
            draft = Path(folder) / name
            yield draft
            self._files.makedirs(self._path, exist_ok=True)
            self._files.put_file(str(draft), f"{self._path}/{name}")

    def remove(self, name: str) -> None:
        """Remove a file."""
        with suppress(FileNotFoundError):
            self._files.rm_file(f"{self._path}/{name}")


def is_address(path: str) -> bool:
    """Return whether a path is an address such as ``s3://bucket/folder``."""
    return "://" in path
