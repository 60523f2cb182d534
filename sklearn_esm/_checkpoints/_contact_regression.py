"""Find or download the contact regression of a checkpoint, and read it.

The contact regression is a logistic regression over the attention maps. fair-esm keeps it in its own
file beside the weights, ``<name>-contact-regression.pt``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sklearn_esm._checkpoints._architecture import Architecture
from sklearn_esm._checkpoints._catalog import BUNDLED_MODEL, published_model
from sklearn_esm._checkpoints._download import regression_file
from sklearn_esm._checkpoints._locate import find_checkpoint, is_path
from sklearn_esm._checkpoints._tensors import check_tensor
from sklearn_esm._checkpoints._torch_file import load_weights_only

_WEIGHT = "contact_head.regression.weight"
_BIAS = "contact_head.regression.bias"


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
    if is_path(model) or os.fspath(model) == BUNDLED_MODEL:
        return
    if published_model(os.fspath(model)).family == "esm1v":
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
        If the file is damaged or of another model.
    """
    if is_path(model) or os.fspath(model) == BUNDLED_MODEL:
        path = _beside(find_checkpoint(model))
        if not path.is_file():
            raise FileNotFoundError(
                f"The contact regression {path} does not exist. Copy the one of this model there, "
                "under this name. ESM-1v models have none."
            )
    else:
        path = regression_file(os.fspath(model))
    return _read(path, architecture)


def _beside(checkpoint: Path) -> Path:
    return checkpoint.with_name(f"{checkpoint.stem}-contact-regression.pt")


def _read(path: Path, architecture: Architecture) -> ContactRegression:
    data = load_weights_only(path)
    tensors: Any = data.get("model") if isinstance(data, Mapping) else None
    if not isinstance(tensors, Mapping) or not {_WEIGHT, _BIAS} <= set(tensors):
        raise ValueError(
            f"{path} must be a contact regression in fair-esm's format; got a file without the tensors "
            f"{_WEIGHT} and {_BIAS}. Download or copy the file again."
        )
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
