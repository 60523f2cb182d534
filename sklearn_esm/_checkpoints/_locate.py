"""Find the checkpoint of a model given by name or path."""

from __future__ import annotations

import os
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from sklearn_esm._checkpoints._catalog import ALIASES, BUNDLED_MODEL, CATALOG
from sklearn_esm._checkpoints._download import checkpoint_file

_SUFFIXES = (".pt", ".pth", ".safetensors")


def find_checkpoint(model: str | os.PathLike[str]) -> Path:
    """Return the checkpoint of a model given by name or path, and download it if needed.

    Raises
    ------
    FileNotFoundError
        If a path does not exist, or a checkpoint is missing and downloads are forbidden.
    ValueError
        If a name is unknown, or if the model is not a sequence model.
    """
    text = os.fspath(model)
    if text == BUNDLED_MODEL:
        return Path(__file__).parents[1] / "bundled" / f"{BUNDLED_MODEL}.pt"
    if not is_path(model):
        return checkpoint_file(text)
    remedy = (
        "Pass the path of a .pt file in fair-esm's format, or the name of a published model, such as "
        "'esm2_t6_8M_UR50D'."
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


def is_path(model: str | os.PathLike[str]) -> bool:
    """Return whether a model is given by a path rather than a name.

    A published name is never a path, so that it gives the same model whatever files exist.
    """
    text = os.fspath(model)
    if text in CATALOG or text in ALIASES or text == BUNDLED_MODEL:
        return False
    if text.endswith(_SUFFIXES):
        return True
    # other text with a slash can be a name of the Hugging Face Hub
    try:
        path = Path(text).expanduser()
        return text != "" and (path.is_file() or path.is_dir())
    except (OSError, ValueError, RuntimeError):  # too long, not encodable, or of an unknown user
        return False


def model_label(model: str | os.PathLike[str]) -> str:
    """Return a model's label in feature names and messages: a file's stem, or a name."""
    text = os.fspath(model)
    if text.endswith(_SUFFIXES):
        return Path(text).stem
    return Path(text).expanduser().absolute().name if is_path(text) else text
