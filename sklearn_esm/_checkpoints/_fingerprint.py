"""Fingerprint and architecture of a checkpoint file, remembered so that it is read only once.

The key is the file's path, size and times of change. This process keeps the result in memory, and a
small note on disk gives it to workers and later processes.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from sklearn_esm._background import Stop, call_in_background
from sklearn_esm._checkpoints._architecture import Architecture
from sklearn_esm._checkpoints._download import checkpoint_folder
from sklearn_esm._checkpoints._fair_esm_format import read_checkpoint
from sklearn_esm._locks import fork_safe_lock

# Some file systems store times in steps of two seconds. A file younger than that can change again
# without a new time, and a note on disk would then stay wrong.
_SETTLED = 2 * 10**9


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


@dataclass(frozen=True)
class Identity:
    """SHA-256 of a checkpoint file, and the architecture read from it.

    ``state`` is the file that was read, after resolving links. Copies of a file compare equal.
    """

    fingerprint: str
    architecture: Architecture
    state: FileState = field(compare=False, repr=False)

    @property
    def path(self) -> Path:
        return Path(self.state.path)


_known: dict[FileState, Identity] = {}
_lock = fork_safe_lock()


def identify(path: Path) -> Identity:
    """Return the identity of a checkpoint file, read once for each state of the file.

    A file modified less than two seconds ago is hashed again at each call, because it can change
    again without a new time of modification.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file is not a readable checkpoint of a sequence model.
    """
    known = _known.get(_state(path))
    if known is not None:
        return known
    return call_in_background(partial(_identify, path))


def _identify(path: Path, stop: Stop) -> Identity:
    with _lock:
        while True:
            state = _state(path)
            if state in _known:
                return _known[state]
            started = time.time_ns()
            recalled = _recall(state)
            identity = recalled or _find_out(state, stop)
            if not state == identity.state == _state(path):
                continue  # changed while it was read
            if started - state.modified > _SETTLED:
                _known[state] = identity
                if recalled is None:
                    _note(identity)
            return identity


def _state(path: Path) -> FileState:
    # resolve links once, so that a link changed in between cannot switch the file
    real = os.path.realpath(path)
    return _state_of(real, os.stat(real))


def _state_of(path: str, status: os.stat_result) -> FileState:
    return FileState(
        path, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_dev, status.st_ino
    )


def _find_out(state: FileState, stop: Stop) -> Identity:
    digest = hashlib.sha256()
    with open(state.path, "rb") as file:
        while chunk := file.read(1 << 20):
            stop.check()
            digest.update(chunk)
        architecture = read_checkpoint(Path(state.path)).architecture
        after = _state_of(state.path, os.fstat(file.fileno()))
    return Identity(digest.hexdigest(), architecture, after)


def _recall(state: FileState) -> Identity | None:
    try:
        note = json.loads(_note_file(state).read_text(encoding="utf-8"))
        if note.pop("checksum") != _checksum(note) or note["file"] != list(state):
            return None
        return Identity(note["fingerprint"], Architecture(**note["architecture"]), state)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError):
        return None  # no note, no home folder, or a damaged note: read the checkpoint


def _note(identity: Identity) -> None:
    note: dict[str, object] = {
        "file": list(identity.state),
        "fingerprint": identity.fingerprint,
        "architecture": asdict(identity.architecture),
    }
    try:
        target = _note_file(identity.state)
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=target.parent, suffix=".part")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump({**note, "checksum": _checksum(note)}, file)
            os.replace(draft, target)
        except OSError:
            os.unlink(draft)
    except (OSError, RuntimeError):
        pass  # no space, read-only or no home folder: the next process reads the checkpoint again


def _note_file(state: FileState) -> Path:
    name = hashlib.sha256(os.fsencode(state.path)).hexdigest()[:32]
    # torch keeps a literal "~" for a user without a home folder; expanduser raises instead
    return checkpoint_folder().expanduser().parent / "sklearn_esm" / f"{name}.json"


def _checksum(note: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(note, sort_keys=True).encode()).hexdigest()
