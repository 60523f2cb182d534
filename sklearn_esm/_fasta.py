"""FASTA files to names and sequences: Biopython parses, and this room says where a file is wrong."""

from __future__ import annotations

import gzip
import io
import os
import re
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any, NamedTuple

from sklearn_esm._optional_dependencies import import_extra
from sklearn_esm._sequences import shorten

_GZIP = b"\x1f\x8b"
_OTHER_FORMATS = {
    b"BZh": "is compressed with bzip2. Decompress it first; gzip is read as it is.",
    b"\xfd7zXZ\0": "is compressed with xz. Decompress it first; gzip is read as it is.",
    b"\x28\xb5\x2f\xfd": "is compressed with zstd. Decompress it first; gzip is read as it is.",
    b"PK\x03\x04": "is a zip archive. Unpack it first; gzip is read as it is.",
    b"\xff\xfe": "is UTF-16 text. Save it as UTF-8.",
    b"\xfe\xff": "is UTF-16 text. Save it as UTF-8.",
}
_LONGEST_MAGIC = max(map(len, _OTHER_FORMATS))
_UNDECODED = re.compile("[\udc80-\udcff]")  # what surrogateescape makes of bytes that are no UTF-8
_WITHOUT_SPACE = str.maketrans("", "", " \t\v\f\r\n")
_NAME_SHOWN = 40


class FastaRecords(NamedTuple):
    """What a FASTA file holds, in its order.

    Attributes
    ----------
    names : list of str
        What stands behind the ``>`` of each record.
    sequences : list of str
        The letters of each record, as they are written.
    """

    names: list[str]
    sequences: list[str]


def read_fasta(path: str | os.PathLike[str] | IO[Any], *, empty: str = "error") -> FastaRecords:
    r"""Read the names and sequences of a FASTA file, plain or compressed with gzip.

    Parameters
    ----------
    path : str, path-like or file
        The file, ``"-"`` for standard input, or an open file in binary or text mode, which is left
        open. gzip is known by its first bytes, whatever the name (not in text mode).

    empty : {"error", "keep"}, default="error"
        What becomes of a record without a sequence, which often means that a file was cut short:
        refused, or kept as an empty string, which the estimators read as a missing sequence.

    Returns
    -------
    FastaRecords
        A named tuple of two lists, ``names`` and ``sequences``.

    Raises
    ------
    ValueError
        For what is no FASTA file, is damaged, or is not UTF-8 text, and for a record without a
        sequence; the message names line and record.
    OSError
        Where the file cannot be opened.
    ImportError
        Where Biopython is not installed, which comes with the extra ``bio``.

    See Also
    --------
    ESMEmbeddingTransformer : Takes the sequences.

    Notes
    -----
    A name is the whole line behind the ``>``, without white space at its end. Names may be repeated
    or empty: they are kept as they are.

    A sequence is its lines joined, without white space. Its letters are not looked at, nor is their
    case changed: gaps, stops, digits and nucleotides are up to the parameter ``invalid`` of the
    estimators. DNA passes there, too, for A, C, G, T and N are residues.

    Line ends may be those of any system, also mixed. A byte-order mark is left out, and so are blank
    lines and lines that begin with ``;``, the comments of early FASTA.

    All records are held in memory.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklearn_esm import ESMEmbeddingTransformer, read_fasta
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "peptides.fasta"
    ...     _ = path.write_text(">magainin 2\nGIGKFLHSAKKF\nGKAFVGEIMNS\n>LL-37\nLLGDFFRKSK\n")
    ...     names, sequences = read_fasta(path)
    >>> names
    ['magainin 2', 'LL-37']
    >>> sequences[0]
    'GIGKFLHSAKKFGKAFVGEIMNS'
    >>> ESMEmbeddingTransformer("esm2_t6_1M_bundled").fit_transform(sequences).shape
    (2, 128)
    """
    if empty not in ("error", "keep"):
        raise ValueError(f"empty={empty!r} is unknown. Pass 'error' or 'keep'.")
    module = import_extra("Bio.SeqIO.FastaIO", of="read_fasta", extra="bio", library="Biopython")
    records = FastaRecords([], [])
    with _opened(path) as (source, file):
        lines = _Lines(_text(file, source), source)
        for name, sequence in module.SimpleFastaParser(iter(lines)):
            sequence = sequence.translate(_WITHOUT_SPACE)
            row = len(records.names)
            if not sequence and empty == "error":
                raise ValueError(
                    f"{source}, line {lines.headers[row]}: {record_label(row, name)}, has no sequence. "
                    "Remove the record, or pass empty='keep' for an empty sequence."
                )
            records.names.append(name)
            records.sequences.append(sequence)
    if not records.names:
        what = f"has {lines.number} lines, none of which begins with '>'" if lines.number else "is empty"
        raise ValueError(
            f"{source} {what}. Pass a FASTA file: for each record a line '>name', then its sequence."
        )
    return records


