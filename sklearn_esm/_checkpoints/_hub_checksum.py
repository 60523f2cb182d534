"""Check the SHA-256 of a pinned file, once for each state of the file on this machine."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from sklearn_esm._checkpoints._download import checkpoint_folder

_CHUNK = 1 << 20

# the SHA-256 of files by path, size and times of change
_known: dict[tuple[str | int, ...], str] = {}


def check_sha256(path: Path, expected: str, source: str) -> None:
    """Raise ValueError if a file does not have the SHA-256 of the published one.

    Parameters
    ----------
    path : Path
        File, or a link to it.
    expected : str
        SHA-256 in hexadecimal.
    source : str
        Repository and commit, for the message.
    """
    state = _state(path)
    if state not in _known:
        _known[state] = _recall(state) or _compute(state)
    if _known[state] != expected:
        raise ValueError(
            f"{path} must be the file of {source}, with SHA-256 {expected}; got {_known[state]}. Delete "
            f"{state[0]} to download it again. If a new download has the same SHA-256, do not use it, "
            "and report this."
        )


def _compute(state: tuple[str | int, ...]) -> str:
    digest = hashlib.sha256()
    with open(state[0], "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    sha256 = digest.hexdigest()
    if _state(Path(str(state[0]))) == state:
        _note(state, sha256)
    return sha256


def _state(path: Path) -> tuple[str | int, ...]:
    real = os.path.realpath(path)
    status = os.stat(real)
    return (real, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_dev, status.st_ino)


def _recall(state: tuple[str | int, ...]) -> str | None:
    try:
        note = json.loads(_note_file(state).read_text(encoding="utf-8"))
        return str(note["sha256"]) if note["file"] == list(state) else None
    except (OSError, ValueError, LookupError, TypeError, RuntimeError):
        return None  # no note, no home folder, or a damaged note: hash the file


def _note(state: tuple[str | int, ...], sha256: str) -> None:
    try:
        target = _note_file(state)
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_suffix(f".{os.getpid()}.part")
        draft.write_text(json.dumps({"file": list(state), "sha256": sha256}), encoding="utf-8")
        os.replace(draft, target)
    except (OSError, RuntimeError):
        pass  # no space, read-only or no home folder: the next process hashes the file again


def _note_file(state: tuple[str | int, ...]) -> Path:
    name = hashlib.sha256(os.fsencode(str(state[0]))).hexdigest()[:32]
    return checkpoint_folder().expanduser().parent / "sklearn_esm" / f"{name}.sha256.json"
