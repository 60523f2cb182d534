"""Log-probabilities of the residues at positions of sequences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from sklearn_esm._engine._isolation import isolated
from sklearn_esm._engine._model import PackedModel
from sklearn_esm._engine._tokens import residue_tokens, tokenise
from sklearn_esm._sequences import RESIDUES


@isolated
def log_probabilities(
    model: PackedModel, sequences: Sequence[str], positions: Sequence[Sequence[int]]
) -> np.ndarray:
    """Run sequences in one forward pass, and the language-model head at some of their positions.

    Parameters
    ----------
    model : PackedModel
        The loaded model.
    sequences : sequence of str
        Clean sequences, in which ``MASK`` may stand.
    positions : sequence of sequence of int
        For each sequence the positions to return, counted from 0.

    Returns
    -------
    ndarray of shape (positions of all sequences, 25), float32
        Natural log-probabilities of each of ``RESIDUES``, normalised over the whole vocabulary.
    """
    tokens = tokenise(sequences, model.architecture)
    starts = np.flatnonzero(tokens.positions.numpy() == 0)  # (sequences,), of BOS
    at = [start + 1 + p for start, some in zip(starts, positions, strict=True) for p in some]
    ((_, hidden),) = model.hidden_states(tokens, {model.architecture.layers})  # (tokens, width)
    rows = hidden[torch.tensor(at, dtype=torch.int64, device=hidden.device)]  # (positions, width)
    columns = torch.from_numpy(residue_tokens(RESIDUES, model.architecture))  # (25,)
    return model.head(rows)[:, columns].cpu().numpy()
