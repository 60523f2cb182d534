"""The language-model head: states after the last block to log-probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from sklearn_esm._checkpoints._architecture import Architecture
from sklearn_esm._engine._isolation import isolated
from sklearn_esm._engine._tokens import mask_token


def head_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint that the head may need, without copies."""
    kept = ("lm_head.", "embed_out", "embed_tokens.")
    return {name: tensor for name, tensor in weights.items() if name.startswith(kept)}


class LanguageModelHead:
    """fair-esm's ``RobertaLMHead``, or ESM-1's linear layer, always in float32.

    The output weights are the token embeddings, except in ESM-1.
    """

    @isolated
    def __init__(
        self,
        path: Path,
        architecture: Architecture,
        weights: Mapping[str, Tensor],
        device: torch.device,
    ) -> None:
        try:
            if architecture.has_eos:
                self._dense: tuple[Tensor, Tensor] | None = _pair(weights, "lm_head.dense", device)
                self._norm = _pair(weights, "lm_head.layer_norm", device)
                self._output = _tied_weight(architecture, weights).to(device, torch.float32)
                self._bias: Tensor | None = weights["lm_head.bias"].to(device, torch.float32)
            else:
                self._dense = None
                self._output = weights["embed_out"].to(device, torch.float32)  # (vocabulary, width)
                bias = weights.get("embed_out_bias")
                self._bias = None if bias is None else bias.to(device, torch.float32)
        except KeyError as error:
            raise ValueError(
                f"{path} must have a language-model head; got a checkpoint without {error}. "
                "Use the published file, or one saved with all its tensors."
            ) from error

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
            x = F.layer_norm(x, x.shape[-1:], *self._norm)
        return F.log_softmax(F.linear(x, self._output, self._bias), dim=-1)  # (positions, vocabulary)


def _pair(weights: Mapping[str, Tensor], name: str, device: torch.device) -> tuple[Tensor, Tensor]:
    weight, bias = (weights[f"{name}.{kind}"].to(device, torch.float32) for kind in ("weight", "bias"))
    return weight, bias


def _tied_weight(architecture: Architecture, weights: Mapping[str, Tensor]) -> Tensor:
    """Return the output weights ``(vocabulary, width)``, as fair-esm loads them."""
    embedding = weights["embed_tokens.weight"]
    output = weights.get("lm_head.weight", embedding)  # fair-esm loads lm_head last
    # fair-esm zeroes the <mask> row of ESM-1b's and ESM-1v's embeddings, and so that of the head if
    # both are one tensor in the file
    if architecture.family == "esm1b" and output.data_ptr() == embedding.data_ptr():
        output = output.clone()
        output[mask_token(architecture)] = 0
    return output
