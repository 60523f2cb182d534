"""What each likelihood method needs from the model, and how log-probabilities become scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sklearn_esm._execution._pieces import Item
from sklearn_esm._sequences import (
    MASK,
    SequenceError,
    listed,
    residue_codes,
    scored_positions,
    shorten,
)

OF_SEQUENCES = ("pseudo-perplexity", "pseudo-log-likelihood", "log-likelihood")
RATIO = "pseudo-log-likelihood-ratio"
MARGINALS = ("masked-marginals", "wt-marginals")
METHODS = (*OF_SEQUENCES, RATIO, *MARGINALS)

# residues read for one cache entry, which is also what a kill may lose
_ENTRY_RESIDUES = 4096
_VARIANTS = 1024  # compared with the reference at a time


def resolve_methods(method: Any, reference: str | None) -> list[str]:
    """Return the methods in the given order.

    Raises
    ------
    ValueError
        If a method is unknown or repeated, if it lacks its reference, or if there is none.
    """
    several = isinstance(method, (Sequence, np.ndarray)) and not isinstance(method, str)
    given = [str(one) if isinstance(one, str) else one for one in (method if several else [method])]
    if not given:
        raise ValueError(f"method must not be empty; got {method!r}. Pass at least one method.")
    for one in given:
        if not isinstance(one, str) or one not in METHODS:
            raise ValueError(f"method must be {listed(METHODS)}, or a list of these; got {one!r}.")
        if given.count(one) > 1:
            raise ValueError(f"method must not repeat a name; got {method!r}, which repeats {one!r}.")
        if one not in OF_SEQUENCES and reference is None:
            raise ValueError(
                f"reference must be a sequence for method={one!r}; got None. Pass the wild type, or "
                "another method."
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
    """Raise SequenceError if a sequence has no residue to score."""
    for row, sequence in enumerate(sequences):
        if sequence is not None and not sequence.strip(MASK):
            raise SequenceError(
                row,
                "has only <mask>, which has no score. Remove the row, or set invalid='unknown' if "
                "invalid='mask' made the <mask>.",
            )


def check_masks(sequences: Sequence[str | None], reference: str) -> None:
    """Raise SequenceError if a variant has more or fewer <mask> than the reference."""
    expected = reference.count(MASK)
    for row, sequence in enumerate(sequences):
        if sequence is not None and sequence.count(MASK) != expected:
            raise SequenceError(
                row,
                f"has {sequence.count(MASK)} <mask>, and the reference has {expected}. <mask> has no "
                "likelihood: use residues in both.",
            )


def check_variants(sequences: Sequence[str | None], reference: str) -> None:
    """Raise SequenceError if a variant differs from the reference by more than substitutions."""
    for row, sequence in enumerate(sequences):
        if sequence is None or sequence == reference:
            continue
        if len(sequence) != len(reference):
            raise SequenceError(
                row,
                f"({shorten(sequence)}) has {len(sequence):,} residues, and the reference has "
                f"{len(reference):,}. Marginals score substitutions only. Pass each variant as a whole "
                "sequence of the same length, or score insertions and deletions with "
                f"method={RATIO!r}.",
            )
        if MASK not in sequence and MASK not in reference:  # fast path for nearly all variants
            continue
        for position, (new, old) in enumerate(zip(sequence, reference, strict=True), start=1):
            if new != old and MASK in (new, old):
                raise SequenceError(
                    row,
                    f"has {_shown(new)} at position {position}, and the reference has {_shown(old)}. "
                    "<mask> has no likelihood: use residues in both.",
                )


def _shown(residue: str) -> str:
    return "<mask>" if residue == MASK else repr(residue)


def varying_positions(sequences: Sequence[str], reference: str) -> list[int]:
    """Return the indices where any sequence differs from the reference, counted from 0."""
    differs = np.zeros(len(reference), dtype=bool)  # (residues,)
    for _, _, positions, _ in _substitutions(sequences, reference):
        differs[positions] = True
    return np.flatnonzero(differs).tolist()


def marginals(sequences: Sequence[str], reference: str, tables: Mapping[int, np.ndarray]) -> np.ndarray:
    """Return the sum over substitutions of log p(new residue) - log p(reference residue).

    Parameters
    ----------
    sequences : sequence of str
        Variants, checked by ``check_variants``.
    reference : str
        Wild-type sequence.
    tables : mapping of int to ndarray of shape (25,)
        Log-probabilities of ``RESIDUES`` for each index that varies, counted from 0.

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
    wild = residue_codes(reference)  # (residues,)
    varying = sorted(tables)
    # (residues,), the row in the stacked tables; out of bounds for positions without a table
    row_of = np.full(len(reference), len(varying))
    row_of[varying] = np.arange(len(varying))
    stacked = np.array([tables[position] for position in varying], dtype=np.float64)  # (varying, 25)
    for some, rows, positions, codes in _substitutions(sequences, reference):
        tables_of = row_of[positions]  # (substitutions,)
        changes = stacked[tables_of, codes] - stacked[tables_of, wild[positions]]  # (substitutions,)
        scores[some] = np.bincount(rows, changes, minlength=len(scores[some]))
    return scores


def _substitutions(
    sequences: Sequence[str], reference: str
) -> Iterator[tuple[slice, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield the substitutions of some variants at a time, sorted by variant and position.

    Yields
    ------
    some : slice
        The variants.
    rows, positions, codes : ndarray of shape (substitutions,)
        The variant of each substitution, counted from the first of ``some``; its position; and the
        code of the new residue.
    """
    wild = residue_codes(reference)  # (residues,)
    for first in range(0, len(sequences), _VARIANTS):
        some = slice(first, min(first + _VARIANTS, len(sequences)))
        codes = residue_codes("".join(sequences[some])).reshape(-1, len(wild))  # (variants, residues)
        rows, positions = np.nonzero(codes != wild)
        if len(rows):
            yield some, rows, positions, codes[rows, positions]
