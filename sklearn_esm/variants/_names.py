"""`name_mutations` and `single_substitutions`: names of the substitutions of sequences."""

from __future__ import annotations

from collections.abc import Iterable
from operator import index
from typing import Any, overload

import numpy as np

from sklearn_esm._sequences import MASK, RESIDUES, SequenceError, clean_sequences, shorten
from sklearn_esm.variants._notation import is_separator
from sklearn_esm.variants._reference import checked_reference


@overload
def name_mutations(
    reference: Any, sequences: str, first_position: int = ..., separator: str = ...
) -> str: ...
@overload
def name_mutations(
    reference: Any, sequences: Any, first_position: int = ..., separator: str = ...
) -> list[str]: ...
def name_mutations(
    reference: Any, sequences: Any, first_position: int = 1, separator: str = ":"
) -> str | list[str]:
    """Return the substitutions by which sequences differ from a reference of the same length.

    Parameters
    ----------
    reference : str
        The wild-type sequence, or a Biopython ``SeqRecord``.

    sequences : str, or list, array, column or one-column table of sequences
        Sequences as long as the reference.

    first_position : int, default=1
        Position of the reference's first residue.

    separator : str, default=":"
        Text between two substitutions. ``apply_mutations`` reads ``:``, ``,``, ``/``, ``;``, ``+``,
        ``_`` and white space.

    Returns
    -------
    str or list of str
        Names such as ``"A24G:K30R"``, sorted by position; ``"WT"`` for the reference. A str for a str,
        a list with row i for sequence i otherwise.

    Raises
    ------
    ValueError
        If a sequence is invalid or missing, has another length than the reference or a mask, or if
        the separator is none.
    TypeError
        If a row is not a sequence, or a parameter has the wrong type.

    See Also
    --------
    apply_mutations : The reverse.

    Notes
    -----
    Sequences are compared position by position. Insertions and deletions need an alignment, which this
    function does not make.

    Examples
    --------
    >>> from sklearn_esm.variants import name_mutations
    >>> name_mutations("MKTAYI", ["MKTAYI", "MRTAYI", "MRTGYI"])
    ['WT', 'K2R', 'K2R:A4G']
    >>> name_mutations("MKTAYI", "MRTGYI", first_position=24, separator=",")
    'K25R,A27G'
    """
    wild_type = checked_reference(reference, first_position)
    if not is_separator(separator):
        raise ValueError(f"separator must be ':', ',', '/', ';', '+', '_' or ' '; got {separator!r}.")
    if isinstance(sequences, str):
        return names_of([sequences], wild_type, first_position, separator)[0]
    return names_of(sequences, wild_type, first_position, separator)


def names_of(X: Any, reference: str, first_position: int, separator: str = ":") -> list[str]:
    """Return the name of each row of a column of sequences, for a clean reference."""
    residues = np.frombuffer(reference.encode(), dtype=np.uint8)
    sites = [f"{residue}{position}" for position, residue in enumerate(reference, first_position)]
    names = []
    for row, sequence in enumerate(clean_sequences(X, invalid="error", missing="error")):
        assert sequence is not None  # missing="error"
        _check_substituted(sequence, reference, row)
        differ = np.flatnonzero(np.frombuffer(sequence.encode(), dtype=np.uint8) != residues)
        substitutions = [sites[at] + sequence[at] for at in differ]
        names.append(separator.join(substitutions) if substitutions else "WT")
    return names


def single_substitutions(
    reference: Any,
    positions: Iterable[int] | None = None,
    residues: str = "ACDEFGHIKLMNPQRSTVWY",
    first_position: int = 1,
) -> list[str]:
    """Return the names of all single substitutions of a reference, a saturation scan.

    Parameters
    ----------
    reference : str
        The wild-type sequence, or a Biopython ``SeqRecord``.

    positions : iterable of int or None, default=None
        Positions to substitute, counted like ``first_position``. None is all.

    residues : str, default="ACDEFGHIKLMNPQRSTVWY"
        New residues, in the order of the result.

    first_position : int, default=1
        Position of the reference's first residue.

    Returns
    -------
    list of str
        Names such as ``"A24G"``, position after position. The reference's own residue is left out, so
        there are 19 at each position with the 20 standard residues.

    Raises
    ------
    ValueError
        If a position is outside the reference, or a residue is repeated or not in ESM's alphabet.
    TypeError
        If a position is not an integer, or another parameter has the wrong type.

    See Also
    --------
    apply_mutations : Sequences of the substitutions.
    sklearn_esm.ESMLikelihoodTransformer : Score the substitutions without measurements.
    sklearn_esm.display.VariantScanDisplay : Draw the scores.

    Examples
    --------
    >>> from sklearn_esm.variants import apply_mutations, single_substitutions
    >>> scan = single_substitutions("MKTAYI")
    >>> len(scan), scan[0], scan[-1]
    (114, 'M1A', 'I6Y')
    >>> apply_mutations("MKTAYI", single_substitutions("MKTAYI", positions=[2], residues="RE"))
    ['MRTAYI', 'METAYI']
    """
    wild_type = checked_reference(reference, first_position)
    new = _checked_residues(residues)
    last_position = first_position + len(wild_type) - 1
    if positions is None:
        positions = range(first_position, last_position + 1)
    names = []
    for position in positions:
        at = _checked_position(position)
        if not first_position <= at <= last_position:
            raise ValueError(
                f"positions must be {first_position} to {last_position}, those of the reference; got "
                f"{at}. Set first_position to the number of the reference's first residue."
            )
        old = wild_type[at - first_position]
        names += [f"{old}{at}{residue}" for residue in new if residue != old]
    return names


def _check_substituted(sequence: str, reference: str, row: int) -> None:
    if len(sequence) != len(reference):
        raise SequenceError(
            row,
            f"({shorten(sequence)}) must have {len(reference):,} residues, the length of the reference; "
            f"got {len(sequence):,}. Only substitutions can be named.",
        )
    if MASK in sequence:
        raise SequenceError(
            row,
            f"must not have masks; got one at position {sequence.index(MASK) + 1}. Write X for an "
            "unknown residue.",
        )


def _checked_position(position: Any) -> int:
    if not isinstance(position, (bool, np.bool_)):
        try:
            return index(position)
        except TypeError:
            pass
    raise TypeError(f"positions must be integers; got {position!r}.")


def _checked_residues(residues: Any) -> str:
    if not isinstance(residues, str):
        raise TypeError(f"residues must be a string such as 'ACDEFGHIKLMNPQRSTVWY'; got {residues!r}.")
    new = residues.upper()
    unknown = next((residue for residue in new if residue not in RESIDUES), None)
    if unknown is not None:
        raise ValueError(f"residues must be in ESM's alphabet, {RESIDUES}; got {unknown!r}.")
    if not new or len(set(new)) < len(new):
        raise ValueError(f"residues must be one or more different residues; got {residues!r}.")
    return new
