"""The contact regression of a checkpoint: find or download it, and read it.

It is a file of its own: fair-esm keeps a logistic regression over the attention maps beside the
weights, as ``<name>-contact-regression.pt``.
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
    """Coefficients ``(layers x heads,)`` float32 in the order of blocks and heads, and intercept."""

    weights: np.ndarray
    bias: float

    @cached_property
    def fingerprint(self) -> str:
        """A hash of both, for the names of cached contacts."""
        numbers = [*self.weights.tolist(), self.bias]
        return hashlib.sha256(repr(numbers).encode()).hexdigest()[:16]


def check_has_contacts(model: str | os.PathLike[str]) -> None:
    """Raise ValueError for a model that was published without a contact regression."""
    if is_path(model) or os.fspath(model) == BUNDLED_MODEL:
        return
    if published_model(os.fspath(model)).family == "esm1v":
        raise ValueError(
            f"{model} predicts no contacts: Meta published the ESM-1v models without a contact "
            "regression. Pass an ESM-2 model, ESM-1b or ESM-1."
        )


def find_regression(model: str | os.PathLike[str], architecture: Architecture) -> ContactRegression:
    """The contact regression of a model given by name or path.

    Raises
    ------
    FileNotFoundError
        Where there is none beside the checkpoint, or it can be neither found nor downloaded.
    ValueError
        If the file is damaged or of another model, or a tensor in it has another type or shape.
    """
    if is_path(model) or os.fspath(model) == BUNDLED_MODEL:
        path = _beside(find_checkpoint(model))
        if not path.is_file():
            raise FileNotFoundError(
                f"There is no contact regression at {path}. Put the one of this model there, by this "
                "name, as fair-esm does; ESM-1v models have none."
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
            f"{path} is no contact regression in fair-esm's format: it has no tensors {_WEIGHT} and "
            f"{_BIAS}. Download or copy the file again."
        )
    layers, heads = architecture.layers, architecture.heads
    remedy = (
        f"The model has {layers} layers of {heads} attention heads. Download or copy the right file."
    )
    check_tensor(path, _WEIGHT, tensors, (1, layers * heads), remedy)
    check_tensor(path, _BIAS, tensors, (1,), remedy)
    weights = np.array(tensors[_WEIGHT].tolist()[0], dtype=np.float32)  # (layers x heads,)
    bias = float(tensors[_BIAS].float().item())
    if not (np.isfinite(weights).all() and np.isfinite(bias)):
        raise ValueError(f"{path} holds numbers that are not finite. Download or copy it again.")
    return ContactRegression(weights, bias)
