"""Cut records into parts, and keep each embedded part in a file, so that a command can resume."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sklearn_esm._fasta import Record
from sklearn_esm.cli._folders import Folder

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


class PartFiles:
    """The files of a command's parts in a folder.

    The name of a file contains a hash of the settings and of the records. A part that another command
    or another input left is never used.

    Parameters
    ----------
    folder : Folder
        Created with the first part.
    settings : str
        Everything besides the records on which the vectors depend.
    suffix : str
        Suffix of the files.
    name : str
        Start of the names of the files.
    shard : slice
        Which records of the input the parts hold.
    """

    def __init__(self, folder: Folder, settings: str, suffix: str, name: str, shard: slice) -> None:
        self.folder = folder
        self.names: list[str] = []  # of the files, in the order of the records
        self.resumed = 0  # parts that an earlier run of the command embedded
        self._settings = settings
        self._suffix = suffix
        self._name = name
        self._shards = shard.step or 1
        self._shard = "" if self._shards == 1 else f"{shard.start + 1}of{shard.step}-"
        self._present = set(folder.names())

    def check_shards(self) -> None:
        """Raise ValueError if the folder holds parts of the same input, divided into other shards."""
        for name in sorted(self._present):
            found = re.fullmatch(self._pattern(r"(?:\d+of(\d+)-)?"), name)
            if found and int(found[1] or 1) != self._shards:
                raise ValueError(
                    f"The folder must hold parts of {self._shards} shards of {self._name}; got {name}, "
                    f"of {found[1] or 1}. Pass the former --shard or --split, or another folder to -o."
                )

    def keep(self, part: list[Record], write: Callable[[Path], None]) -> bool:
        """Write the file of the next part with ``write``; return True if it already existed."""
        number = f"{len(self.names):05d}"
        name = f"{self._name}-{number}-{self._shard}{self._hash(part)}{self._suffix}"
        existed = name in self._present
        if not existed:
            with self.folder.new(name) as path:
                write(path)
        self.resumed += existed
        self.names.append(name)
        return existed

    def remove_others(self) -> None:
        """Remove the parts of other records or settings, and drafts of killed commands."""
        file = self._pattern(self._shard) + r"(?:\.\w+\.part)?"
        for name in set(self.folder.names()) - set(self.names):
            if re.fullmatch(file, name):
                self.folder.remove(name)

    def _pattern(self, shard: str) -> str:
        """Return a pattern of the parts of this input, which matches those of no other input."""
        return rf"{re.escape(self._name)}-\d{{5,}}-{shard}[0-9a-f]{{16}}{re.escape(self._suffix)}"

    def _hash(self, part: list[Record]) -> str:
        digest = hashlib.blake2b(self._settings.encode(), digest_size=8)
        for _, name, sequence in part:
            digest.update(f"{len(name)} {name} {len(sequence)} {sequence} ".encode())
        return digest.hexdigest()
