"""The packed forward pass of the four families: ESM-2, ESM-1b, ESM-1v and ESM-1."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from sklearn_esm._checkpoints._architecture import Checkpoint
from sklearn_esm._engine._attention import Groups, Observed, Rotary, Runs
from sklearn_esm._engine._head import LanguageModelHead, head_weights
from sklearn_esm._engine._isolation import isolated, isolated_steps
from sklearn_esm._engine._linear import ARITHMETICS, Linear, check_product
from sklearn_esm._engine._stopping import check_stop
from sklearn_esm._engine._tokens import Tokens, mask_token
from sklearn_esm._engine._variable_length_attention import Together, find_kernel, starts_of

# row of the first position in ESM-1b and ESM-1: fair-esm starts after the padding index, 1
_FIRST_POSITION = 2


class PackedModel:
    """An ESM model that runs on the tokens of many sequences at once, without padding.

    The tensors of a checkpoint are on one device, memory-mapped if dtype and device allow it. A model
    never changes after it is built, so threads can share it. States and norms are float32; ``dtype``
    applies to linear layers and attention.
    """

    @isolated
    def __init__(self, checkpoint: Checkpoint, device: str, dtype: str) -> None:
        self.path = checkpoint.path
        self.architecture = checkpoint.architecture
        self.device = torch.device(device)
        self.dtype, self._linear = ARITHMETICS[dtype]
        if dtype == "int8":
            check_product()
        self._weights = checkpoint.weights
        family = self.architecture.family
        self._embedding = self._embedding_table()
        if family == "esm1b":
            self._position_table = self._weights["embed_positions.weight"].float()
        self._norm_before = self.norm("emb_layer_norm_before") if self._has_norm_before() else None
        self._norm_after = self.norm("emb_layer_norm_after") if family != "esm1" else None
        self._rotary = Rotary(self._inverse_frequencies(), self.device) if family == "esm2" else None
        self._blocks = [_Block(self, f"layers.{layer}.") for layer in range(self.architecture.layers)]
        self._head_weights = head_weights(self._weights)
        del self._weights

    @cached_property
    def head(self) -> LanguageModelHead:
        """The language-model head, built on first access."""
        return LanguageModelHead(self.path, self.architecture, self._head_weights, self.device)

    @isolated_steps
    def hidden_states(self, tokens: Tokens, layers: set[int]) -> Iterator[tuple[int, Tensor]]:
        """Yield ``(layer, (tokens, width))`` for each of the layers, in ascending order.

        The next step overwrites the tensor. No block above the highest layer is run.
        """
        x = self._embed(tokens)  # (tokens, width)
        if 0 in layers:
            yield 0, x
        if not max(layers):
            return
        groups = self._group(tokens)
        for layer in self._run_blocks(x, groups, max(layers)):
            if layer in layers:
                last = layer == self.architecture.layers
                yield layer, self._norm_after(x) if last and self._norm_after else x

    @isolated
    def observe_attention(self, tokens: Tokens, see: Callable[[Tensor], None]) -> None:
        """Run every block on one sequence, and pass the attention maps of each to ``see``.

        ``see`` is called with ``(maps, tokens, tokens)`` float32, which it must not keep.
        """
        x = self._embed(tokens)  # (tokens, width)
        groups = Observed(self._rotate_by(tokens.positions), see)
        for _ in self._run_blocks(x, groups, self.architecture.layers):
            pass

    def _run_blocks(self, x: Tensor, groups: Groups, number: int) -> Iterator[int]:
        """Run blocks on ``x`` ``(tokens, width)`` in place, and yield the number of each."""
        # one buffer for all blocks, because allocating tens of megabytes in each costs 10 % of the time
        width = max(block.scratch_width for block in self._blocks)
        scratch = x.new_empty(len(x) * width, dtype=self.dtype)  # (tokens * width,)
        for layer, block in enumerate(self._blocks[:number], start=1):
            check_stop()
            block.forward(x, groups, scratch)
            yield layer

    def _embed(self, tokens: Tokens) -> Tensor:
        x = self._embedding[tokens.ids.to(self.device)]  # (tokens, width)
        if self.architecture.token_dropout:
            # fair-esm's correction for training applies at inference too: 0.88 without any mask
            x *= 1 - 0.15 * 0.8
            if tokens.masked is not None:
                x /= 1 - tokens.masked.to(self.device)
        if self.architecture.family != "esm2":
            x += self._positions(tokens).to(self.device)
        return self._norm_before(x) if self._norm_before else x

    def _group(self, tokens: Tokens) -> Groups:
        """Return the sequences grouped for attention: all in one call, or run by run."""
        runs = tokens.groups
        longest = max(length for _, _, length in runs)
        head_dim = self.architecture.width // self.architecture.heads
        kernel = find_kernel(self.device, self.dtype, head_dim, sum(count for _, count, _ in runs))
        if kernel is None:
            positions = torch.arange(longest, dtype=torch.int64, device=self.device)  # (longest,)
            return Runs(runs, self._rotate_by(positions))
        rotation = self._rotate_by(tokens.positions)
        return Together(kernel, starts_of(runs).to(self.device), len(tokens.ids), longest, rotation)

    def _rotate_by(self, positions: Tensor) -> tuple[Tensor, Tensor] | None:
        if self._rotary is None:
            return None
        return self._rotary.tables(positions.to(self.device), self.dtype)

    def _embedding_table(self) -> Tensor:
        """Return the token embeddings in float32, ``(vocabulary, width)``, scaled for ESM-1."""
        table = self._weights["embed_tokens.weight"].to(torch.float32, copy=True)
        architecture = self.architecture
        if architecture.family == "esm1":
            table *= math.sqrt(architecture.width)
        # fair-esm's loader zeroes the <mask> row of ESM-1b and ESM-1v
        if architecture.token_dropout or architecture.family == "esm1b":
            table[mask_token(architecture)] = 0
        return table.to(self.device)

    def _positions(self, tokens: Tokens) -> Tensor:
        rows = tokens.positions + _FIRST_POSITION  # (tokens,)
        if self.architecture.family == "esm1b":
            return self._position_table[rows]  # (tokens, width)
        # sinusoidal, with fair-esm's spacing of the frequencies: half - 1 intervals
        half = self.architecture.width // 2
        steps = torch.arange(half, dtype=torch.float32, device=rows.device)  # (width / 2,)
        rates = torch.exp(steps * -(math.log(10000) / (half - 1)))  # (width / 2,)
        angles = rows[:, None].float() * rates  # (tokens, width / 2)
        return torch.cat((angles.sin(), angles.cos()), dim=1)  # (tokens, width)

    def _inverse_frequencies(self) -> Tensor:
        """Return the rotary frequencies of the file, because computed ones are not rounded as there."""
        name = "self_attn.rot_emb.inv_freq"
        tables = [self._weights[f"layers.{i}.{name}"] for i in range(self.architecture.layers)]
        if any(not torch.equal(table, tables[0]) for table in tables):
            raise ValueError(
                f"{self.path} must have the same rotary frequencies in every block; got different ones. "
                "Download or copy the file again."
            )
        return tables[0].float()

    def _has_norm_before(self) -> bool:
        return self.architecture.family == "esm1b" and "emb_layer_norm_before.weight" in self._weights

    def tensor(self, name: str) -> Tensor:
        return self._weights[name].to(self.device, self.dtype)

    def linear(self, name: str) -> Linear:
        return self._linear(self.tensor(f"{name}.weight"), self.tensor(f"{name}.bias"))

    def norm(self, name: str) -> _Norm:
        # ESM-1 has the smaller epsilon of TensorFlow
        epsilon = 1e-12 if self.architecture.family == "esm1" else 1e-5
        weight, bias = (
            self._weights[f"{name}.{kind}"].to(self.device, torch.float32) for kind in ("weight", "bias")
        )  # (width,) each
        return _Norm(weight, bias, epsilon)


class _Norm:
    def __init__(self, weight: Tensor, bias: Tensor, epsilon: float) -> None:
        self.weight, self.bias, self.epsilon = weight, bias, epsilon

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.epsilon)


class _Block:
    """One pre-norm transformer block: attention and a feed-forward network, each added to x."""

    def __init__(self, model: PackedModel, prefix: str) -> None:
        self.heads = model.architecture.heads
        self.norm_attention = model.norm(f"{prefix}self_attn_layer_norm")
        self.norm_feed = model.norm(f"{prefix}final_layer_norm")
        # one fused product is hardly faster, and needs a copy of a quarter of the weights
        self.qkv = [model.linear(f"{prefix}self_attn.{name}_proj") for name in "qkv"]
        self.out = model.linear(f"{prefix}self_attn.out_proj")
        self.up = model.linear(f"{prefix}fc1")
        self.down = model.linear(f"{prefix}fc2")
        # numbers per token: Q, K, V and attention output, later the feed-forward states
        self.scratch_width = max(4 * model.architecture.width, self.up.outputs)
        self.extra = None
        if model.architecture.family == "esm1":
            extra = [model.tensor(f"{prefix}self_attn.bias_{name}") for name in "kv"]
            self.extra = torch.stack([e.view(self.heads, -1) for e in extra])  # (2, heads, head_dim)

    def forward(self, x: Tensor, groups: Groups, scratch: Tensor) -> None:
        """Run the block on ``x`` ``(tokens, width)``, in place."""
        *qkv, mixed = parts = scratch[: 4 * x.numel()].view(4, *x.shape)  # (tokens, width) each
        normed = self.qkv[0].prepare(self.norm_attention(x))  # (tokens, width)
        for projected, linear in zip(qkv, self.qkv, strict=True):
            linear.into(normed, projected)
        del normed
        by_head = parts.unflatten(2, (self.heads, -1))  # (4, tokens, heads, head_dim)
        groups.attend(by_head[:3], self.extra, out=by_head[3])
        self.out.add_to(x, self.out.prepare(mixed))
        raised = scratch[: len(x) * self.up.outputs].view(len(x), -1)  # (tokens, 4 width)
        self.up.into(self.up.prepare(self.norm_feed(x)), raised)
        torch.ops.aten.gelu_(raised)
        self.down.add_to(x, self.down.prepare(raised))
