"""Run sequences through a model and return hidden states, layer by layer, as numpy arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from sklearn_esm._engine._model import PackedModel
from sklearn_esm._engine._tokens import tokenise


def hidden_states(
    model: PackedModel, sequences: Sequence[str], layers: Sequence[int]
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Run sequences in one forward pass, up to the highest layer.

    Parameters
    ----------
    model : PackedModel
        The loaded model.
    sequences : sequence of str
        Clean sequences. Those of equal length should be neighbours.
    layers : sequence of int
        The layers to return: 0 for the token embeddings, 1 to L after that block.

    Yields
    ------
    layer : int
        From the lowest up.
    first : int
        The number of the first of some sequences of equal length.
    states : ndarray of shape (sequences, tokens, width), float32
        Their states, BOS and EOS included; overwritten when the next ones are computed.
    """
    tokens = tokenise(sequences, model.architecture)
    for layer, tensor in model.hidden_states(tokens, set(layers)):
        states = tensor.float().cpu().numpy()  # (tokens, width)
        number = 0
        for first, count, length in tokens.groups:
            yield layer, number, states[first : first + count * length].reshape(count, length, -1)
            number += count
