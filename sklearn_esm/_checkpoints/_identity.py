"""Identify a model given by name or path: before its weights are on this machine, and from them."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sklearn_esm._checkpoints._architecture import Architecture
from sklearn_esm._checkpoints._catalog import ESMC
from sklearn_esm._checkpoints._esmc_format import esmc_architecture
from sklearn_esm._checkpoints._fingerprint import CheckpointState, Identity, identify
from sklearn_esm._checkpoints._hub import Repository, at_commit, cached_commits, settings_file
from sklearn_esm._checkpoints._hugging_face_format import architecture_of
from sklearn_esm._checkpoints._layout import CONFIG, read_json
from sklearn_esm._checkpoints._locate import find_checkpoint, find_repository


@dataclass(frozen=True)
class HubIdentity(Identity):
    """Identity of a model on the Hugging Face Hub: its repository and commit.

    Its weights may not be on this machine yet.
    """

    reference: str = ""

    @property
    def path(self) -> Path:
        """Repository and commit, for messages."""
        return Path(self.reference)


# whose config.json need not name the type of model
_OF_ESMC = {model.hub.repository for model in ESMC.values() if model.hub is not None}

_known: dict[str, HubIdentity] = {}
# the content of each repository and commit whose weights were read in this process
_contents: dict[str, str] = {}


def identify_model(model: str | os.PathLike[str]) -> Identity:
    """Return the identity of a model, for which a repository's weights are not needed.

    Raises
    ------
    FileNotFoundError, PermissionError, ConnectionError, ImportError
        If the model is not on this machine and cannot be downloaded.
    ValueError
        If the model is not a readable sequence model.
    """
    repository = find_repository(model)
    if repository is None:
        return identify(find_checkpoint(model))
    reference = str(at_commit(repository))
    if reference not in _known:
        _known[reference] = _identify_repository(at_commit(repository))
    return _known[reference]


def identify_weights(model: str | os.PathLike[str]) -> tuple[str, Identity]:
    """Return the fingerprint of a model as in `identify_model`, and the identity of its files.

    The weights are downloaded if they are not on this machine.

    Raises
    ------
    ValueError
        If files of a repository's commit have changed since this process read them.
    """
    if find_repository(model) is None:
        files = identify(find_checkpoint(model))
        return files.fingerprint, files
    identity = identify_model(model)
    files = identify(find_checkpoint(model))
    content = _contents.setdefault(identity.fingerprint, files.fingerprint)
    if content != files.fingerprint:
        raise ValueError(
            f"The files of {identity.path} in {files.path} must not change while they are used; got "
            "others than before. Restart Python to use them."
        )
    return identity.fingerprint, files


def former_reference(identity: HubIdentity, fingerprint: str) -> str | None:
    """Return the repository and commit of a fingerprint if the cache has it, else None."""
    name = identity.reference.partition("@")[0]
    references = (f"{name}@{commit}" for commit in cached_commits(name))
    return next((one for one in references if _sha256(one) == fingerprint), None)


def _identify_repository(repository: Repository) -> HubIdentity:
    path = settings_file(repository)
    settings = read_json(path)
    name = str(repository)
    if path.name == CONFIG:
        architecture = _architecture(repository, settings)
    else:
        base = identify_model(_base_of(path, settings))
        architecture = base.architecture
        name = f"{name} on {base.fingerprint}"
    nothing = CheckpointState(str(repository), ())
    return HubIdentity(_sha256(name), architecture, nothing, str(repository))


def _architecture(repository: Repository, settings: dict[str, Any]) -> Architecture:
    try:
        if settings.get("model_type") == "esmc" or repository.name in _OF_ESMC:
            return esmc_architecture(settings)
        return architecture_of(settings)
    except ValueError as error:
        raise ValueError(f"{repository}: {error}") from error


def _base_of(path: Path, settings: dict[str, Any]) -> str:
    base, revision = settings.get("base_model_name_or_path"), settings.get("revision")
    if not isinstance(base, str) or not base:
        raise ValueError(
            f"{path} must name its base model in base_model_name_or_path; got {base!r}. Merge the "
            "adapter with peft's merge_and_unload, and pass the folder."
        )
    return f"{base}@{revision}" if revision else base


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
