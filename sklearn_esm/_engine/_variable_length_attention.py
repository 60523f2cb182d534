"""Attention of all sequences of a packed batch in one call of a GPU's variable-length kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import torch
from torch import Tensor
from torch.backends.cuda import SDPAParams, can_use_efficient_attention, can_use_flash_attention

from sklearn_esm._engine._attention import rotate

# Arguments: q, k and v, (tokens, heads, head_dim) each; the starts of the queries' sequences and of
# the keys'; the longest of either. Returns the attention output, (tokens, heads, head_dim). The kernels
# require that
# - starts are int32, contiguous and on the GPU, and the longest are Python integers;
# - the last dimension of q, k and v is contiguous;
# - every head begins at a multiple of 16 bytes. Published heads have 16 (8M), 24 (35M), 32, 64 or 128
#   numbers.
Kernel = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, int, int], Tensor]

# maximum of the CUDA grid dimension that the kernels use for sequences
_MOST_SEQUENCES = 65_535


def find_kernel(
    device: torch.device, dtype: torch.dtype, head_dim: int, sequences: int
) -> Kernel | None:
    """Return the kernel for so many sequences in one call, or None if attention runs run by run."""
    # ROCm GPUs are "cuda" devices too, but these kernels are not tested there
    if device.type != "cuda" or torch.version.hip is not None:
        return None
    # 8 numbers are 16 bytes in half precision; unlike SDPA, these calls do not pad other heads
    if head_dim % 8 or sequences > _MOST_SEQUENCES:
        return None
    head = torch.empty((1, 1, 1, head_dim), dtype=dtype, device=device)
    unmasked = SDPAParams(head, head, head, None, 0.0, False, False)
    # both functions look at torch's current GPU, which may be of another generation than cuda:1
    with torch.cuda.device_of(head):
        if can_use_flash_attention(unmasked):
            return flash
        return memory_efficient if can_use_efficient_attention(unmasked) else None


def flash(
    q: Tensor, k: Tensor, v: Tensor, starts: Tensor, key_starts: Tensor, longest: int, longest_keys: int
) -> Tensor:
    """Compute attention in half precision, on Ampere GPUs and newer."""
    # imported here, because it imports torch's compiler, which takes more than a second
    from torch.nn.attention.varlen import varlen_attn

    mixed = varlen_attn(q, k, v, starts, key_starts, longest, longest_keys)
    return cast("Tensor", mixed)  # (tokens, heads, head_dim)


def memory_efficient(
    q: Tensor, k: Tensor, v: Tensor, starts: Tensor, key_starts: Tensor, longest: int, longest_keys: int
) -> Tensor:
    """Compute attention in float32 (three TF32 products on Tensor cores), or float16 before Ampere.

    torch has no public function for it. Nested tensors call the same kernel, but spend milliseconds of
    Python in every block.
    """
    batch = (part.unsqueeze(0) for part in (q, k, v))  # (1, tokens, heads, head_dim) each
    no_bias, no_dropout, no_mask = None, 0.0, 0
    mixed = torch.ops.aten._efficient_attention_forward(
        *batch, no_bias, starts, key_starts, longest, longest_keys, no_dropout, no_mask
    )[0]
    return cast("Tensor", mixed.squeeze(0))  # (tokens, heads, head_dim)


@dataclass(frozen=True)
class Together:
    """Sequences of any lengths, with one attention call and no wait for the GPU."""

    kernel: Kernel
    starts: Tensor  # (sequences + 1,) int32: the first token of each sequence, and the end
    tokens: int
    longest: int
    rotation: tuple[Tensor, Tensor] | None  # cos and sin, (tokens, head_dim) each; ESM-2 only

    def attend(self, qkv: Tensor, extra: Tensor | None, out: Tensor) -> None:
        """Compute softmax self-attention within every sequence, see `Groups`."""
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
        """Starts with an additional key per sequence, rows of own keys, rows of additional keys."""
        number = torch.arange(self.tokens + 1, dtype=torch.int32, device=self.starts.device)
        starts = self.starts + number[: len(self.starts)]  # (sequences + 1,) int32
        tokens = number[:-1]  # (tokens,)
        before = torch.bucketize(tokens, self.starts[1:], right=True)  # (tokens,), sequences that ended
        return starts, tokens + before, starts[1:].long() - 1  # ..., (tokens,), (sequences,)


def starts_of(runs: list[tuple[int, int, int]]) -> Tensor:
    """Return the first token of every sequence, and the end, ``(sequences + 1,)`` int32."""
    starts = [first + length * number for first, count, length in runs for number in range(count)]
    first, count, length = runs[-1]
    return torch.tensor([*starts, first + count * length], dtype=torch.int32, device="cpu")
