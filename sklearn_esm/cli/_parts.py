"""Cut records into parts, and keep each embedded part in a file, so that a command can resume."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sklearn_esm._fasta import Record
from sklearn_esm.cli._drafts import draft_of

# a part is what is in memory at once, what one write to the disk holds, and what a kill may lose
_ROWS = 2**14
_BYTES = 2**25  # of vectors
_OPERATIONS = 1e14  # of the model: about ten minutes on two cores, and a few seconds on a GPU


class Cost(NamedTuple):
    """What a record costs, to decide where a part ends."""

    row_bytes: int
    residue_bytes: int
    residue_operations: float

    def share(self, record: Record) -> float:
        """Return which share of a part a record takes."""
        residues = len(record.sequence)
        size = self.row_bytes + residues * self.residue_bytes
        return 1 / _ROWS + size / _BYTES + residues * self.residue_operations / _OPERATIONS


class Embedded(NamedTuple):
    """Names and vectors of the records of a part."""

    names: Sequence[str]
    values: np.ndarray  # (records, features), or (residues of all records, features)
    lengths: np.ndarray | None = None  # (records,), residues of each record; None for pooled vectors


def cut(records: Iterable[Record], cost: Cost) -> Iterator[list[Record]]:
    """Yield parts of consecutive records; the same records always give the same parts."""
    part: list[Record] = []
    spent = 0.0
    for record in records:
        share = cost.share(record)
        if part and spent + share > 1:
            yield part
            part, spent = [], 0.0
        part.append(record)
        spent += share
    if part:
        yield part


class PartFolder:
    """The files of a command's parts in a folder, each complete or absent.

    The name of a file contains a hash of the settings and of the records. A part that another command
    or another input left is never used.

    Parameters
    ----------
    folder : Path
        Created with the first part.
    settings : str
        Everything besides the records on which the vectors depend.
    suffix : str
        Suffix of the files.
    prefix : str, default=""
        Start of the names of the files.
    """

    def __init__(self, folder: Path, settings: str, suffix: str, prefix: str = "") -> None:
        self.folder = folder
        self.paths: list[Path] = []
        self.resumed = 0  # parts that an earlier run of the command embedded
        self._settings = settings
        self._suffix = suffix
        self._prefix = prefix

    def keep(self, part: list[Record], write: Callable[[Path], None]) -> None:
        """Write the file of the next part with ``write``, unless it exists."""
        path = self.folder / f"{self._prefix}{len(self.paths):05d}-{self._digest(part)}{self._suffix}"
        if path.is_file():
            self.resumed += 1
        else:
            self.folder.mkdir(exist_ok=True)
            try:
                with draft_of(path) as draft:
                    write(draft)
            except BaseException:
                self._remove_if_empty()
                raise
        self.paths.append(path)

    def remove_others(self) -> None:
        """Remove the parts of other inputs or settings, and drafts of killed commands."""
        kept = set(self.paths)
        for path in self.folder.glob(f"{self._prefix}*-*{self._suffix}*"):
            if path not in kept:
                path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the parts, and the folder if it has nothing else."""
        for path in self.folder.glob(f"{self._prefix}*"):
            path.unlink(missing_ok=True)
        self._remove_if_empty()

    def _remove_if_empty(self) -> None:
        with suppress(OSError):
            self.folder.rmdir()

    def _digest(self, part: list[Record]) -> str:
        digest = hashlib.blake2b(self._settings.encode(), digest_size=8)
        for _, name, sequence in part:
            digest.update(f"{len(name)} {name} {len(sequence)} {sequence} ".encode())
        return digest.hexdigest()