def record_label(row: int, name: str) -> str:
    """Name a record in a message, counted from 1 as in an editor."""
    return f"record {row + 1}, '{shorten(name, _NAME_SHOWN)}'"


class _Lines:
    """The lines that the parser is to see, counted; what it would pass over in silence is refused."""

    def __init__(self, text: Iterable[str], source: str) -> None:
        self._text = text
        self._source = source
        self.number = 0  # of the latest line, from 1
        self.headers: list[int] = []  # the numbers of the lines that begin a record

    def __iter__(self) -> Iterator[str]:
        try:
            for line in self._text:
                self.number += 1
                if not line.isascii() or "\0" in line:
                    line = self._checked(line)
                if line.startswith(">"):
                    self.headers.append(self.number)
                elif not line or line.startswith(";"):
                    continue
                elif line[0].isspace() and line.lstrip().startswith(">"):
                    # to the parser it would be a piece of the former sequence
                    raise self._error("white space stands before the '>'. Remove it.")
                elif not self.headers and not line.isspace():
                    raise self._error(
                        f"'{shorten(line.strip(), _NAME_SHOWN)}' stands before the first '>', so this "
                        "is no FASTA file. Begin every record with a line '>name'."
                    )
                yield line
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(
                f"{self._source}: the gzip data after line {self.number:,} are damaged or cut short "
                f"({error}). Copy the file again."
            ) from error

    def _checked(self, line: str) -> str:
        undecoded = _UNDECODED.search(line)
        if undecoded:
            raise self._error(
                f"the byte 0x{ord(undecoded[0]) - 0xDC00:02x} at position {undecoded.start()} is no "
                "UTF-8. If this is a text file, save it as UTF-8."
            )
        if "\0" in line:
            raise self._error("a NUL byte, so this is no text file. Pass a FASTA file.")
        # not the file's beginning alone: files that have one may have been joined to one file
        return line.removeprefix("\ufeff")

    def _error(self, what: str) -> ValueError:
        return ValueError(f"{self._source}, line {self.number}: {what}")


class _Rejoined(io.RawIOBase):
    """A file whose first bytes have been read already; a pipe cannot be asked for them again."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._head[: len(buffer)] or self._rest.read(len(buffer))
        self._head = self._head[len(data) :]
        buffer[: len(data)] = data
        return len(data)


@contextmanager
def _opened(path: str | os.PathLike[str] | IO[Any]) -> Iterator[tuple[str, IO[Any]]]:
    """What a message calls the file, and the file, closed at the end only if it was opened here."""
    if not isinstance(path, (str, os.PathLike)):
        if not hasattr(path, "read"):
            raise TypeError(
                f"{shorten(repr(path), 40)} is neither the path of a FASTA file nor an open one. Pass "
                "a path, an open file, or '-' for standard input."
            )
        yield str(getattr(path, "name", "The open file")), path
    elif os.fspath(path) == "-":
        yield "Standard input", getattr(sys.stdin, "buffer", sys.stdin)
    else:
        with open(os.path.expanduser(path), "rb") as file:
            yield os.fspath(path), file


def _text(file: IO[Any], source: str) -> Iterable[str]:
    """The lines of a file, whatever ends them in it; each ends with a newline but the last one."""
    try:
        head = file.read(_LONGEST_MAGIC)
        if isinstance(head, str):
            return io.StringIO(head + file.read(), newline=None)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{source} is no text in {error.encoding}, as which it was opened. Open it in mode 'rb'."
        ) from error
    while len(head) < _LONGEST_MAGIC and (more := file.read(_LONGEST_MAGIC - len(head))):
        head += more  # an unbuffered pipe gives what it has
    for magic, what in _OTHER_FORMATS.items():
        if head.startswith(magic):
            raise ValueError(f"{source} {what}")
    whole: Any = io.BufferedReader(_Rejoined(head, file))
    if head.startswith(_GZIP):
        whole = gzip.GzipFile(fileobj=whole)
    return io.TextIOWrapper(whole, encoding="utf-8", errors="surrogateescape", newline=None)
