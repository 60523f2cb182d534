"""Clean sequences to packed token ids, with fair-esm's own alphabets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sklearn_esm._checkpoints._architecture import Architecture
from sklearn_esm._sequences import MASK, RESIDUES

if TYPE_CHECKING:
    from torch import Tensor

# stand-ins for BOS and EOS in the joined text of a batch; no clean sequence holds them
_BOS, _EOS = "^", "$"


@dataclass(frozen=True)
class Tokens:
    """The tokens of a batch, one sequence after the other without padding.

    ``groups`` lists the runs of equally long sequences as ``(first token, sequences, tokens each)``;
    ``masked`` is None where no token is ``<mask>``.
    """

    ids: Tensor  # (tokens,) int64
    positions: Tensor  # (tokens,) int64, from 0 within each sequence
    masked: Tensor | None  # (tokens, 1) float32, the share of <mask> in the token's sequence
    groups: list[tuple[int, int, int]]


def tokenise(sequences: Sequence[str], architecture: Architecture) -> Tokens:
    """Token ids of clean sequences, equal to those of fair-esm's batch converter without its padding."""
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
    """Token ids of single characters, ``(characters,)`` int64."""
    return _token_table(architecture.alphabet)[np.frombuffer(text.encode("ascii"), dtype=np.uint8)]


def mask_token(architecture: Architecture) -> int:
    return int(_token_table(architecture.alphabet)[ord(MASK)])


@cache
def _token_table(alphabet_name: str) -> np.ndarray:
    """Token id by byte value, ``(256,)`` int64."""
    alphabet = _fair_esm_data().Alphabet.from_architecture(alphabet_name)
    table = np.full(256, alphabet.unk_idx, dtype=np.int64)
    for residue in RESIDUES:
        table[ord(residue)] = alphabet.get_idx(residue)
    table[ord(MASK)] = alphabet.mask_idx
    table[ord(_BOS)] = alphabet.cls_idx
    table[ord(_EOS)] = alphabet.eos_idx
    return table


def _fair_esm_data() -> Any:  # fair-esm has no type hints
    # the package "esm" of EvolutionaryScale is imported by the same name as fair-esm
    try:
        from esm import data
    except ImportError as error:
        raise ImportError(_WRONG_ESM) from error
    if not hasattr(data, "Alphabet"):
        raise ImportError(_WRONG_ESM)
    return data


_WRONG_ESM = (
    "The module 'esm' found here is not fair-esm's; the package 'esm' (ESM3, ESM C) has the same import "
    "name. Run 'pip uninstall esm' and then 'pip install --force-reinstall --no-deps fair-esm', or use "
    "an environment of its own for each."
)


def _equal_runs(starts: np.ndarray, lengths: np.ndarray) -> list[tuple[int, int, int]]:
    firsts = np.flatnonzero(np.diff(lengths, prepend=-1))  # (runs,)
    counts = np.diff(firsts, append=len(lengths))
    return [
        (int(starts[first]), int(count), int(lengths[first]))
        for first, count in zip(firsts, counts, strict=True)
    ]
