"""Convert clean sequences to packed token ids of fair-esm's alphabets, and of ESM C's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from sklearn_esm._checkpoints._architecture import Architecture
from sklearn_esm._sequences import MASK

if TYPE_CHECKING:
    from torch import Tensor

# characters for BOS and EOS in the joined text of a batch; no clean sequence contains them
_BOS, _EOS = "^", "$"

# ids of esm.data.Alphabet; written out here because another package is imported as "esm" too
_RESIDUES, _FIRST_RESIDUE = "LAGVSERTIDPKQNFYMHWCXBUZO", 4
_EOS_ID, _UNKNOWN_ID = 2, 3
# ESM C has the tokens of ESM-1b and ESM-2, except 31: the chain break, which is not a residue
_BOS_IDS = {"ESM-1b": 0, "ESM-1": 32, "ESM-C": 0}
_MASK_IDS = {"ESM-1b": 32, "ESM-1": 33, "ESM-C": 32}


@dataclass(frozen=True)
class Tokens:
    """The tokens of a batch, concatenated without padding.

    ``groups`` lists the runs of equally long sequences as ``(first token, sequences, tokens each)``.
    ``masked`` is None if no token is ``<mask>``.
    """

    ids: Tensor  # (tokens,) int64
    positions: Tensor  # (tokens,) int64, from 0 within each sequence
    masked: Tensor | None  # (tokens, 1) float32, the share of <mask> in the token's sequence
    groups: list[tuple[int, int, int]]


def tokenise(sequences: Sequence[str], architecture: Architecture) -> Tokens:
    """Return the tokens of clean sequences, equal to those of the reference without padding."""
    end = _EOS if architecture.has_eos else ""
    text = "".join(f"{_BOS}{sequence}{end}" for sequence in sequences)
    ids = residue_tokens(text, architecture)  # (tokens,)
    lengths = np.array([len(sequence) + 1 + len(end) for sequence in sequences])  # (sequences,)
    starts = np.cumsum(lengths) - lengths  # (sequences,)
    positions = np.arange(len(ids)) - np.repeat(starts, lengths)  # (tokens,)
    masked = None
    if MASK in text:
        shares = np.add.reduceat(ids == mask_token(architecture), starts) / lengths.astype(np.float32)
        masked = torch.from_numpy(np.repeat(shares.astype(np.float32), lengths)[:, None])
    return Tokens(
        torch.from_numpy(ids), torch.from_numpy(positions), masked, _equal_runs(starts, lengths)
    )


def residue_tokens(text: str, architecture: Architecture) -> np.ndarray:
    """Return the token id of each character, ``(characters,)`` int64."""
    return _token_table(architecture.alphabet)[np.frombuffer(text.encode("ascii"), dtype=np.uint8)]


def mask_token(architecture: Architecture) -> int:
    return _MASK_IDS[architecture.alphabet]


@cache
def _token_table(alphabet: str) -> np.ndarray:
    """Return the token id of every byte, ``(256,)`` int64."""
    table = np.full(256, _UNKNOWN_ID, dtype=np.int64)
    for token, residue in enumerate(_RESIDUES, start=_FIRST_RESIDUE):
        table[ord(residue)] = token
    table[ord(MASK)] = _MASK_IDS[alphabet]
    table[ord(_BOS)] = _BOS_IDS[alphabet]
    table[ord(_EOS)] = _EOS_ID
    return table


def _equal_runs(starts: np.ndarray, lengths: np.ndarray) -> list[tuple[int, int, int]]:
    firsts = np.flatnonzero(np.diff(lengths, prepend=-1))  # (runs,)
    counts = np.diff(firsts, append=len(lengths))
    return [
        (int(starts[first]), int(count), int(lengths[first]))
        for first, count in zip(firsts, counts, strict=True)
    ]
