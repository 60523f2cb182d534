"""What a checkpoint file is, fingerprint and architecture, remembered so that it need not be opened.

Read once, a checkpoint of gigabytes is known by its path, size and modification time: to this
process, and through a small note on the disk to every later one and to its workers.
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


_known: dict[tuple[str, int, int], Identity] = {}
_lock = threading.Lock()


def identify(path: Path) -> Identity:
    """The identity of a checkpoint file, found out once per path, size and modification time.

    Raises
    ------
    FileNotFoundError
        Where there is no such file.
    ValueError
        Where the file is no readable checkpoint of a sequence model.
    """
    status = path.stat()
    key = (str(path), status.st_size, status.st_mtime_ns)
    with _lock:
        if key not in _known:
            _known[key] = _recall(key) or _find_out(path, key)
        return _known[key]


def _find_out(path: Path, key: tuple[str, int, int]) -> Identity:
    started = time.time_ns()
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    identity = Identity(digest.hexdigest(), read_checkpoint(path).architecture)
    if started - key[2] > _SETTLED:
        _note(key, identity)
    return identity


def _recall(key: tuple[str, int, int]) -> Identity | None:
    try:
        note = json.loads(_note_file(key).read_text(encoding="utf-8"))
        if note.pop("checksum") != _checksum(note) or note["file"] != list(key):
            return None
        return Identity(note["fingerprint"], Architecture(**note["architecture"]))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None  # none there, or a damaged one: the checkpoint itself is asked


def _note(key: tuple[str, int, int], identity: Identity) -> None:
    note = {"file": list(key), **asdict(identity)}
    target = _note_file(key)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=target.parent, suffix=".part")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump({**note, "checksum": _checksum(note)}, file)
            os.replace(draft, target)
        except OSError:
            os.unlink(draft)
    except OSError:
        pass  # full or read-only: the next process reads the checkpoint again, which is only slower


def _note_file(key: tuple[str, int, int]) -> Path:
    name = hashlib.sha256(os.fsencode(key[0])).hexdigest()[:32]
    return checkpoint_folder().parent / "sklearn_esm" / f"{name}.json"


def _checksum(note: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(note, sort_keys=True).encode()).hexdigest()
