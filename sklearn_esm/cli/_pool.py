"""Candidates for `suggest`: a file or all mutations of a reference, without those that were measured."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import combinations, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from sklearn_esm._optional_dependencies import import_extra
from sklearn_esm.cli._candidates import Column
from sklearn_esm.cli._table_files import BLOCK, is_absent, iterate_table, name_of
from sklearn_esm.variants import apply_mutations, single_substitutions

if TYPE_CHECKING:
    import pandas as pd


def scan_blocks(reference: str, first_position: int, changes: int, name: str) -> Generator[pd.DataFrame]:
    """Yield all substitutions of a reference, or all pairs of them, in blocks with their sequences."""
    pandas = import_extra("pandas", of="A scan", extra="train")
    texts = _scan(reference, first_position, changes)
    start = 0
    while block := list(islice(texts, BLOCK)):
        columns = {name: block, "sequence": apply_mutations(reference, block, first_position)}
        yield pandas.DataFrame(columns, index=range(start, start + len(block)), dtype=object)
        start += len(block)


def digest(sequence: Any) -> str:
    """Return what the record of a training has of each measured sequence."""
    return hashlib.sha256(str(sequence).strip().upper().encode()).hexdigest()[:16]


def measured_targets(record: dict[str, Any]) -> list[float]:
    """Return the highest and the lowest target of the training; nothing for classes."""
    known = [record["measured"]["highest"], record["measured"]["lowest"]]
    return [float(value) for value in known if value is not None]


def read_measured(source: str, chosen: Column, target: str) -> tuple[set[str], list[float]]:
    """Return digests of the sequences of a file, and the targets of its rows that have one.

    Rows without a target, and files without that column, count as measured, too: such candidates may be
    on their way.

    Raises
    ------
    ValueError
        If the column of the sequences does not exist, or if a target is not a number.
    """
    where = name_of(source)
    digests: set[str] = set()
    targets: list[float] = []
    with closing(iterate_table(source, [target])) as blocks:
        for frame in blocks:
            # the headers of a FASTA file may have targets
            is_fasta = list(frame.columns) == ["id", "sequence", target]
            columns = frame[["id", "sequence"]] if is_fasta else frame
            digests.update(map(digest, chosen.of(columns).sequences(columns, where)))
            if target in frame.columns:
                values = frame[target]
                for row, value in values[~is_absent(values)].items():
                    targets.append(_number(value, target, where, int(row) + 1))
    return digests, targets


def _scan(reference: str, first_position: int, changes: int) -> Iterator[str]:
    positions = range(first_position, first_position + len(reference))
    if changes == 1:
        yield from single_substitutions(reference, first_position=first_position)
        return
    singles = [
        single_substitutions(reference, [position], first_position=first_position)
        for position in positions
    ]
    for left, right in combinations(singles, 2):
        for one in left:
            for other in right:
                yield f"{one}:{other}"


def _number(value: Any, target: str, source: str, row: int) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = np.nan
    if not np.isfinite(number):
        raise ValueError(f"{source}: row {row} must have a number as {target}; got {value!r}.")
    return number
