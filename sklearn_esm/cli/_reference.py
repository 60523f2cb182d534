"""Read the reference that an option names, and apply the mutations of rows to it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sklearn_esm import read_fasta
from sklearn_esm._sequences import SequenceError, is_missing
from sklearn_esm.variants import apply_mutations
from sklearn_esm.variants._reference import checked_reference


def read_reference(text: str) -> str:
    """Return the reference of an option: the only record of a FASTA file, or the sequence itself.

    Raises
    ------
    ValueError
        If the file cannot be read, or if the reference is invalid.
    """
    path = Path(text).expanduser()
    if path.suffix or "/" in text or _is_file(path):
        try:
            sequences = read_fasta(path).sequences
        except OSError as error:
            raise ValueError(f"--reference {text} cannot be read: {error.strerror}.") from error
        if len(sequences) != 1:
            raise ValueError(
                f"--reference must be a file of one record; got {len(sequences):,} in {text}."
            )
        text = sequences[0]
    try:
        return checked_reference(text, 1)
    except ValueError as error:
        # options such as --invalid are about rows
        raise ValueError(re.sub(" Set invalid=.*", " Correct it.", str(error))) from error


def mutated_sequences(reference: str, mutations: Sequence[Any], first_position: int) -> list[str]:
    """Return the sequence of each row, or raise SequenceError if a row is invalid.

    An empty cell is refused here, because `apply_mutations` returns the reference for it.
    """
    for row, value in enumerate(mutations):
        if is_missing(value) or (isinstance(value, str) and not value.strip()):
            raise SequenceError(
                row, "has no mutations. Write 'WT' for the reference, or remove the row."
            )
    return apply_mutations(reference, list(mutations), first_position) if len(mutations) else []


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a sequence can be too long for a name
        return False
