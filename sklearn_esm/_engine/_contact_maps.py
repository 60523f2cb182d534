"""Contact maps: a regression over the attention maps of every block, added up map by map.

fair-esm keeps all maps, ``layers x heads x T x T``, and several copies of them. The regression is
linear, and the correction of each map has rank one, so a few maps at a time are enough.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sklearn_esm._engine._isolation import isolated
from sklearn_esm._engine._model import PackedModel
from sklearn_esm._engine._tokens import tokenise


@isolated
def contact_map(model: PackedModel, sequence: str, weights: np.ndarray, bias: float) -> np.ndarray:
    """Return probabilities of contact, equal to fair-esm's with ``return_contacts=True``.

    Parameters
    ----------
    model : PackedModel
        The loaded model; every block is run.
    sequence : str
        A clean sequence.
    weights : ndarray of shape (layers x heads,), float32
        The regression's coefficients, in fair-esm's order: heads of the first block first.
    bias : float
        The regression's intercept.

    Returns
    -------
    ndarray of shape (residues, residues), float32
        Exactly symmetric.

    Notes
    -----
    For each attention map A, without BOS and EOS, with S = A + A^T, row sums s and their sum t, the
    regression reads S - s s^T / t (the average product correction of Dunn et al. 2008), as in Rao
    et al. 2020.
    """
    weights_of_maps = torch.from_numpy(weights).to(model.device)  # (layers x heads,)
    inner = slice(1, -1) if model.architecture.has_eos else slice(1, None)  # the residues
    shape = (len(sequence), len(sequence))
    # half of the logits, because the regression reads A + A^T
    half = torch.zeros(shape, dtype=torch.float32, device=model.device)  # (residues, residues)
    seen = 0

    def add(maps: Tensor) -> None:
        nonlocal seen
        maps = maps[:, inner, inner]  # (maps, residues, residues)
        chosen = weights_of_maps[seen : seen + len(maps)]  # (maps,)
        seen += len(maps)
        for one, weight in zip(maps, chosen.tolist(), strict=True):
            half.add_(one, alpha=weight)
        sums = maps.sum(1) + maps.sum(2)  # (maps, residues), of the rows of S
        shares = sums * (chosen / sums.sum(1) / 2)[:, None]  # (maps, residues)
        half.addmm_(shares.T, sums, alpha=-1)

    model.observe_attention(tokenise([sequence], model.architecture), add)
    # added to its transpose, so that rounding keeps it symmetric
    logits = half + half.T + bias  # (residues, residues)
    return logits.sigmoid_().cpu().numpy()
