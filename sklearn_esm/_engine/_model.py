"""The packed forward pass: the tokens of many sequences through the blocks, without padding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

import torch
from torch import Tensor

from sklearn_esm._checkpoints._architecture import Checkpoint
from sklearn_esm._engine._attention import Groups, Observed, Rotary, Runs
from sklearn_esm._engine._families import FAMILIES
from sklearn_esm._engine._head import LanguageModelHead, head_tensors
from sklearn_esm._engine._isolation import isolated, isolated_steps
from sklearn_esm._engine._linear import check_product
from sklearn_esm._engine._stopping import check_stop
from sklearn_esm._engine._tokens import Tokens
from sklearn_esm._engine._variable_length_attention import Together, find_kernel, starts_of
from sklearn_esm._engine._weights import Weights

# bytes; that of torch's own memory and files
_ALIGNMENT = 64


class PackedModel:
    """An ESM model that runs on the tokens of many sequences at once, without padding.

    The tensors of a checkpoint are on one device, memory-mapped if dtype and device allow it. A model
    never changes after it is built, so threads can share it. States and norms are float32; ``dtype``
    applies to linear layers and attention.
    """

    @isolated
    def __init__(self, checkpoint: Checkpoint, device: str, dtype: str) -> None:
        self.path = checkpoint.path
        self.architecture = architecture = checkpoint.architecture
        self.device = torch.device(device)
        if dtype == "int8":
            check_product()
        weights = Weights(self.path, checkpoint.weights, self.device, dtype)
        self.dtype = weights.dtype
        self._family = family = FAMILIES[architecture.family]
        self._embed = family.embedding(weights, architecture)
        self._last_norm = family.last_norm(weights)
        frequencies = family.frequencies(weights, architecture)
        self._rotary = None if frequencies is None else Rotary(frequencies, self.device)
        self._blocks = [
            family.block(weights, architecture, f"layers.{layer}.")
            for layer in range(architecture.layers)
        ]
        self._head_tensors = head_tensors(checkpoint.weights)

    @cached_property
    def head(self) -> LanguageModelHead:
        """The language-model head, built on first access."""
        return self._build_head()

    @isolated
    def _build_head(self) -> LanguageModelHead:
        # a product with one row, as of a single position, rounds by how its matrix is aligned in memory,
        # which differs between files of the same weights
        aligned = {
            name: tensor.clone() if tensor.data_ptr() % _ALIGNMENT else tensor
            for name, tensor in self._head_tensors.items()
        }
        weights = Weights(self.path, aligned, self.device, "float32")
        try:
            return self._family.head(weights, self.architecture)
        except KeyError as error:
            raise ValueError(
                f"{self.path} must have a language-model head; got a checkpoint without {error}. "
                "Use the published file, or one saved with all its tensors."
            ) from error

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
                yield layer, self._last_norm(x) if last and self._last_norm else x

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
