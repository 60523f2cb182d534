"""The tensors of a checkpoint, as linear layers and norms on one device and in one dtype."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from sklearn_esm._engine._linear import ARITHMETICS, Linear


class Weights:
    """Tensors by their canonical names, memory-mapped if dtype and device allow it.

    A layer has a bias if the checkpoint has one. Which tensors a family must have is checked when the
    checkpoint is read.
    """

    def __init__(
        self, path: Path, tensors: Mapping[str, Tensor], device: torch.device, dtype: str
    ) -> None:
        self.path = path
        self.tensors = tensors
        self.device = device
        self.dtype, self._linear = ARITHMETICS[dtype]

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def tensor(self, name: str, dtype: torch.dtype | None = None) -> Tensor:
        return self.tensors[name].to(self.device, dtype or self.dtype)

    def linear(self, name: str) -> Linear:
        return self._linear(self.tensor(f"{name}.weight"), self._bias(name, self.dtype))

    def norm(self, name: str, epsilon: float = 1e-5, dtype: torch.dtype = torch.float32) -> Norm:
        """Return a layer norm for inputs of a dtype, because GPUs require the same for its weights."""
        return Norm(self.tensor(f"{name}.weight", dtype), self._bias(name, dtype), epsilon)

    def _bias(self, name: str, dtype: torch.dtype) -> Tensor | None:
        bias = f"{name}.bias"
        return self.tensor(bias, dtype) if bias in self else None


class Norm:
    """Layer norm over the last dimension, with or without bias."""

    def __init__(self, weight: Tensor, bias: Tensor | None, epsilon: float) -> None:
        self.weight, self.bias, self.epsilon = weight, bias, epsilon  # (width,) each

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.epsilon)
