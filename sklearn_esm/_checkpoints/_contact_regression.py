"""Find or download the contact regression of a checkpoint, and read it.

The contact regression is a logistic regression over the attention maps. fair-esm keeps it in its own
file beside the weights, ``<name>-contact-regression.pt``; transformers keeps it among the weights.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from sklearn_esm._checkpoints._architecture import Architecture
from sklearn_esm._checkpoints._catalog import BUNDLED_MODEL, published_model
from sklearn_esm._checkpoints._download import regression_file
from sklearn_esm._checkpoints._layout import find_files
from sklearn_esm._checkpoints._locate import find_checkpoint, is_path, model_label
from sklearn_esm._checkpoints._reader import read_checkpoint
from sklearn_esm._checkpoints._tensors import check_tensor
from sklearn_esm._checkpoints._torch_file import load_weights_only

_WEIGHT = "contact_head.regression.weight"
_BIAS = "contact_head.regression.bias"
# names on the Hugging Face Hub of models whose regression was trained
_PUBLISHED = ("facebook/esm2_t", "facebook/esm1b_t")

# checkpoints whose regression was warned about in this process
_warned: set[str] = set()


@dataclass(frozen=True, eq=False)
class ContactRegression:
    """Coefficients ``(layers x heads,)`` float32, ordered by block and head, and intercept."""

    weights: np.ndarray
    bias: float

    @cached_property
    def fingerprint(self) -> str:
        """Hash of coefficients and intercept, part of the keys of cached contacts."""
        numbers = [*self.weights.tolist(), self.bias]
        return hashlib.sha256(repr(numbers).encode()).hexdigest()[:16]


def check_has_contacts(model: str | os.PathLike[str]) -> None:
    """Raise ValueError if a model was published without a contact regression."""
    text = os.fspath(model)
    if is_path(model) or text == BUNDLED_MODEL:
        return
    family = None if "/" in text else published_model(text).family
    if family == "esmc":
        _refuse_esmc(model)
    # the Hub's copies of ESM-1v have a random one
    if family == "esm1v" or text.startswith("facebook/esm1v"):
        raise ValueError(
            f"model must have a contact regression; got {model}. Meta published the ESM-1v models "
            "without one. Pass an ESM-2, ESM-1b or ESM-1 model."
        )


def find_regression(model: str | os.PathLike[str], architecture: Architecture) -> ContactRegression:
    """Return the contact regression of a model given by name or path.

    Raises
    ------
    FileNotFoundError
        If the file is missing and cannot be downloaded.
    ValueError
        If the file is damaged or of another model, or if the weights have no contact regression.

    Warns
    -----
    UserWarning
        Once in a process, if the regression comes from weights that may never have trained it.
    """
    if architecture.family == "esmc":
        _refuse_esmc(model)
    if is_path(model) or os.fspath(model) == BUNDLED_MODEL or "/" in os.fspath(model):
        checkpoint = find_checkpoint(model)
        if find_files(checkpoint).config is not None:
            return _among_weights(model, checkpoint, architecture)
        path = _beside(checkpoint)
        if not path.is_file():
            raise FileNotFoundError(
                f"The contact regression {path} does not exist. Copy the one of this model there, "
                "under this name. ESM-1v models have none."
            )
    else:
        path = regression_file(os.fspath(model))
    return _read(path, architecture)


def _refuse_esmc(model: str | os.PathLike[str]) -> NoReturn:
    raise ValueError(
        f"model must have a contact regression; got {model_label(model)}, an ESM C model. None was "
        "published for ESM C. Pass an ESM-2, ESM-1b or ESM-1 model."
    )


def _beside(checkpoint: Path) -> Path:
    return checkpoint.with_name(f"{checkpoint.stem}-contact-regression.pt")


def _among_weights(
    model: str | os.PathLike[str], path: Path, architecture: Architecture
) -> ContactRegression:
    weights = read_checkpoint(path).weights
    if _WEIGHT not in weights:
        raise ValueError(
            f"model must have a contact regression; got {path}, whose weights have no {_WEIGHT}. Pass a "
            "model with one, such as 'facebook/esm2_t6_8M_UR50D'."
        )
    regression = _regression(path, weights, architecture)
    # transformers saves a regression with every model, trained or not; Meta's own models have theirs
    published = not is_path(model) and os.fspath(model).startswith(_PUBLISHED)
    if not published and regression.fingerprint not in _warned:
        _warned.add(regression.fingerprint)
        warnings.warn(
            f"The contact regression of {model_label(model)!r} may be random, because transformers "
            "saves one with every model, and fine-tuning does not train it. Compare some contacts with "
            "known structures before you use them.",
            UserWarning,
            stacklevel=4,
        )
    return regression


def _read(path: Path, architecture: Architecture) -> ContactRegression:
    data = load_weights_only(path)
    tensors: Any = data.get("model") if isinstance(data, Mapping) else None
    if not isinstance(tensors, Mapping) or not {_WEIGHT, _BIAS} <= set(tensors):
        raise ValueError(
            f"{path} must be a contact regression in fair-esm's format; got a file without the tensors "
            f"{_WEIGHT} and {_BIAS}. Download or copy the file again."
        )
    return _regression(path, tensors, architecture)


def _regression(path: Path, tensors: Mapping[str, Any], architecture: Architecture) -> ContactRegression:
    layers, heads = architecture.layers, architecture.heads
    remedy = f"The model has {layers} layers of {heads} attention heads. Download or copy its own file."
    check_tensor(path, _WEIGHT, tensors, (1, layers * heads), remedy)
    check_tensor(path, _BIAS, tensors, (1,), remedy)
    weights = np.array(tensors[_WEIGHT].tolist()[0], dtype=np.float32)  # (layers x heads,)
    bias = float(tensors[_BIAS].float().item())
    if not (np.isfinite(weights).all() and np.isfinite(bias)):
        raise ValueError(
            f"{path} must hold finite numbers; got NaN or infinity. Download or copy it again."
        )
    return ContactRegression(weights, bias)
