"""Read the rows to train on: inputs, targets and groups, with errors that name the row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from sklearn_esm._sequences import SequenceError, clean_sequences, is_missing
from sklearn_esm.cli._table_files import column, is_absent, name_of, read_table
from sklearn_esm.cli._targets import Target, target_of
from sklearn_esm.variants import MutationsToSequences

Duplicates: TypeAlias = Literal["error", "mean", "keep"]


class Source(NamedTuple):
    """Where the rows are, and what each column holds."""

    path: str
    sequence: str = "sequence"
    mutations: str | None = None  # a column that replaces the one of sequences
    target: str = "target"
    group: str | None = None
    reference: str | None = None
    first_position: int = 1

    @property
    def column(self) -> str:
        """The column of the input of the pipeline."""
        return self.mutations or self.sequence


class TrainingData:
    """The rows of a table that have a target.

    Parameters
    ----------
    source : Source
        Where they come from.
    rows : ndarray of shape (n,)
        Row of each in the file, counted from 0.
    X : ndarray of shape (n,), object
        Sequences or mutations as written.
    target : Target
        Their targets.
    groups : ndarray of shape (n,) or None
        Their values in the column of groups.
    id_column : str or None
        Column of identifiers.
    n_rows : int
        Number of rows of the file, also of those without a target.
    """

    def __init__(
        self,
        source: Source,
        rows: np.ndarray,
        X: np.ndarray,
        target: Target,
        groups: np.ndarray | None,
        id_column: str | None,
        n_rows: int,
    ) -> None:
        self.source = source
        self.rows = rows
        self.X = X
        self.target = target
        self.groups = groups
        self.id_column = id_column
        self.n_rows = n_rows
        self.n_without_target = n_rows - len(rows)
        self.sequences: list[str] = []
        self.n_duplicates = 0

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def y(self) -> np.ndarray:
        """The targets as an estimator expects them."""
        return self.target.values

    @contextmanager
    def rows_named(self) -> Iterator[None]:
        """Raise an error about a sequence with its row in the file."""
        try:
            yield
        except SequenceError as error:
            where = row_label(self.source.path, self.rows[error.row])
            raise ValueError(f"{where}: {self.source.column} {error.problem}") from error

    def clean(self, invalid: str) -> None:
        """Compute the whole sequence of each row, and count the repeated ones."""
        with self.rows_named():
            whole: Any = self.X
            if self.source.mutations is not None:
                to_sequences = MutationsToSequences(
                    self.source.reference or "", self.source.first_position
                )
                whole = to_sequences.fit_transform(self.X)
            cleaned = clean_sequences(whole, invalid=invalid, missing="error")
        self.sequences = [sequence for sequence in cleaned if sequence is not None]
        self.n_duplicates = len(self) - len(set(self.sequences))

    def resolve_duplicates(self, policy: Duplicates) -> None:
        """Refuse, average or keep rows with the same sequence and different targets.

        Raises
        ------
        ValueError
            If there are some and the policy is ``"error"``, or if classes cannot be averaged.
        """
        first: dict[str, int] = {}
        places = np.array(
            [first.setdefault(sequence, row) for row, sequence in enumerate(self.sequences)]
        )
        conflicts = np.flatnonzero(self.y != self.y[places])
        if len(conflicts) and (policy == "error" or (policy == "mean" and self.target.classes)):
            row, original = conflicts[0], places[conflicts[0]]
            advice = "Pass --duplicates mean to average them, or keep for every row."
            if self.target.classes:
                advice = "Remove all but one of each, or pass --duplicates keep for every row."
            raise ValueError(
                f"{len(conflicts):,} rows of {name_of(self.source.path)} repeat a sequence "
                "with another target. "
                f"The first is data row {self.rows[row] + 1}, with {self.y[row]}; row "
                f"{self.rows[original] + 1} has {self.y[original]}. {advice}"
            )
        if policy == "mean" and self.n_duplicates:
            if not self.target.classes:
                sums = np.bincount(places, weights=self.y, minlength=len(self))
                counts = np.bincount(places, minlength=len(self))
                self.target = self.target._replace(values=sums / np.maximum(counts, 1))
            self._keep(np.unique(places))

    def _keep(self, kept: np.ndarray) -> None:
        self.rows, self.X = self.rows[kept], self.X[kept]
        self.target = self.target._replace(values=self.y[kept])
        self.groups = None if self.groups is None else self.groups[kept]
        self.sequences = [self.sequences[row] for row in kept]


def read_training_data(source: Source, task: str | None, note: Callable[[str], None]) -> TrainingData:
    """Return the rows that have a target. ``note`` gets what the user should know.

    Raises
    ------
    ValueError
        If a column does not exist, or if a row has no sequence, no group or an unreadable target.
    """
    labels = [source.target] if source.group is None else [source.target, source.group]
    frame = read_table(source.path, labels)
    given = column(
        frame, source.column, "--sequence" if source.mutations is None else "--mutations", source.path
    )
    targets = column(frame, source.target, "--target", source.path)
    group = None if source.group is None else column(frame, source.group, "--group", source.path)
    absent = is_absent(targets).to_numpy()
    if absent.all():
        raise ValueError(
            f"No row of {name_of(source.path)} has a target in {source.target!r}. Set --target "
            "to a column of "
            f"measurements; in FASTA, write it after the name: >id {source.target}=3.7."
        )
    if absent.any():
        note(
            f"{absent.sum():,} of {len(frame):,} rows have no target in {source.target!r} and are left "
            "out."
        )
    rows = np.flatnonzero(~absent)
    X = given.to_numpy(dtype=object)[rows]
    _check_texts(X, rows, source)
    groups = None
    if group is not None:
        groups = group.to_numpy(dtype=object)[rows]
        for row in np.flatnonzero(is_absent(group).to_numpy()[rows])[:1]:
            raise ValueError(
                f"{row_label(source.path, rows[row])} has no group in {source.group!r}. Write one, or "
                "remove the row."
            )
        groups = np.array([str(value).strip() for value in groups], dtype=object)

    def where(row: int) -> str:
        return f"{row_label(source.path, rows[row])}, column {source.target!r}"

    target = target_of(targets.to_numpy(dtype=object)[rows].tolist(), task, where)
    id_column = "id" if "id" in frame.columns else None
    return TrainingData(source, rows, X, target, groups, id_column, len(frame))


def row_label(path: str, row: int) -> str:
    """Return the label of a row in messages: rows are counted from 1, below the column names."""
    return f"{name_of(path)}, data row {row + 1}"


def _check_texts(X: Sequence[Any], rows: np.ndarray, source: Source) -> None:
    for row, value in zip(rows, X, strict=True):
        if is_missing(value) or (isinstance(value, str) and not value.strip()):
            raise ValueError(
                f"{row_label(source.path, row)} has nothing in {source.column!r}. Remove the row."
            )
        if not isinstance(value, str):
            raise ValueError(
                f"{row_label(source.path, row)}: {source.column!r} must be text; got {value!r}. Set "
                "--sequence or --mutations to another column."
            )
