"""Find the file of a model that is given by name or by path."""

from __future__ import annotations

import os
from pathlib import Path
from stat import S_ISREG

from sklearn_esm._checkpoints._catalog import ALIASES, BUNDLED_MODEL, CATALOG
from sklearn_esm._checkpoints._download import checkpoint_file


def find_checkpoint(model: str | os.PathLike[str]) -> Path:
    """The file of a model given by name or path; a published one is downloaded if it is not there.

    Raises
    ------
    FileNotFoundError
        If a path leads nowhere, or a name is not on this machine and the network is off.
    ValueError
        If a name is none of fair-esm's, or that of a model that does not read single sequences.
    """
    text = os.fspath(model)
    if text == BUNDLED_MODEL:
        return Path(__file__).parents[1] / "bundled" / f"{BUNDLED_MODEL}.pt"
    if not is_path(model):
        return checkpoint_file(text)
    remedy = (
        "Pass the path of an existing .pt file in fair-esm's format, or a published model by name, "
        "such as 'esm2_t6_8M_UR50D'."
    )
    try:
        path = Path(text).expanduser()
        found = S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        found = False
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(getattr(error, "strerror", error)).rstrip(".")
        raise FileNotFoundError(
            f"model={text!r} must be the path of an existing file: {reason}. {remedy}"
        ) from error
    if not found:
        raise FileNotFoundError(f"There is no checkpoint at {path}. {remedy}")
    return path.absolute()


def is_path(model: str | os.PathLike[str]) -> bool:
    """Return whether a model is given by the path of a file; else it is a name for any machine.

    A published name never is, whatever files there are: the same text gives the same model everywhere.
    """
    text = os.fspath(model)
    if text in CATALOG or text in ALIASES or text == BUNDLED_MODEL:
        return False
    if text.endswith(".pt"):
        return True
    # any other text with a slash may be a name of another hub, for which the catalog has advice
    try:
        return Path(text).expanduser().is_file()
    except (OSError, ValueError, RuntimeError):  # too long, not to be encoded, of an unknown user
        return False


def model_label(model: str | os.PathLike[str]) -> str:
    """The name a model goes by in feature names and messages: a path's stem, else the name."""
    text = os.fspath(model)
    return Path(text).stem if text.endswith(".pt") else text
