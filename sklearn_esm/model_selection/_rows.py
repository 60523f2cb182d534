"""Clean sequences of rows, with errors that name no parameter of a transformer."""

from __future__ import annotations

from typing import Any

from sklearn_esm._sequences import SequenceError, clean_sequences

_POLICIES = {
    " Set missing=": " Remove the row.",
    " Set invalid=": " Replace it by 'X', or remove the row.",
}


def sequences_of(X: Any) -> list[str]:
    """Return one clean sequence per row.

    Raises
    ------
    SequenceError
        If a row is missing or has a character outside ESM's alphabet.
    TypeError
        If X or a row is not a sequence.
    """
    try:
        cleaned = clean_sequences(X, invalid="error", missing="error")
    except SequenceError as error:
        row, problem, noun, rows = error.args
        for policy, fix in _POLICIES.items():
            found, known, _ = problem.partition(policy)
            if known:
                problem = found + fix
        raise SequenceError(row, problem, noun, rows) from None
    return [sequence for sequence in cleaned if sequence is not None]
