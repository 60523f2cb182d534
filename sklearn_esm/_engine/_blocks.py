"""Transformer blocks, one class for each kind: attention and a feed-forward network, each added to x."""

from __future__ import annotations

import torch
from torch import Tensor

from sklearn_esm._engine._attention import Groups
from sklearn_esm._engine._weights import Weights


class Block:
    """The pre-norm block of ESM-2, ESM-1b and ESM-1v, with a GELU network.

    Parameters
    ----------
    weights : Weights
        The tensors of the checkpoint.
    prefix : str
        What the names of the block's tensors begin with.
    heads : int
        Number of attention heads.
    epsilon : float, default=1e-5
        Epsilon of the layer norms.
    residual_scale : float, default=1
        Factor of what the block adds to x.
    """

    # ESM-1's bias_k and bias_v, see `Groups.attend`
    extra: Tensor | None = None

    def __init__(
        self,
        weights: Weights,
        prefix: str,
        heads: int,
        epsilon: float = 1e-5,
        residual_scale: float = 1,
    ) -> None:
        self.heads, self.residual_scale = heads, residual_scale
        self.norm_attention = weights.norm(f"{prefix}self_attn_layer_norm", epsilon)
        self.norm_feed = weights.norm(f"{prefix}final_layer_norm", epsilon)
        # one fused product is hardly faster, and needs a copy of a quarter of the weights
        self.qkv = [weights.linear(f"{prefix}self_attn.{name}_proj") for name in "qkv"]
        self.out = weights.linear(f"{prefix}self_attn.out_proj")
        # numbers per token: Q, K, V and attention output, later the feed-forward states
        self.scratch_width = max(4 * self.out.outputs, self._read_network(weights, prefix))

    def forward(self, x: Tensor, groups: Groups, scratch: Tensor) -> None:
        """Run the block on ``x`` ``(tokens, width)``, in place."""
        *qkv, mixed = parts = scratch[: 4 * x.numel()].view(4, *x.shape)  # (tokens, width) each
        normed = self.qkv[0].prepare(self.norm_attention(x))  # (tokens, width)
        for projected, linear in zip(qkv, self.qkv, strict=True):
            linear.into(normed, projected)
        del normed
        self._normalise(parts[:2])
        by_head = parts.unflatten(2, (self.heads, -1))  # (4, tokens, heads, head_dim)
        groups.attend(by_head[:3], self.extra, out=by_head[3])
        self.out.add_to(x, self.out.prepare(mixed), self.residual_scale)
        self._feed_forward(x, scratch)

    def _normalise(self, qk: Tensor) -> None:
        """Normalise queries and keys ``(2, tokens, width)`` in place, before heads are split."""

    def _read_network(self, weights: Weights, prefix: str) -> int:
        """Read the feed-forward network, and return how many numbers per token it computes."""
        self.up = weights.linear(f"{prefix}fc1")
        self.down = weights.linear(f"{prefix}fc2")
        return self.up.outputs

    def _feed_forward(self, x: Tensor, scratch: Tensor) -> None:
        """Add the output of the feed-forward network to ``x`` ``(tokens, width)``."""
        raised = scratch[: len(x) * self.up.outputs].view(len(x), -1)  # (tokens, 4 width)
        self.up.into(self.up.prepare(self.norm_feed(x)), raised)
        torch.ops.aten.gelu_(raised)
        self.down.add_to(x, self.down.prepare(raised), self.residual_scale)


class ExtraKeyBlock(Block):
    """The block of ESM-1, with one additional key and value for every sequence."""

    def __init__(self, weights: Weights, prefix: str, heads: int, epsilon: float) -> None:
        super().__init__(weights, prefix, heads, epsilon)
        extra = [weights.tensor(f"{prefix}self_attn.bias_{name}") for name in "kv"]
        self.extra = torch.stack([e.view(heads, -1) for e in extra])  # (2, heads, head_dim)


class GatedBlock(Block):
    """The block of ESM C: layer norms of queries and keys, and a SwiGLU network (Shazeer 2020)."""

    def __init__(self, weights: Weights, prefix: str, heads: int, *, residual_scale: float) -> None:
        super().__init__(weights, prefix, heads, residual_scale=residual_scale)
        self.norms_of_qk = [
            weights.norm(f"{prefix}self_attn.{name}_norm", dtype=weights.dtype) for name in "qk"
        ]

    def _normalise(self, qk: Tensor) -> None:
        for part, norm in zip(qk, self.norms_of_qk, strict=True):
            part.copy_(norm(part))  # (tokens, width)

    def _read_network(self, weights: Weights, prefix: str) -> int:
        self.gate = weights.linear(f"{prefix}mlp.gate_proj")
        self.up = weights.linear(f"{prefix}mlp.up_proj")
        self.down = weights.linear(f"{prefix}mlp.down_proj")
        return self.gate.outputs + self.up.outputs

    def _feed_forward(self, x: Tensor, scratch: Tensor) -> None:
        width = self.up.outputs
        gate, raised = scratch[: 2 * len(x) * width].view(2, len(x), width)  # (tokens, feed) each
        normed = self.gate.prepare(self.norm_feed(x))  # (tokens, width)
        self.gate.into(normed, gate)
        self.up.into(normed, raised)
        del normed
        torch.ops.aten.silu_(gate).mul_(raised)
        self.down.add_to(x, self.down.prepare(gate), self.residual_scale)
