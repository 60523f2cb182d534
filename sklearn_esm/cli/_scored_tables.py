"""Read the sequences of a table's rows, and append their scores to the rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sklearn_esm import ESMLikelihoodTransformer
from sklearn_esm._sequences import SequenceError, is_missing
from sklearn_esm.cli._options import check_exclusive
from sklearn_esm.cli._reference import mutated_sequences
from sklearn_esm.cli._table_files import column, iterate_table, name_of, table_writer

if TYPE_CHECKING:
    import pandas as pd

    from sklearn_esm.cli._heat_map import MeasuredEffects


class RowReader:
    """The rows of a file, and the sequence of each: a column of it, or mutations of a reference."""

    def __init__(
        self,
        source: str,
        sequence: str | None,
        mutations: str | None,
        reference: str | None,
        first_position: int,
    ) -> None:
        check_exclusive({"--sequence": sequence, "--mutations": mutations})
        if mutations is not None and reference is None:
            raise ValueError("--mutations must have the sequence that they change. Pass --reference.")
        self.source = source
        self._sequence = sequence or "sequence"
        self._mutations = mutations
        self._reference = reference
        self._first_position = first_position

    def sequences_of(self, frame: pd.DataFrame) -> list[str | None]:
        """Return the sequence of each row, None if it is missing.

        Raises
        ------
        ValueError
            If the column does not exist, or if a row is invalid. The message names the row.
        """
        if self._mutations is None:
            return self._texts(frame, self._sequence, "--sequence")
        names = self._texts(frame, self._mutations, "--mutations")
        with rows_named(self.source, frame):
            return list(mutated_sequences(self._reference or "", names, self._first_position))

    def _texts(self, frame: pd.DataFrame, name: str, option: str) -> list[str | None]:
        values = column(frame, name, option, name_of(self.source)).tolist()
        with rows_named(self.source, frame):
            for row, value in enumerate(values):
                if not isinstance(value, str) and not is_missing(value):
                    raise SequenceError(row, f"must have a text in {name!r}; got {value!r}.")
        return [value if isinstance(value, str) else None for value in values]


@contextmanager
def rows_named(source: str, frame: pd.DataFrame) -> Iterator[None]:
    """Raise an error about a row of a block with the file and its row there, counted from 1."""
    try:
        yield
    except SequenceError as error:
        # only a block of rows was compared
        problem = error.problem.replace("which fits all rows", "which fits the rows around it")
        number = int(frame.index[0]) + error.row + 1
        raise ValueError(f"{name_of(source)}: data row {number:,} {problem}") from error


def score_table(
    estimator: ESMLikelihoodTransformer,
    rows: RowReader,
    output: str,
    effects: MeasuredEffects | None = None,
) -> int:
    """Write the rows with a column for each score, block by block, and return their number.

    Parameters
    ----------
    estimator : ESMLikelihoodTransformer
        Fitted estimator.
    rows : RowReader
        Rows to score.
    output : str
        Path of a table, or ``"-"``.
    effects : MeasuredEffects or None, default=None
        Collector of the measured effects of the rows.

    Raises
    ------
    ValueError
        If a row is invalid, or if a column has the name of a score.
    """
    names = estimator.get_feature_names_out().tolist()
    labels = [] if effects is None else [effects.target]
    written = 0
    with table_writer(output) as write:
        for frame in iterate_table(rows.source, labels):
            for name in names:
                if name in frame.columns:
                    raise ValueError(
                        f"{name_of(rows.source)} must not have a column {name!r}, because the "
                        "scores get "
                        "this name. Rename or remove it."
                    )
            sequences = rows.sequences_of(frame)
            if effects is not None:
                effects.add(sequences, frame, rows.source)
            with rows_named(rows.source, frame):
                scores = estimator.transform(sequences)  # (rows, scores)
            write(frame.assign(**dict(zip(names, scores.T, strict=True))))
            written += len(frame)
    return written
