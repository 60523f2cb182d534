"""Token ids to the states before the first block: embeddings, token dropout and positions."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sklearn_esm._engine._tokens import Tokens
from sklearn_esm._engine._weights import Norm, Weights

# row of the first position in ESM-1b and ESM-1: fair-esm starts after the padding index, 1
_FIRST_POSITION = 2


class Embedding:
    """Token embeddings in float32, and the corrections of them that a family makes.

    Parameters
    ----------
    weights : Weights
        The tensors of the checkpoint.
    scale : float, default=1
        Factor of the table.
    zero : int or None, default=None
        Token whose row is zero, whatever the checkpoint has.
    dropout : bool, default=False
        Whether to apply fair-esm's token dropout.
    positions : callable or None, default=None
        Embeds positions counted from 0, ``(tokens,)``, to be added.
    norm : Norm or None, default=None
        Layer norm applied last.
    """

    def __init__(
        self,
        weights: Weights,
        *,
        scale: float = 1,
        zero: int | None = None,
        dropout: bool = False,
        positions: Callable[[Tensor], Tensor] | None = None,
        norm: Norm | None = None,
    ) -> None:
        table = weights.tensors["embed_tokens.weight"].to(torch.float32, copy=True)
        if scale != 1:
            table *= scale
        if zero is not None:
            table[zero] = 0
        self._table = table.to(weights.device)  # (vocabulary, width)
        self._device = weights.device
        self._dropout, self._positions, self._norm = dropout, positions, norm

    def __call__(self, tokens: Tokens) -> Tensor:
        """Return the states ``(tokens, width)``, float32."""
        x = self._table[tokens.ids.to(self._device)]  # (tokens, width)
        if self._dropout:
            # fair-esm's correction for training applies at inference too: 0.88 without any mask
            x *= 1 - 0.15 * 0.8
            if tokens.masked is not None:
                x /= 1 - tokens.masked.to(self._device)
        if self._positions:
            x += self._positions(tokens.positions.to(self._device))
        return self._norm(x) if self._norm else x


class LearnedPositions:
    """The table of positions of ESM-1b and ESM-1v."""

    def __init__(self, weights: Weights) -> None:
        table = weights.tensors["embed_positions.weight"]
        self._table = table.to(weights.device, torch.float32)  # (positions, width)

    def __call__(self, positions: Tensor) -> Tensor:
        return self._table[positions + _FIRST_POSITION]  # (tokens, width)


class SinusoidalPositions:
    """The sines and cosines of ESM-1, with fair-esm's spacing of the frequencies."""

    def __init__(self, width: int, device: torch.device) -> None:
        half = width // 2
        # on the CPU for every device, because a rate that differs in its last bit moves late positions
        steps = torch.arange(half, dtype=torch.float32, device="cpu")  # (width / 2,)
        # half - 1 intervals
        rates = torch.exp(steps * -(math.log(10000) / (half - 1)))  # (width / 2,)
        self._rates = rates.to(device)

    def __call__(self, positions: Tensor) -> Tensor:
        rows = positions + _FIRST_POSITION  # (tokens,)
        angles = rows[:, None].float() * self._rates  # (tokens, width / 2)
        return torch.cat((angles.sin(), angles.cos()), dim=1)  # (tokens, width)
