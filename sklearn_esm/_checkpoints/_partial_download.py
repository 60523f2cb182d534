"""What has arrived of a download: kept beside the file's own name until it is whole."""

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
    """What arrives does not begin like a PyTorch file."""


class Part:
    """What has arrived of a file so far, and which version of the file on the server it is of."""

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
        """The ETag or date of the version begun, None where nothing can be continued."""
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
            return str(note["version"]) if note["url"] == self.url and self.size else None
        except (OSError, ValueError, KeyError, TypeError):  # absent, or cut short by a kill
            return None

    def begin(self, version: str | None) -> None:
        self.path.unlink(missing_ok=True)  # before the note: old bytes never get the new version
        self._note.unlink(missing_ok=True)
        if version is not None:
            note = json.dumps({"url": self.url, "version": version})
            self._note.write_text(note, encoding="utf-8")

    def check_beginning(self) -> None:
        """Raise OtherFileError if the first bytes are those of another kind of file."""
        with self.path.open("rb") as file:
            beginning = file.read(16)
        if not beginning.startswith((ARCHIVE, PICKLE)):
            raise OtherFileError(f"a file that begins with {beginning!r}")

    def finish(self) -> None:
        """Give the file its name."""
        self.check_beginning()
        os.replace(self.path, self.target)
        self._note.unlink(missing_ok=True)

    def kept(self) -> str:
        if self.version is None:
            return "Nothing is kept; the next call starts again."
        return f"The first {self.size} bytes are kept in {self.path}; the next call goes on there."

    def way_out(self) -> str:
        return (
            "Set SKLEARN_ESM_MIRROR to another server with fair-esm's files, "
            f"or copy the file by hand to {self.target}."
        )


@contextmanager
def disk_errors_explained(path: Path, total: int | None = None) -> Iterator[None]:
    """Say in every error of the disk which file it is about, and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(
                error.errno,
                f"{path} cannot be written: {error}. Set TORCH_HOME to a folder that can.",
            ) from error
        needed = "room"
        if total is not None:
            part = path.with_name(f"{path.name}.part")
            missing = total - (part.stat().st_size if part.exists() else 0)
            free = shutil.disk_usage(path.parent).free
            needed = f"{missing} more bytes of room, and {free} bytes are free"
        raise OSError(
            error.errno,
            f"The disk (or your quota) is full: {path} needs {needed}. "
            "Make room, or set TORCH_HOME to a folder on another disk.",
        ) from error
