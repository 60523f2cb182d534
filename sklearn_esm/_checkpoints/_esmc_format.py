"""Read architecture and tensors of ESM C."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sklearn_esm._checkpoints._architecture import Architecture, Checkpoint

if TYPE_CHECKING:
    from torch import Tensor


def is_esmc(names: Iterable[str]) -> bool:
    """Return whether tensors of these names are those of an ESM C model."""
    parts = ("transformer.blocks.0.attn.layernorm_qkv", "layers.0.input_layernorm")
    return any(part in name for name in names for part in parts)


def esmc_checkpoint(
    path: Path, tensors: Mapping[str, Tensor], config: Mapping[str, Any] | None = None
) -> Checkpoint:
    """Return the checkpoint of an ESM C model."""
    raise ValueError(f"{path} must be ESM-2, ESM-1b, ESM-1v or ESM-1; got ESM C.")


def esmc_architecture(config: Mapping[str, Any]) -> Architecture:
    """Return the architecture that a ``config.json`` of ESM C describes."""
    raise ValueError("model must be ESM-2, ESM-1b, ESM-1v or ESM-1; got ESM C.")
