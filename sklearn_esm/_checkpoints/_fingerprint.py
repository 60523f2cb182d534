"""Fingerprint and architecture of a checkpoint, remembered so that it is read only once.

The key is path, size and times of change of each of its files. This process keeps the result in memory,
and a small note on disk gives it to workers and later processes.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from sklearn_esm._background import Stop, call_in_background
from sklearn_esm._checkpoints._architecture import Architecture
from sklearn_esm._checkpoints._download import checkpoint_folder
from sklearn_esm._checkpoints._layout import CheckpointFiles, find_files, read_json
from sklearn_esm._checkpoints._reader import read_checkpoint
from sklearn_esm._locks import fork_safe_lock

# Some file systems store times in steps of two seconds. A file younger than that can change again
# without a new time, and a note on disk would then stay wrong.
_SETTLED = 2 * 10**9

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
    real = os.path.realpath(path)
    alone = CheckpointState(real, (_state_of(real, os.stat(real)),))
    # a PyTorch file that is known need not be opened to see that it is one
    return alone if alone in _known else _state_of_all(find_files(path))


def _state_of_all(files: CheckpointFiles) -> CheckpointState:
    # resolve links once, so that a link changed in between cannot switch the file
    real = [os.path.realpath(path) for path in files.all]
    return CheckpointState(str(files.path), tuple(_state_of(path, os.stat(path)) for path in real))


def _state_of(path: str, status: os.stat_result) -> FileState:
    return FileState(
        path, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_dev, status.st_ino
    )


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
    hashes = [_sha256(path, stop) for path in files.weights]
    if files.config is None:
        return hashes[0]
    settings = read_json(files.config)
    parts: dict[str, Any] = {
        "weights": hashes,
        "config": {name: value for name, value in settings.items() if name not in _INCIDENTAL},
    }
    if files.base is not None:
        parts["base"] = _fingerprint_of(files.base, stop)
    return _checksum(parts)


def _sha256(path: Path, stop: Stop) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            stop.check()
            digest.update(chunk)
    return digest.hexdigest()


def _recall(state: CheckpointState) -> Identity | None:
    try:
        note = json.loads(_note_file(state).read_text(encoding="utf-8"))
        if note.pop("checksum") != _checksum(note) or note["file"] != _flat(state):
            return None
        return Identity(note["fingerprint"], Architecture(**note["architecture"]), state)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError):
        return None  # no note, no home folder, or a damaged note: read the checkpoint


def _note(identity: Identity) -> None:
    note: dict[str, object] = {
        "file": _flat(identity.state),
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


def _flat(state: CheckpointState) -> list[str | int]:
    return list(chain.from_iterable(state.files))


def _note_file(state: CheckpointState) -> Path:
    name = hashlib.sha256(os.fsencode(state.path)).hexdigest()[:32]
    # torch keeps a literal "~" for a user without a home folder; expanduser raises instead
    return checkpoint_folder().expanduser().parent / "sklearn_esm" / f"{name}.json"


def _checksum(note: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(note, sort_keys=True).encode()).hexdigest()
