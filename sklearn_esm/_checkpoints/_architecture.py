"""The architecture of a model, and an opened checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Architecture:
    """Shape and family of a model, read from the content of its checkpoint.

    ``family`` is ``"esm2"``, ``"esm1b"``, ``"esm1"`` or ``"esmc"``. ESM-1v is an ESM-1b whose checkpoint
    has no ``emb_layer_norm_before``. ``max_length`` is in residues.
    """

    family: str
    layers: int
    width: int
    heads: int
    token_dropout: bool
    max_length: int | None

    @property
    def alphabet(self) -> str:
        """Name of the family's alphabet: ESM-2 has that of ESM-1b."""
        return {"esm1": "ESM-1", "esmc": "ESM-C"}.get(self.family, "ESM-1b")

    @property
    def has_eos(self) -> bool:
        return self.family != "esm1"


@dataclass(frozen=True)
class Checkpoint:
    """An opened checkpoint: path, architecture, and tensors by canonical names.

    These are fair-esm's names, and for what fair-esm does not have, those of transformers' ``Esmc``.
    """

    path: Path
    architecture: Architecture
    weights: Mapping[str, Tensor]
