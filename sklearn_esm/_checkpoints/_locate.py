"""Find the checkpoint of a model given by name or path."""

from __future__ import annotations

import os
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from sklearn_esm._checkpoints._catalog import ALIASES, BUNDLED_MODEL, CATALOG, ESMC, check_kind
from sklearn_esm._checkpoints._download import checkpoint_file
from sklearn_esm._checkpoints._hub import Repository, at_commit, repository_of, snapshot_folder

_SUFFIXES = (".pt", ".pth", ".safetensors")
_BEGINNINGS = ("./", "../", "~/", ".\\", "..\\", "~\\")


def find_checkpoint(model: str | os.PathLike[str]) -> Path:
    """Return the checkpoint of a model given by name or path, and download it if needed.

    Returns
    -------
    Path
        A file, or a folder with settings and weights. A repository of the Hugging Face Hub gives the
        folder of its commit in the Hub's cache.

    Raises
    ------
    FileNotFoundError
        If a path does not exist, or a checkpoint is missing and downloads are forbidden.
    PermissionError, ConnectionError, ImportError
        If a repository cannot be read without a login, without a connection, or without the extra
        ``hub``.
    ValueError
        If a name is unknown, or if the model is not a sequence model.
    """
    text = os.fspath(model)
    if text == BUNDLED_MODEL:
        return Path(__file__).parents[1] / "bundled" / f"{BUNDLED_MODEL}.pt"
    repository = find_repository(model)
    if repository is not None:
        return snapshot_folder(at_commit(repository))
    if not is_path(model):
        return checkpoint_file(text)
    remedy = (
        "Pass the path of a .pt file, of a .safetensors file or of a folder written by save_pretrained, "
        "or the name of a published model, such as 'esm2_t6_8M_UR50D'."
    )
    try:
        path = Path(text).expanduser()
        mode = path.stat().st_mode
        found = S_ISREG(mode) or (S_ISDIR(mode) and not text.endswith(_SUFFIXES))
    except (FileNotFoundError, NotADirectoryError):
        found = False
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(getattr(error, "strerror", error)).rstrip(".")
        raise FileNotFoundError(
            f"model must be the path of an existing file; got {text!r} ({reason}). {remedy}"
        ) from error
    if not found:
        raise FileNotFoundError(f"model must be the path of an existing file; got {path}. {remedy}")
    return path.absolute()


def find_repository(model: str | os.PathLike[str]) -> Repository | None:
    """Return the repository of the Hugging Face Hub that a model is in, None for other models.

    Raises
    ------
    ValueError
        If the repository is known to hold a model of a kind that is not supported.
    """
    if is_path(model):
        return None
    text = os.fspath(model)
    repository = repository_of(text)
    if repository is not None:
        check_kind(repository.name)
    return repository


def is_path(model: str | os.PathLike[str]) -> bool:
    """Return whether a model is given by a path rather than a name.

    A published name is never a path, so that it gives the same model whatever files exist. Other text
    with a slash is a path if it begins or ends like one, or if such a file or folder exists.
    """
    text = os.fspath(model)
    if text in CATALOG or text in ALIASES or text in ESMC or text == BUNDLED_MODEL:
        return False
    if text.endswith(_SUFFIXES) or text.startswith(_BEGINNINGS) or os.path.isabs(text):
        return True
    try:
        path = Path(text).expanduser()
        return text != "" and (path.is_file() or path.is_dir())
    except (OSError, ValueError, RuntimeError):  # too long, not encodable, or of an unknown user
        return False


def model_label(model: str | os.PathLike[str]) -> str:
    """Return a model's label in feature names and messages.

    A file's stem, a folder's name, or a repository's name without its owner and revision.
    """
    text = os.fspath(model)
    if text.endswith(_SUFFIXES):
        return Path(text).stem
    if is_path(model):
        return Path(text).expanduser().absolute().name
    return text.split("@")[0].rsplit("/", 1)[-1]
