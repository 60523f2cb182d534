"""What each likelihood method needs from the model, and how log-probabilities become scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sklearn_esm._execution._pieces import Item
from sklearn_esm._sequences import (
    MASK,
    SequenceError,
    residue_codes,
    scored_positions,
    shorten,
)

OF_SEQUENCES = ("pseudo-perplexity", "pseudo-log-likelihood", "log-likelihood")
OF_VARIANTS = ("masked-marginals", "wt-marginals")
METHODS = (*OF_SEQUENCES, *OF_VARIANTS)

# residues read for one cache entry, which is also what a kill may lose
_ENTRY_RESIDUES = 4096


def resolve_methods(method: Any, reference: str | None) -> list[str]:
    """The methods in the order given.

    Raises
    ------
    ValueError
        For none, an unknown or a repeated one, or one that lacks its reference.
    """
    several = isinstance(method, (Sequence, np.ndarray)) and not isinstance(method, str)
    given = [str(one) if isinstance(one, str) else one for one in (method if several else [method])]
    if not given:
        raise ValueError("method is an empty list. Pass at least one method.")
    for one in given:
        if not isinstance(one, str) or one not in METHODS:
            raise ValueError(
                f"method={method!r}: {one!r} is unknown. Pass one of {', '.join(map(repr, METHODS))}, "
                "or a list of them."
            )
        if given.count(one) > 1:
            raise ValueError(f"method={method!r} has {one!r} more than once.")
        if one in OF_VARIANTS and reference is None:
            raise ValueError(
                f"method={one!r} compares variants with a reference, and reference is None. Pass the "
                "wild-type sequence as reference, or another method."
            )
    return given


def masked_items(sequence: str, window_length: int | None) -> list[Item]:
    """Return items that mask each residue of a sequence once."""
    length = min(len(sequence), window_length or len(sequence))
    size = max(1, _ENTRY_RESIDUES // length)
    positions = scored_positions(sequence)
    return [
        Item(sequence, tuple(positions[first : first + size]))
        for first in range(0, len(positions), size)
    ]


def check_scored(sequences: Sequence[str | None]) -> None:
    """Raise ValueError for a sequence that has no residue to score."""
    for row, sequence in enumerate(sequences):
        if sequence is not None and not sequence.strip(MASK):
            raise SequenceError(
                row,
                "is nothing but <mask>, and a <mask> is not scored. Remove it, or pass "
                "invalid='unknown' where it came from invalid='mask'.",
            )


def check_variants(sequences: Sequence[str | None], reference: str) -> None:
    """Raise ValueError for a variant that is no substitution of residues in the reference."""
    for row, sequence in enumerate(sequences):
        if sequence is None or sequence == reference:
            continue
        if len(sequence) != len(reference):
            raise SequenceError(
                row,
                f"({shorten(sequence)}) has {len(sequence):,} residues, and the reference has "
                f"{len(reference):,}. Marginals judge substitutions only: pass each variant as a whole "
                "sequence of the same length, or a method that needs no reference.",
            )
        if MASK not in sequence and MASK not in reference:  # quick, and true of nearly all
            continue
        for position, (new, old) in enumerate(zip(sequence, reference, strict=True)):
            if new != old and MASK in (new, old):
                raise SequenceError(
                    row,
                    f"has {_shown(new)} at position {position}, and the reference has {_shown(old)}: "
                    "there is no likelihood of <mask>. Put residues in both.",
                )


def _shown(residue: str) -> str:
    return "<mask>" if residue == MASK else repr(residue)


def varying_positions(sequences: Sequence[str], reference: str) -> list[int]:
    """Where any of the sequences differs from the reference."""
    differs = np.zeros(len(reference), dtype=bool)  # (residues,)
    wild = residue_codes(reference)  # (residues,)
    for sequence in sequences:
        differs |= residue_codes(sequence) != wild
    return np.flatnonzero(differs).tolist()


def marginals(sequences: Sequence[str], reference: str, tables: Mapping[int, np.ndarray]) -> np.ndarray:
    """The sum over substitutions of log p(new residue) - log p(residue of the reference).

    Parameters
    ----------
    sequences : sequence of str
        Variants that `check_variants` let pass.
    reference : str
        What they are compared with.
    tables : mapping of int to ndarray of shape (25,)
        For each position that varies the log-probabilities of ``RESIDUES``, in their order.

    Returns
    -------
    ndarray of shape (sequences,), float64
        0 for the reference itself.

    Examples
    --------
    >>> table = np.log(np.linspace(0.1, 0.2, 25))
    >>> marginals(["MA", "MC"], "MA", {1: table}).round(3).tolist()
    [0.0, 0.041]
    """
    scores = np.zeros(len(sequences))
    wild = residue_codes(reference)
    for number, sequence in enumerate(sequences):
        codes = residue_codes(sequence)  # (residues,)
        for position in np.flatnonzero(codes != wild).tolist():
            table = tables[position].astype(np.float64)
            scores[number] += table[codes[position]] - table[wild[position]]
    return scores
