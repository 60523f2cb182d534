"""Rows of a table as sequences for a saved pipeline, and the pipeline as it is run by a command."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sklearn_esm._base import SequenceTransformer
from sklearn_esm._sequences import SequenceError, shorten
from sklearn_esm.cli._reference import mutated_sequences
from sklearn_esm.cli._table_files import column
from sklearn_esm.variants import MutationsToSequences

if TYPE_CHECKING:
    import pandas as pd

# parts of messages about sequences for which these commands have no option, or another one
_ADVICE = {
    "Set (invalid|missing|overlong)=": "Correct the row, or remove it.",
    "Pass None instead": "Correct the row, or remove it.",
    "Apply it to the wild type": "Pass --mutations instead of --sequence.",
}


@dataclass(frozen=True)
class Column:
    """The column of a table that has the sequences, or the mutations of a reference."""

    name: str
    option: str  # that names the column
    reference: str | None = None  # None for a column of sequences
    first_position: int = 1
    is_default: bool = False  # that of the training, which a FASTA file lacks

    def of(self, frame: pd.DataFrame) -> Column:
        """Return this column, or the sequences of a FASTA file if no option names a column."""
        if self.is_default and list(frame.columns) == ["id", "sequence"]:
            return Column("sequence", "--sequence")
        return self

    def sequences(self, frame: pd.DataFrame, source: str) -> list[Any]:
        """Return the sequence of each row, or raise ValueError with the row of the file."""
        values: list[Any] = column(frame, self.name, self.option, source).tolist()
        if self.reference is None or not values:
            return values
        with rows_of(frame, source):
            return mutated_sequences(self.reference, values, self.first_position)


def chosen_column(
    record: dict[str, Any],
    *,
    sequence: str | None,
    mutations: str | None,
    reference: str | None,
    first_position: int | None,
) -> Column:
    """Return the column that options name, or that of the training.

    Raises
    ------
    ValueError
        If there are mutations without a reference.
    """
    trained = record["input"]
    if sequence is not None:
        return Column(sequence, "--sequence")
    if mutations is None and trained["kind"] == "sequences":
        return Column(trained["column"], "--sequence", is_default=True)
    wild_type, first = reference_of(record, reference, first_position)
    if wild_type is None:
        raise ValueError("--mutations needs --reference, because the model was trained with sequences.")
    name = mutations or trained["column"]
    return Column(name, "--mutations", wild_type, first, is_default=mutations is None)


def reference_of(
    record: dict[str, Any], reference: str | None, first_position: int | None
) -> tuple[str | None, int]:
    """Return the reference and its first position: those of options, or those of the training."""
    trained = record["input"]
    first = trained["first_position"] if first_position is None else first_position
    if reference is None:
        return trained["reference"], first
    return reference, first


@contextmanager
def rows_of(frame: pd.DataFrame, source: str) -> Iterator[None]:
    """Raise an error about a row of a block with its row in the file, counted from 1."""
    try:
        yield
    except SequenceError as error:
        number = int(frame.index[error.row]) + 1
        label = f", {shorten(str(frame['id'].iloc[error.row]), 40)!r}," if "id" in frame.columns else ""
        problem = error.problem
        for advice, option in _ADVICE.items():
            problem = re.sub(f"{advice}.*", option, problem)
        raise ValueError(f"{source}: row {number}{label} {problem}") from error


def check_new_columns(frame: pd.DataFrame, names: Iterable[str], source: str) -> None:
    """Raise ValueError if a table already has a column of the output."""
    for name in names:
        if name in frame.columns:
            raise ValueError(
                f"{source} must not have a column {name!r}, which the output adds. Rename it first."
            )


def without_mutations(pipeline: Any) -> Any:
    """Return the steps of a pipeline from the first that accepts sequences.

    They accept insertions and deletions, too, which have no name that `name_mutations` finds.
    """
    steps = getattr(pipeline, "steps", [])
    return pipeline[1:] if steps and isinstance(steps[0][1], MutationsToSequences) else pipeline


def set_run(
    pipeline: Any,
    *,
    model: str | None,
    device: str | None,
    batch_tokens: int | None,
    cache: Path | None,
    verbose: bool,
) -> None:
    """Set how the transformers of a fitted pipeline run; what they compute is not changed.

    Raises
    ------
    ValueError
        If ``model`` is given for a transformer of several models.
    """
    for step in pipeline.get_params(deep=True).values():
        if not isinstance(step, SequenceTransformer):
            continue
        # the marginals of a reference are needed by each block; the memory cache has a limit
        step.set_params(
            device=device,
            batch_tokens=batch_tokens,
            cache="memory" if cache is None else str(cache),
            verbose=verbose,
        )
        if model is not None:
            if isinstance(step.model, (list, tuple)):
                raise ValueError("--model must be left out, because the pipeline has several models.")
            step.set_params(model=model)
