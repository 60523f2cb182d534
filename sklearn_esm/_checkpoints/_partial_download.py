"""A partial download, kept under another name until it is complete."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sklearn_esm._checkpoints._file_size import ARCHIVE, PICKLE


class OtherFileError(Exception):
    """The downloaded bytes do not begin like a PyTorch file."""


class Part:
    """The bytes received so far, and the version of the server's file that they belong to."""

    def __init__(self, url: str, target: Path) -> None:
        self.url = url
        self.target = target
        self.path = target.with_name(f"{target.name}.part")
        self._note = target.with_name(f"{target.name}.part.json")

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def version(self) -> str | None:
        """ETag or date of the partial file, None if it cannot be resumed."""
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
            return str(note["version"]) if note["url"] == self.url and self.size else None
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
        ):  # missing, or truncated when the process was killed
            return None

    def begin(self, version: str | None) -> None:
        self.path.unlink(missing_ok=True)  # before the note, so that old bytes never get the new version
        self._note.unlink(missing_ok=True)
        if version is not None:
            note = json.dumps({"url": self.url, "version": version})
            self._note.write_text(note, encoding="utf-8")

    def check_beginning(self) -> None:
        """Raise OtherFileError if the first bytes are not those of a PyTorch file."""
        with self.path.open("rb") as file:
            beginning = file.read(16)
        if not beginning.startswith((ARCHIVE, PICKLE)):
            raise OtherFileError(f"a file that begins with {beginning!r}")

    def finish(self) -> None:
        """Give the file its final name."""
        self.check_beginning()
        os.replace(self.path, self.target)
        self._note.unlink(missing_ok=True)

    def kept(self) -> str:
        if self.version is None:
            return "Nothing is kept; the next call starts from the beginning."
        return f"The first {self.size} bytes are kept in {self.path}; the next call resumes there."

    def remedy(self) -> str:
        return (
            "Set SKLEARN_ESM_MIRROR to another server with fair-esm's files, "
            f"or copy the file to {self.target}."
        )


@contextmanager
def disk_errors_explained(path: Path, total: int | None = None) -> Iterator[None]:
    """Add the file and the fix to every OSError."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(
                error.errno,
                f"{path} cannot be written: {error}. Set TORCH_HOME to a writable folder.",
            ) from error
        needed = ""
        if total is not None:
            part = path.with_name(f"{path.name}.part")
            missing = total - (part.stat().st_size if part.exists() else 0)
            free = shutil.disk_usage(path.parent).free
            needed = f" It needs {missing} more bytes, and {free} bytes are free."
        raise OSError(
            error.errno,
            f"The disk or your quota is full: cannot write {path}.{needed} "
            "Free some space, or set TORCH_HOME to a folder on another disk.",
        ) from error
