"""Fingerprint and architecture of a checkpoint, remembered so that it is read only once.

The key is path, size and times of change of each of its files. This process keeps the result in memory,
and a small note on disk gives it to workers and later processes.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from sklearn_esm._background import Stop, call_in_background
from sklearn_esm._checkpoints._architecture import Architecture
from sklearn_esm._checkpoints._file_state import (
    FileState,
    checksum_of,
    read_note,
    sha256_of,
    state_of,
    status_of,
    write_note,
)
from sklearn_esm._checkpoints._layout import CheckpointFiles, find_files, read_json
from sklearn_esm._checkpoints._reader import read_checkpoint
from sklearn_esm._locks import fork_safe_lock

# Some file systems store times in steps of two seconds. A file younger than that can change again
# without a new time, and a note on disk would then stay wrong.
_SETTLED = 2 * 10**9
_SUFFIX = ".json"

# entries of config.json and adapter_config.json that describe training, saving, labels or files; every
# other entry is part of the fingerprint
_INCIDENTAL = {
    *("_name_or_path", "architectures", "auto_map", "transformers_version", "torch_dtype", "dtype"),
    *("id2label", "label2id", "problem_type", "finetuning_task", "num_labels", "use_cache"),
    *("initializer_range", "hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"),
    *("auto_mapping", "peft_version", "task_type", "inference_mode", "lora_dropout"),
    *("base_model_name_or_path", "revision"),  # the base's own files are hashed
    "target_modules",  # the adapter's tensors decide, and peft saves them in any order
}


class CheckpointState(NamedTuple):
    """A checkpoint's file or folder, and the state of each of its files, after resolving links."""

    path: str
    files: tuple[FileState, ...]


@dataclass(frozen=True)
class Identity:
    """SHA-256 of a checkpoint, and the architecture read from it.

    ``state`` is what was read. Copies of a checkpoint compare equal.
    """

    fingerprint: str
    architecture: Architecture
    state: CheckpointState = field(compare=False, repr=False)

    @property
    def path(self) -> Path:
        return Path(self.state.path)


@dataclass(frozen=True)
class Watch:
    """The files of a checkpoint, given by the names under which they were found, and their states.

    The names are not resolved, so that a link that is changed is noticed.
    """

    files: tuple[tuple[str, tuple[int, int, int, int, int]], ...]

    def is_unchanged(self) -> bool:
        """Return whether the files are what they were, at the cost of a system call for each."""
        try:
            return all(status_of(path) == status for path, status in self.files)
        except OSError:
            return False


_known: dict[CheckpointState, Identity] = {}
_lock = fork_safe_lock()


def identify(path: Path) -> Identity:
    """Return the identity of a checkpoint, read once for each state of its files.

    Files modified less than two seconds ago are hashed again at each call, because they can change
    again without a new time of modification.

    Raises
    ------
    FileNotFoundError
        If the file or folder does not exist.
    ValueError
        If it is not a readable checkpoint of a sequence model.
    """
    known = _known.get(_state(path))
    if known is not None:
        return known
    return call_in_background(partial(_identify, path))


def watch(path: Path, identity: Identity) -> Watch | None:
    """Return a watch over the files of a checkpoint that was identified.

    Returns
    -------
    Watch or None
        None if a file was modified less than two seconds before it was identified, because it could
        change without a new state, or if the files have changed since.
    """
    if identity.state not in _known:
        return None
    found = find_files(path).all
    names = found if path.is_dir() else [path, *found[1:]]
    states = [state[1:] for state in identity.state.files]
    if path.is_dir():
        names, states = [*names, path], [*states, status_of(path)]  # a file may be added or removed
    watch = Watch(tuple(zip(map(str, names), states, strict=False)))
    # compared after that, because the status of a folder is newer than the identity
    return watch if _state(path) == identity.state else None


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
            if started - max(file.modified for file in state.files) > _SETTLED:
                _known[state] = identity
                if recalled is None:
                    _note(identity)
            return identity


def _state(path: Path) -> CheckpointState:
    file = state_of(path)
    alone = CheckpointState(file.path, (file,))
    # a PyTorch file that is known need not be opened to see that it is one
    return alone if alone in _known else _state_of_all(find_files(path))


def _state_of_all(files: CheckpointFiles) -> CheckpointState:
    return CheckpointState(str(files.path), tuple(state_of(path) for path in files.all))


def _find_out(state: CheckpointState, stop: Stop) -> Identity:
    path = Path(state.path)
    files = find_files(path)
    fingerprint = _fingerprint_of(files, stop)
    architecture = read_checkpoint(path).architecture
    return Identity(fingerprint, architecture, _state_of_all(files))


def _fingerprint_of(files: CheckpointFiles, stop: Stop) -> str:
    """Return the SHA-256 of a single file, or that of all that decides the numbers.

    An index is left out, because the reader checks that the shards hold what it lists.
    """
    hashes = [sha256_of(path, stop.check) for path in files.weights]
    if files.config is None:
        return hashes[0]
    settings = read_json(files.config)
    parts: dict[str, Any] = {
        "weights": hashes,
        "config": {name: value for name, value in settings.items() if name not in _INCIDENTAL},
    }
    if files.base is not None:
        parts["base"] = _fingerprint_of(files.base, stop)
    return checksum_of(parts)


def _recall(state: CheckpointState) -> Identity | None:
    note = read_note(state.path, _SUFFIX)
    try:
        if note is None or note["file"] != _flat(state):
            return None
        return Identity(note["fingerprint"], Architecture(**note["architecture"]), state)
    except (LookupError, TypeError):
        return None  # of another version of the package: read the checkpoint


def _note(identity: Identity) -> None:
    note: dict[str, object] = {
        "file": _flat(identity.state),
        "fingerprint": identity.fingerprint,
        "architecture": asdict(identity.architecture),
    }
    write_note(identity.state.path, _SUFFIX, note)


def _flat(state: CheckpointState) -> list[str | int]:
    return list(chain.from_iterable(state.files))
