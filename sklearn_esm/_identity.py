"""What a checkpoint file is, fingerprint and architecture, remembered so that it need not be opened.

Read once, a checkpoint of gigabytes is known by its path, its size and the times of its last changes:
to this process, and through a small note on the disk to every later one and to its workers.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from sklearn_esm._checkpoint import Architecture, read_checkpoint
from sklearn_esm._download import checkpoint_folder

# Some file systems keep times in steps of two seconds: a file written just now could be written
# again without a change of its time, and what is on the disk would outlive that.
_SETTLED = 2 * 10**9


@dataclass(frozen=True)
class Identity:
    """SHA-256 of a checkpoint file, and the architecture read from it."""

    fingerprint: str
    architecture: Architecture


# The time of the inode's change too: copying and unpacking may give two contents one modification time.
_Key = tuple[str, int, int, int]  # path, size, modification time, time of the inode's last change

_known: dict[_Key, Identity] = {}
_lock = threading.Lock()


def identify(path: Path) -> Identity:
    """The identity of a checkpoint file, found out once per path, size and times of last change.

    Raises
    ------
    FileNotFoundError
        Where there is no such file.
    ValueError
        Where the file is no readable checkpoint of a sequence model.
    """
    with _lock:
        # asked again after the reading: the file may have been replaced meanwhile
        while (key := _key(path)) not in _known:
            _known[key] = _recall(key) or _find_out(path, key)
        return _known[key]


def _key(path: Path) -> _Key:
    status = path.stat()
    return str(path), status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _find_out(path: Path, key: _Key) -> Identity:
    started = time.time_ns()
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    identity = Identity(digest.hexdigest(), read_checkpoint(path).architecture)
    if started - key[2] > _SETTLED:
        _note(key, identity)
    return identity


def _recall(key: _Key) -> Identity | None:
    try:
        note = json.loads(_note_file(key).read_text(encoding="utf-8"))
        if note.pop("checksum") != _checksum(note) or note["file"] != list(key):
            return None
        return Identity(note["fingerprint"], Architecture(**note["architecture"]))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError):
        return None  # none there, no home, or a damaged one: the checkpoint itself is asked


def _note(key: _Key, identity: Identity) -> None:
    note = {"file": list(key), **asdict(identity)}
    try:
        target = _note_file(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=target.parent, suffix=".part")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump({**note, "checksum": _checksum(note)}, file)
            os.replace(draft, target)
        except OSError:
            os.unlink(draft)
    except (OSError, RuntimeError):
        pass  # full, read-only, no home: the next process reads the checkpoint again, only slower


def _note_file(key: _Key) -> Path:
    name = hashlib.sha256(os.fsencode(key[0])).hexdigest()[:32]
    # torch leaves a "~" as it is for a user without a home; as a folder's name it would be taken
    return checkpoint_folder().expanduser().parent / "sklearn_esm" / f"{name}.json"


def _checksum(note: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(note, sort_keys=True).encode()).hexdigest()
