"""Language-model heads: states after the last block to log-probabilities."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor

from sklearn_esm._engine._isolation import isolated
from sklearn_esm._engine._weights import Norm, Weights


def head_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint that a head may need, without copies."""
    kept = ("lm_head.", "embed_out", "embed_tokens.")
    return {name: tensor for name, tensor in tensors.items() if name.startswith(kept)}


def roberta_head(weights: Weights, *, output: Tensor, bias: str) -> LanguageModelHead:
    """Return fair-esm's ``RobertaLMHead``, with a dense layer and a norm before the output layer.

    Parameters
    ----------
    weights : Weights
        The tensors of the head, in float32.
    output : Tensor of shape (vocabulary, width)
        Weight of the output layer.
    bias : str
        Name of its bias.
    """
    dense = (weights.tensor("lm_head.dense.weight"), weights.tensor("lm_head.dense.bias"))
    norm = weights.norm("lm_head.layer_norm")
    output = output.to(weights.device, weights.dtype)  # (vocabulary, width)
    return LanguageModelHead(output, weights.tensor(bias), dense, norm)


def linear_head(weights: Weights, *, output: str, bias: str) -> LanguageModelHead:
    """Return a head that is one linear layer, given by the names of its weight and optional bias."""
    return LanguageModelHead(weights.tensor(output), weights.tensor(bias) if bias in weights else None)


class LanguageModelHead:
    """An output layer over the vocabulary, and what stands before it, always in float32."""

    def __init__(
        self,
        output: Tensor,
        bias: Tensor | None,
        dense: tuple[Tensor, Tensor] | None = None,
        norm: Norm | None = None,
    ) -> None:
        self._output, self._bias = output, bias  # (vocabulary, width) and (vocabulary,)
        self._dense, self._norm = dense, norm

    @isolated
    def __call__(self, x: Tensor) -> Tensor:
        """Return natural log-probabilities over the whole vocabulary.

        Parameters
        ----------
        x : Tensor of shape (positions, width), float32
            States after the last block and the final layer norm, if there is one.

        Returns
        -------
        Tensor of shape (positions, vocabulary), float32
        """
        if self._dense is not None:
            x = F.gelu(F.linear(x, *self._dense))  # (positions, width)
        if self._norm is not None:
            x = self._norm(x)
        return F.log_softmax(F.linear(x, self._output, self._bias), dim=-1)  # (positions, vocabulary)
