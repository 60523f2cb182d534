"""Attention within each sequence of a packed batch, and rotary position embedding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class Groups(Protocol):
    """The sequences of a packed batch, grouped for attention, and their rotary tables."""

    def attend(self, qkv: Tensor, extra: Tensor | None, out: Tensor) -> None:
        """Compute softmax self-attention within every sequence.

        Parameters
        ----------
        qkv : Tensor of shape (3, tokens, heads, head_dim)
            Queries, keys and values. They may be overwritten.
        extra : Tensor of shape (2, heads, head_dim), or None
            ESM-1's ``bias_k`` and ``bias_v``: one additional key and value per sequence.
        out : Tensor of shape (tokens, heads, head_dim)
            Output, written in place.
        """


# maximum numbers in the attention maps held at a time; a single map may have more
_MAPS_AT_A_TIME = 2**22


@dataclass(frozen=True)
class Runs:
    """Runs of equally long sequences, with one attention call per run.

    Works on every device, and is the fastest on CPUs. A GPU waits for Python between the calls.
    """

    runs: list[tuple[int, int, int]]  # (first token, sequences, tokens each)
    rotation: tuple[Tensor, Tensor] | None  # cos and sin, (longest, head_dim) each; ESM-2 only

    def attend(self, qkv: Tensor, extra: Tensor | None, out: Tensor) -> None:
        """Compute softmax self-attention within every sequence, see `Groups`."""
        for first, sequences, length in self.runs:
            run = slice(first, first + sequences * length)
            # contiguous, because a copy costs less than strided access in the innermost loops
            packed = qkv[:, run].unflatten(1, (sequences, length)).transpose(2, 3).contiguous()
            if self.rotation is not None:
                rotate(packed[:2], *(table[:length] for table in self.rotation))
            q, k, v = packed  # (sequences, heads, length, head_dim) each
            if extra is not None:
                k, v = (
                    torch.cat((part, more.expand(sequences, -1, -1).unsqueeze(2)), dim=2)
                    for part, more in zip((k, v), extra, strict=True)
                )  # (sequences, heads, length + 1, head_dim)
            attended = F.scaled_dot_product_attention(q, k, v)  # (sequences, heads, length, head_dim)
            out[run].unflatten(0, (sequences, length)).copy_(attended.transpose(1, 2))


@dataclass(frozen=True)
class Observed:
    """One sequence whose attention maps are passed to a function.

    ``see`` is called with ``(maps, tokens, tokens)`` float32, some heads at a time, ordered by block
    and head. ESM-1's additional key is left out.
    """

    rotation: tuple[Tensor, Tensor] | None
    see: Callable[[Tensor], None]

    def attend(self, qkv: Tensor, extra: Tensor | None, out: Tensor) -> None:
        """Compute softmax attention with explicit maps, see `Groups`."""
        packed = qkv.transpose(1, 2).contiguous()  # (3, heads, tokens, head_dim)
        if self.rotation is not None:
            rotate(packed[:2], *self.rotation)
        q, k, v = packed  # (heads, tokens, head_dim) each
        tokens = q.shape[1]
        if extra is not None:
            k, v = (
                torch.cat((part, more.unsqueeze(1)), dim=1)
                for part, more in zip((k, v), extra, strict=True)
            )  # (heads, tokens + 1, head_dim)
        q = q * q.shape[-1] ** -0.5  # (heads, tokens, head_dim)
        together = max(1, _MAPS_AT_A_TIME // tokens**2)
        for first in range(0, len(q), together):
            heads = slice(first, first + together)
            maps = (q[heads] @ k[heads].mT).float().softmax(-1)  # (maps, tokens, tokens or one more)
            out[:, heads] = (maps.to(v.dtype) @ v[heads]).transpose(0, 1)
            self.see(maps[:, :, :tokens])


def rotate(qk: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply rotary position embedding to queries and keys, in place (Su et al. 2021)."""
    half = qk.shape[-1] // 2
    swapped = qk.roll(half, dims=-1)  # (2, ..., head_dim)
    # sin carries the minus sign of the first half, so no negated copy is made
    return qk.mul_(cos).addcmul_(swapped, sin)  # (2, ..., head_dim)


class Rotary:
    """Rotary tables of the frequencies in the checkpoint."""

    def __init__(self, inverse_frequencies: Tensor, device: torch.device) -> None:
        self._frequencies = inverse_frequencies.to(device)  # (head_dim / 2,)

    def tables(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return cos and signed sin of the positions, ``(positions, head_dim)`` each."""
        angles = positions[:, None].float() * self._frequencies  # (positions, head_dim / 2)
        cos, sin = angles.cos(), angles.sin()
        return (
            torch.cat((cos, cos), dim=-1).to(dtype),
            torch.cat((-sin, sin), dim=-1).to(dtype),
        )
