"""Attention of all sequences of a packed batch in one call, by a GPU's kernels for variable lengths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import torch
from torch import Tensor
from torch.backends.cuda import SDPAParams, can_use_efficient_attention, can_use_flash_attention

from sklearn_esm._engine._attention import rotate

# Called with q, k and v, (tokens, heads, head_dim) each, the starts of the queries' sequences and of
# the keys', and the longest of either; gives the mixed values, (tokens, heads, head_dim). The kernels
# ask that
# - starts are int32, contiguous and on the GPU, and that the longest are known on the host;
# - the last dimension of q, k and v is contiguous: no other need be;
# - every head begins at a multiple of 16 bytes. The published ones are 16 (8M), 24 (35M), 32, 64 or
#   128 numbers wide, in tensors of their own or in slices of whole rows.
Kernel = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, int, int], Tensor]

# the kernels count the sequences in a dimension of CUDA's grid that goes no further
_MOST_SEQUENCES = 65_535


def find_kernel(
    device: torch.device, dtype: torch.dtype, head_dim: int, sequences: int
) -> Kernel | None:
    """The kernel that attends so many sequences in one call, or None: run by run, then."""
    # ROCm calls its GPUs "cuda", too, and nobody has tried what its kernels make of such a batch
    if device.type != "cuda" or torch.version.hip is not None:
        return None
    # 8 numbers are 16 bytes in half precision; these calls do not pad other heads, as torch does else
    if head_dim % 8 or sequences > _MOST_SEQUENCES:
        return None
    head = torch.empty((1, 1, 1, head_dim), dtype=dtype, device=device)
    unmasked = SDPAParams(head, head, head, None, 0.0, False, False)
    if can_use_flash_attention(unmasked):
        return flash
    return memory_efficient if can_use_efficient_attention(unmasked) else None


def flash(
    q: Tensor, k: Tensor, v: Tensor, starts: Tensor, key_starts: Tensor, longest: int, longest_keys: int
) -> Tensor:
    """Attention in half precision, from Ampere on."""
    # imported where it is used, for it brings torch's compiler along: more than a second
    from torch.nn.attention.varlen import varlen_attn

    mixed = varlen_attn(q, k, v, starts, key_starts, longest, longest_keys)
    return cast("Tensor", mixed)  # (tokens, heads, head_dim); a tuple if more were asked for


def memory_efficient(
    q: Tensor, k: Tensor, v: Tensor, starts: Tensor, key_starts: Tensor, longest: int, longest_keys: int
) -> Tensor:
    """Attention in float32, on Tensor cores as three TF32 products each, and in float16 before Ampere.

    Torch has no public function for it. Its nested tensors lead to this very call, but by way of some
    milliseconds of Python in every block.
    """
    batch = (part.unsqueeze(0) for part in (q, k, v))  # (1, tokens, heads, head_dim) each
    no_bias, no_dropout, no_mask = None, 0.0, 0
    mixed = torch.ops.aten._efficient_attention_forward(
        *batch, no_bias, starts, key_starts, longest, longest_keys, no_dropout, no_mask
    )[0]
    return cast("Tensor", mixed.squeeze(0))  # (tokens, heads, head_dim)


@dataclass(frozen=True)
class Together:
    """Sequences of any lengths, all attended in one call, for which the host waits for nothing."""

    kernel: Kernel
    starts: Tensor  # (sequences + 1,) int32: the first token of each sequence, and the end
    tokens: int
    longest: int
    rotation: tuple[Tensor, Tensor] | None  # cos and sin, (tokens, head_dim) each; ESM-2 alone

    def attend(self, qkv: Tensor, extra: Tensor | None, out: Tensor) -> None:
        """Softmax attention of every sequence with itself, see `Groups`."""
        if self.rotation is not None:
            rotate(qkv[:2], *(table.unsqueeze(1) for table in self.rotation))
        q, k, v = qkv  # (tokens, heads, head_dim) each
        key_starts, longest_keys = self.starts, self.longest
        if extra is not None:
            key_starts, own, last = self._longer
            longest_keys += 1
            longer = qkv.new_empty(2, len(own) + len(last), *q.shape[1:])
            longer[:, own] = qkv[1:]  # (2, tokens, heads, head_dim)
            longer[:, last] = extra.unsqueeze(1)  # (2, sequences, heads, head_dim)
            k, v = longer  # (tokens + sequences, heads, head_dim) each
        out.copy_(self.kernel(q, k, v, self.starts, key_starts, self.longest, longest_keys))

    @cached_property
    def _longer(self) -> tuple[Tensor, Tensor, Tensor]:
        """With one key more in every sequence: the starts, the rows of its own keys and of that one."""
        number = torch.arange(self.tokens + 1, dtype=torch.int32, device=self.starts.device)
        starts = self.starts + number[: len(self.starts)]  # (sequences + 1,) int32
        tokens = number[:-1]  # (tokens,)
        before = torch.bucketize(tokens, self.starts[1:], right=True)  # (tokens,), sequences that ended
        return starts, tokens + before, starts[1:].long() - 1  # ..., (tokens,), (sequences,)


def starts_of(runs: list[tuple[int, int, int]]) -> Tensor:
    """The first token of every sequence in `Tokens.groups`, and the end, ``(sequences + 1,)`` int32."""
    starts = [first + length * number for first, count, length in runs for number in range(count)]
    first, count, length = runs[-1]
    return torch.tensor([*starts, first + count * length], dtype=torch.int32, device="cpu")
