"""Read the records of a FASTA file, check them, and count what they take."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from rich.filesize import decimal

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm._checkpoints._architecture import Architecture
from sklearn_esm._execution._pieces import Item
from sklearn_esm._execution._progress import cost_of
from sklearn_esm._fasta import Record, iterate_fasta, record_label
from sklearn_esm._sequences import SequenceError, clean_sequences
from sklearn_esm.cli._folders import is_address

_SCANNED = 1000  # records checked at a time
_NAMES_BYTES = 2**30  # of npz, which pads every name to the longest one


class Input(NamedTuple):
    """The records of a FASTA file that belong to one shard."""

    source: str
    empty: str
    shard: slice

    def records(self) -> Iterator[Record]:
        """Yield the records."""
        return iterate_fasta(self.source, empty=self.empty, shard=self.shard)

    @property
    def is_readable_twice(self) -> bool:
        """Whether this is a file and not a pipe."""
        return is_address(self.source) or os.path.isfile(os.path.expanduser(self.source))

    @contextmanager
    def records_named(self, records: Sequence[Record]) -> Iterator[None]:
        """Raise an error about a sequence with the label of its record."""
        try:
            yield
        except SequenceError as error:
            where = "standard input" if self.source == "-" else self.source
            label = record_label(records[error.row].row, records[error.row].name)
            raise ValueError(f"{where}: {label} {error.problem}") from error


class Totals:
    """Numbers of what was read."""

    def __init__(self) -> None:
        self.records = 0
        self.lengths: Counter[int] = Counter()  # how many sequences have so many residues
        self.name_bytes = 0
        self.longest_name = 0
        self._longest: Record | None = None

    def add(self, records: Sequence[Record], lengths: Sequence[int] = ()) -> None:
        """Count records, and the residues of their sequences."""
        self.records += len(records)
        self.lengths.update(lengths)
        for record in records:
            self.name_bytes += len(record.name.encode())
            if len(record.name) > self.longest_name:
                self.longest_name, self._longest = len(record.name), record

    @property
    def residues(self) -> int:
        """Residues of all sequences."""
        return sum(length * number for length, number in self.lengths.items())

    def check_names(self, vectors: int) -> None:
        """Raise ValueError if the names would need more room in an npz file than the vectors."""
        size = 4 * self.longest_name * self.records
        if size > max(_NAMES_BYTES, vectors) and self._longest is not None:
            raise ValueError(
                f"Names must be short for npz, which pads each to the longest one; got "
                f"{self.longest_name:,} characters in {record_label(*self._longest[:2])}, so the names "
                f"would need {decimal(size)}. Shorten the name, or pass -o with .parquet or .h5."
            )


def name_of(source: str) -> str:
    """Return the name of an input without its folder and suffixes."""
    return "stdin" if source == "-" else Path(source.removesuffix(".gz")).stem


def scan(given: Input, embed: ESMEmbeddingTransformer) -> Totals:
    """Check every record before any is embedded, and count them."""
    totals = Totals()
    records = given.records()
    while some := list(islice(records, _SCANNED)):
        with given.records_named(some):
            totals.add(some, lengths_of(some, embed))
    return totals


def check_lengths(
    given: Input, totals: Totals, embed: ESMEmbeddingTransformer, architecture: Architecture
) -> None:
    """Raise ValueError if a record is longer than the model accepts, with the first one."""
    limit = embed.max_length or architecture.max_length
    if embed.overlong != "error" or limit is None or max(totals.lengths, default=0) <= limit:
        return
    for record in given.records():
        with given.records_named([record]):
            embed._accepted(_cleaned([record], embed), architecture)


def lengths_of(records: Sequence[Record], embed: ESMEmbeddingTransformer) -> list[int]:
    """Return the number of residues of each sequence that is not missing."""
    return [len(sequence) for sequence in _cleaned(records, embed) if sequence]


def cost_of_lengths(
    lengths: Mapping[int, int], embed: ESMEmbeddingTransformer, architecture: Architecture
) -> int:
    """Return what the forward passes of sequences cost, at most: equal ones are run once."""
    limit = embed.max_length or architecture.max_length
    kept = limit if embed.overlong == "truncate" else None
    return sum(
        number * cost_of([Item(("X" * length)[:kept])], limit, architecture.width)
        for length, number in lengths.items()
    )


def _cleaned(records: Sequence[Record], embed: ESMEmbeddingTransformer) -> list[str | None]:
    sequences = [record.sequence for record in records]
    return clean_sequences(sequences, invalid=embed.invalid, missing=embed.missing)
