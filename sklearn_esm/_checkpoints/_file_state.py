"""The state of a file, its SHA-256, and small notes on disk about files that were read."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sklearn_esm._checkpoints._download import checkpoint_folder

_CHUNK = 1 << 20


class FileState(NamedTuple):
    """A file's path, and the metadata that change with its content.

    The inode's time of change is included, because copying and unpacking can preserve the time of
    modification.
    """

    path: str
    size: int
    modified: int  # nanoseconds since 1970
    changed: int  # nanoseconds since 1970, of the inode
    device: int
    inode: int


def state_of(path: str | Path) -> FileState:
    """Return the state of a file, after resolving links."""
    # links are resolved once, so that a link changed in between cannot switch the file
    real = os.path.realpath(path)
    return FileState(real, *status_of(real))


def status_of(path: str | Path) -> tuple[int, int, int, int, int]:
    """Return what a `FileState` has beside the path, of the file to which the path leads."""
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_dev, status.st_ino


def sha256_of(path: str | Path, check: Callable[[], None] = lambda: None) -> str:
    """Return the SHA-256 of a file. ``check`` is called before each chunk, and raises to stop."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            check()
            digest.update(chunk)
    return digest.hexdigest()


def read_note(path: str, suffix: str) -> dict[str, Any] | None:
    """Return the note about a file or folder; None if there is none, or if it is damaged."""
    try:
        note = json.loads(_note_file(path, suffix).read_text(encoding="utf-8"))
        if note.pop("checksum") != checksum_of(note):
            return None
        return dict(note)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError):
        return None  # no note, no home folder, or a damaged note


def write_note(path: str, suffix: str, note: Mapping[str, object]) -> None:
    """Write a note about a file or folder atomically, if the disk allows it."""
    try:
        target = _note_file(path, suffix)
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=target.parent, suffix=".part")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump({**note, "checksum": checksum_of(note)}, file)
            os.replace(draft, target)
        except OSError:
            os.unlink(draft)
    except (OSError, RuntimeError):
        pass  # no space, read-only or no home folder: the next process reads the file again


def checksum_of(note: Mapping[str, object]) -> str:
    """Return the SHA-256 of a mapping's JSON, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(note, sort_keys=True).encode()).hexdigest()


def _note_file(path: str, suffix: str) -> Path:
    name = hashlib.sha256(os.fsencode(path)).hexdigest()[:32]
    # torch keeps a literal "~" for a user without a home folder; expanduser raises instead
    return checkpoint_folder().expanduser().parent / "sklearn_esm" / f"{name}{suffix}"
