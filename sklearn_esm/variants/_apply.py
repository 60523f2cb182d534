"""`apply_mutations`: the sequences that names of mutations stand for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, overload

import numpy as np

from sklearn_esm._sequences import shorten
from sklearn_esm.variants._notation import Change, parse_rows, row_error
from sklearn_esm.variants._reference import checked_reference, texts_of


@overload
def apply_mutations(reference: Any, mutations: str, first_position: int = ...) -> str: ...
@overload
def apply_mutations(reference: Any, mutations: Any, first_position: int = ...) -> list[str]: ...
def apply_mutations(reference: Any, mutations: Any, first_position: int = 1) -> str | list[str]:
    """Return the sequences that mutations of a reference stand for.

    Parameters
    ----------
    reference : str
        The wild-type sequence, or a Biopython ``SeqRecord``.

    mutations : str, or list, array, column or one-column table of str
        Mutations of each variant:

        - ``"A24G"``, ``"Ala24Gly"``, ``"p.Ala24Gly"`` or ``"p.(Ala24Gly)"``: glycine replaces the
          alanine at position 24. Upper and lower case are equal.
        - ``"A24G:K30R"``: both. Separators are ``:``, ``,``, ``/``, ``;``, ``+``, ``_`` and white
          space; HGVS ``"p.[Ala24Gly;Lys30Arg]"`` is accepted too.
        - ``"A24del"`` or ``"A24-"``, ``"A24_G26del"``: a deletion of one residue, or of a range.
        - ``"A24_G25insKR"``: an insertion between two neighbours.
        - ``"A24delinsKR"``, ``"A24_G26delinsK"``: new residues for one residue, or for a range.
        - ``"A24dup"``, ``"A24_G26dup"``: the residues are written twice.
        - ``"WT"``, ``""``, ``"="``, ``"p.="`` or ``"p.(=)"``: the reference. ``"A24A"`` and ``"A24="``
          change nothing, but the residue is checked.

    first_position : int, default=1
        Position of the reference's first residue. If the reference is a domain and the mutations count
        from the start of the full-length protein, set the domain's first position.

    Returns
    -------
    str or list of str
        A sequence in upper case for a str; a list with row i for mutations i otherwise.

    Raises
    ------
    ValueError
        If a row is not in this notation, names another residue than the reference has, names a position
        outside the reference, changes a position twice, has a stop or a frame shift, or leaves no
        residue. The message names row and mutation. If one ``first_position`` makes every row fit, the
        message suggests it.
    TypeError
        If a row is not a string, or a parameter has the wrong type.

    See Also
    --------
    name_mutations : The reverse, for substitutions.
    MutationsToSequences : The same as a step of a pipeline.

    Notes
    -----
    Every position counts in the reference, also after an insertion or deletion of the same variant.

    X is an unknown residue, not a stop: write ``*`` or ``Ter`` for a stop, which raises an error.

    The result is a list also for a pandas Series: assign it to a new column of the same table. The
    original order is kept, whatever the index.

    Names such as ``p.Lys2Arg`` and ``T3_A4del`` are those of the HGVS nomenclature [1]_.

    References
    ----------
    .. [1] den Dunnen et al. (2016), "HGVS recommendations for the description of sequence variants:
       2016 update", Human Mutation 37(6).

    Examples
    --------
    >>> from sklearn_esm.variants import apply_mutations
    >>> apply_mutations("MKTAYI", "K2R:A4G")
    'MRTGYI'
    >>> apply_mutations("MKTAYI", ["WT", "p.Lys2Arg", "T3_A4del", "A4_Y5insGG"])
    ['MKTAYI', 'MRTAYI', 'MKYI', 'MKTAGGYI']
    >>> apply_mutations("MKTAYI", "A27G", first_position=24)
    'MKTGYI'
    """
    wild_type = checked_reference(reference, first_position)
    if isinstance(mutations, str):
        return mutated(wild_type, [mutations], first_position)[0]
    return mutated(wild_type, texts_of(mutations), first_position)


def mutated(reference: str, texts: Sequence[str], first_position: int) -> list[str]:
    """Return the sequence of each text, for a clean reference."""
    rows = parse_rows(texts)
    sequences = []
    for row, (text, changes) in enumerate(zip(texts, rows, strict=True)):
        for change in changes:
            problem = _misfit(change, reference, first_position)
            if problem:
                first = fitting_first_position(reference, rows)
                fix = (
                    "Check the reference, or set first_position to the number of its first residue."
                    if first is None
                    else f"Set first_position={first}, which fits all rows."
                )
                raise row_error(row, text, f"{problem} {fix}")
        sequence = _edited(reference, changes, first_position)
        if not sequence:
            raise row_error(row, text, "must leave at least one residue; got a deletion of all.")
        sequences.append(sequence)
    return sequences


def fitting_first_position(reference: str, rows: Iterable[Iterable[Change]]) -> int | None:
    """Return the only ``first_position`` with which all changes fit, or None."""
    sites = {site for changes in rows for change in changes for site in change.sites}
    positions = [position for position, _ in sites]
    residues = np.frombuffer(reference.encode(), dtype=np.uint8)
    # with these, the lowest and the highest position lie in the reference
    firsts = np.arange(max(positions) - len(reference) + 1, min(positions) + 1)
    for position, residue in sites:
        if not len(firsts):
            return None
        firsts = firsts[residues[position - firsts] == ord(residue)]
    return int(firsts[0]) if len(firsts) == 1 else None


def _misfit(change: Change, reference: str, first_position: int) -> str | None:
    """Return in what a change does not fit the reference, or None."""
    for position, residue in change.sites:
        index = position - first_position
        if not 0 <= index < len(reference):
            return (
                f"must have positions {first_position} to {first_position + len(reference) - 1}, those "
                f"of the reference; got {position} in '{shorten(change.text)}'."
            )
        if reference[index] != residue:
            return (
                f"must have {reference[index]!r} at position {position}, as the reference has; got "
                f"{residue!r} in '{shorten(change.text)}'."
            )
    return None


def _edited(reference: str, changes: Iterable[Change], first_position: int) -> str:
    pieces, done = [], 0
    for change in changes:
        start, stop = change.first - first_position, change.last - first_position + 1
        pieces += [reference[done:start], change.copies * reference[start:stop], change.new]
        done = stop
    return "".join([*pieces, reference[done:]])
