"""What differs between the families of models: one class each, and nothing about them elsewhere.

A new family is one more class here, and its name in `FAMILIES`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sklearn_esm._checkpoints._architecture import Architecture
from sklearn_esm._engine._blocks import Block, ExtraKeyBlock, GatedBlock
from sklearn_esm._engine._embeddings import Embedding, LearnedPositions, SinusoidalPositions
from sklearn_esm._engine._head import LanguageModelHead, linear_head, roberta_head
from sklearn_esm._engine._tokens import mask_token
from sklearn_esm._engine._weights import Norm, Weights


class Esm2:
    """ESM-2, and what the other families have in common with it."""

    def embedding(self, weights: Weights, architecture: Architecture) -> Embedding:
        """Return what computes the states before the first block."""
        dropout = architecture.token_dropout
        zero = mask_token(architecture) if dropout else None
        return Embedding(weights, zero=zero, dropout=dropout)

    def frequencies(self, weights: Weights, architecture: Architecture) -> Tensor | None:
        """Return the rotary frequencies ``(head_dim / 2,)``; None without rotary positions.

        They are read from the file, because computed ones are not rounded as there.
        """
        name = "self_attn.rot_emb.inv_freq"
        tables = [weights.tensors[f"layers.{i}.{name}"] for i in range(architecture.layers)]
        if any(not torch.equal(table, tables[0]) for table in tables):
            raise ValueError(
                f"{weights.path} must have the same rotary frequencies in every block; got different "
                "ones. Download or copy the file again."
            )
        return tables[0].float()

    def block(self, weights: Weights, architecture: Architecture, prefix: str) -> Block:
        """Return the block whose tensors have names that begin with ``prefix``."""
        return Block(weights, prefix, architecture.heads)

    def last_norm(self, weights: Weights) -> Norm | None:
        """Return the layer norm after the last block, if the family has one."""
        return weights.norm("emb_layer_norm_after")

    def head(self, weights: Weights, architecture: Architecture) -> LanguageModelHead:
        """Return the head, from the tensors that `head_tensors` keeps; KeyError if one is missing."""
        # fair-esm loads lm_head.weight last
        output = "lm_head.weight" if "lm_head.weight" in weights else "embed_tokens.weight"
        return roberta_head(weights, output=weights.tensors[output], bias="lm_head.bias")


class Esm1b(Esm2):
    """ESM-1b and ESM-1v, which have learned positions. ESM-1v has no norm before the blocks."""

    def embedding(self, weights: Weights, architecture: Architecture) -> Embedding:
        norm, dropout = "emb_layer_norm_before", architecture.token_dropout
        return Embedding(
            weights,
            zero=mask_token(architecture) if dropout else None,
            dropout=dropout,
            positions=LearnedPositions(weights),
            norm=weights.norm(norm) if f"{norm}.weight" in weights else None,
        )

    def frequencies(self, weights: Weights, architecture: Architecture) -> None:
        return None


class Esm1(Esm2):
    """ESM-1: sinusoidal positions, an additional key, TensorFlow's epsilon, and a linear head."""

    def embedding(self, weights: Weights, architecture: Architecture) -> Embedding:
        dropout = architecture.token_dropout
        return Embedding(
            weights,
            scale=math.sqrt(architecture.width),
            zero=mask_token(architecture) if dropout else None,
            dropout=dropout,
            positions=SinusoidalPositions(architecture.width, weights.device),
        )

    def frequencies(self, weights: Weights, architecture: Architecture) -> None:
        return None

    def block(self, weights: Weights, architecture: Architecture, prefix: str) -> Block:
        return ExtraKeyBlock(weights, prefix, architecture.heads, epsilon=1e-12)

    def last_norm(self, weights: Weights) -> None:
        return None

    def head(self, weights: Weights, architecture: Architecture) -> LanguageModelHead:
        return linear_head(weights, output="embed_out", bias="embed_out_bias")


class EsmC(Esm2):
    """ESM C: no token dropout, gated blocks, scaled residuals, and an output layer of its own."""

    def embedding(self, weights: Weights, architecture: Architecture) -> Embedding:
        return Embedding(weights)

    def frequencies(self, weights: Weights, architecture: Architecture) -> Tensor:
        # computed, because the files have none, and not rounded, unlike those of ESM-2
        head_dim = architecture.width // architecture.heads
        even = torch.arange(0, head_dim, 2, dtype=torch.float32, device="cpu")  # (head_dim / 2,)
        return 1 / 10000 ** (even / head_dim)  # (head_dim / 2,)

    def block(self, weights: Weights, architecture: Architecture, prefix: str) -> Block:
        # a factor of the sums, not of the weights, so that these stay memory-mapped
        scale = 1 / math.sqrt(architecture.layers / 36)
        return GatedBlock(weights, prefix, architecture.heads, residual_scale=scale)

    def head(self, weights: Weights, architecture: Architecture) -> LanguageModelHead:
        output = weights.tensors["lm_head.decoder.weight"]
        return roberta_head(weights, output=output, bias="lm_head.decoder.bias")


FAMILIES: dict[str, Esm2] = {"esm2": Esm2(), "esm1b": Esm1b(), "esm1": Esm1(), "esmc": EsmC()}
