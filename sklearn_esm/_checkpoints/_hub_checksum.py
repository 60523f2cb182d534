"""Check the SHA-256 of a pinned file, once for each state of the file on this machine."""

from __future__ import annotations

from pathlib import Path

from sklearn_esm._checkpoints._file_state import FileState, read_note, sha256_of, state_of, write_note

_SUFFIX = ".sha256.json"

_known: dict[FileState, str] = {}


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
    state = state_of(path)
    if state not in _known:
        _known[state] = _recall(state) or _compute(state)
    if _known[state] != expected:
        raise ValueError(
            f"{path} must be the file of {source}, with SHA-256 {expected}; got {_known[state]}. Delete "
            f"{state.path} to download it again. If a new download has the same SHA-256, do not use it, "
            "and report this."
        )


def _compute(state: FileState) -> str:
    sha256 = sha256_of(state.path)
    if state_of(state.path) == state:
        write_note(state.path, _SUFFIX, {"file": list(state), "sha256": sha256})
    return sha256


def _recall(state: FileState) -> str | None:
    note = read_note(state.path, _SUFFIX)
    return str(note["sha256"]) if note and note.get("file") == list(state) and "sha256" in note else None
