"""Attention within each sequence of a packed batch, and rotary position embedding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class Groups(Protocol):
    """Where the sequences of a packed batch lie, and how each token's keys are rotated."""

    def attend(self, qkv: Tensor, extra: Tensor | None, out: Tensor) -> None:
        """Softmax attention of every sequence with itself.

        Parameters
        ----------
        qkv : Tensor of shape (3, tokens, heads, head_dim)
            Queries, keys and values; they may be overwritten.
        extra : Tensor of shape (2, heads, head_dim), or None
            ESM-1's ``bias_k`` and ``bias_v``: one key and value more in every sequence.
        out : Tensor of shape (tokens, heads, head_dim)
            Where the mixed values go.
        """


# numbers in the attention maps that exist at a time, unless a single one has more
_MAPS_AT_A_TIME = 2**22


@dataclass(frozen=True)
class Runs:
    """Groups of equally long sequences, attended one after the other, those of one length together.

    Runs anywhere. On a processor nothing is faster; a GPU would wait for Python between the kernels.
    """

    runs: list[tuple[int, int, int]]  # (first token, sequences, tokens each)
    rotation: tuple[Tensor, Tensor] | None  # cos and sin, (longest, head_dim) each; ESM-2 alone

    def attend(self, qkv: Tensor, extra: Tensor | None, out: Tensor) -> None:
        """Softmax attention of every sequence with itself, see `Groups`."""
        for first, sequences, length in self.runs:
            run = slice(first, first + sequences * length)
            # contiguous: a copy costs less than striding over all heads in the innermost loops
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
    """One sequence, whose attention maps are shown to an observer before they are forgotten.

    ``see`` is called with ``(maps, tokens, tokens)`` float32, some heads at a time, in the order of
    blocks and heads. ESM-1's additional key is left out.
    """

    rotation: tuple[Tensor, Tensor] | None
    see: Callable[[Tensor], None]

    def attend(self, qkv: Tensor, extra: Tensor | None, out: Tensor) -> None:
        """Softmax attention with explicit maps, see `Groups`."""
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
    """Cosine and sine of every position's angles, from the frequencies in the checkpoint."""

    def __init__(self, inverse_frequencies: Tensor, device: torch.device) -> None:
        self._frequencies = inverse_frequencies.to(device)  # (head_dim / 2,)

    def tables(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cos and signed sin of ``positions``, ``(positions, head_dim)`` each."""
        angles = positions[:, None].float() * self._frequencies  # (positions, head_dim / 2)
        cos, sin = angles.cos(), angles.sin()
        return (
            torch.cat((cos, cos), dim=-1).to(dtype),
            torch.cat((-sin, sin), dim=-1).to(dtype),
        )
