"""Read FASTA files with Biopython, with errors that name file, line and record."""

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
    b"BZh": "got bzip2 data. Decompress the file first; gzip is read directly.",
    b"\xfd7zXZ\0": "got xz data. Decompress the file first; gzip is read directly.",
    b"\x28\xb5\x2f\xfd": "got zstd data. Decompress the file first; gzip is read directly.",
    b"PK\x03\x04": "got a zip archive. Unpack it first; gzip is read directly.",
    b"\xff\xfe": "got UTF-16 text. Save it as UTF-8.",
    b"\xfe\xff": "got UTF-16 text. Save it as UTF-8.",
}
_LONGEST_MAGIC = max(map(len, _OTHER_FORMATS))
_UNDECODED = re.compile("[\udc80-\udcff]")  # surrogateescape's code points for invalid bytes
_WITHOUT_SPACE = str.maketrans("", "", " \t\v\f\r\n")
_NAME_SHOWN = 40


class FastaRecords(NamedTuple):
    """Names and sequences of a FASTA file, in the order of the file.

    Attributes
    ----------
    names : list of str
        Text after the ``>`` of each record.
    sequences : list of str
        Letters of each record, unchanged.
    """

    names: list[str]
    sequences: list[str]


def read_fasta(path: str | os.PathLike[str] | IO[Any], *, empty: str = "error") -> FastaRecords:
    r"""Read the names and sequences of a FASTA file, plain or compressed with gzip.

    Parameters
    ----------
    path : str, path-like or file
        Path of the file, ``"-"`` for standard input, or an open file in binary or text mode. An open
        file stays open. gzip is detected by its first bytes, except in text mode.

    empty : {"error", "keep"}, default="error"
        How to handle a record without a sequence, often a sign of a truncated file. ``"keep"``
        returns an empty string, which estimators handle as a missing sequence.

    Returns
    -------
    FastaRecords
        A named tuple of two lists, ``names`` and ``sequences``.

    Raises
    ------
    ValueError
        If the file is not a FASTA file, is damaged, is not UTF-8 text, or has a record without a
        sequence. The message names line and record.
    OSError
        If the file cannot be opened.
    ImportError
        If Biopython is not installed. It is part of the extra ``bio``.

    See Also
    --------
    ESMEmbeddingTransformer : Embed the sequences.

    Notes
    -----
    A name is the whole line after the ``>``, without trailing white space. Names can be repeated or
    empty.

    A sequence is its lines joined, without white space. Letters are neither checked nor changed: the
    estimators' parameter ``invalid`` handles gaps, stops, digits and nucleotides. DNA passes there too,
    because A, C, G, T and N are residues.

    All line endings are accepted, also mixed. Byte-order marks, blank lines and comment lines that
    begin with ``;`` are ignored.

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
        raise ValueError(f"empty must be 'error' or 'keep'; got {empty!r}.")
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
        got = f"{lines.number} lines, none of which begins with '>'" if lines.number else "an empty file"
        raise ValueError(
            f"{source} must be a FASTA file; got {got}. Write a line '>name' before each sequence."
        )
    return records


def record_label(row: int, name: str) -> str:
    """Return a record's label in messages, counted from 1."""
    return f"record {row + 1}, '{shorten(name, _NAME_SHOWN)}'"


class _Lines:
    """The lines for the parser, counted. Raises errors for lines that the parser would ignore."""

    def __init__(self, text: Iterable[str], source: str) -> None:
        self._text = text
        self._source = source
        self.number = 0  # of the latest line, from 1
        self.headers: list[int] = []  # line numbers of the records' first lines

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
                    # the parser would append this line to the previous sequence
                    raise self._error(
                        "a record must begin with '>'; got white space before it. Remove it."
                    )
                elif not self.headers and not line.isspace():
                    raise self._error(
                        "the first record must begin with '>'; got "
                        f"'{shorten(line.strip(), _NAME_SHOWN)}'. Write a line '>name' before each "
                        "sequence."
                    )
                yield line
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(
                f"{self._source} must be intact gzip data; got damaged or truncated data after line "
                f"{self.number:,} ({error}). Copy the file again."
            ) from error

    def _checked(self, line: str) -> str:
        undecoded = _UNDECODED.search(line)
        if undecoded:
            raise self._error(
                f"must be UTF-8 text; got the byte 0x{ord(undecoded[0]) - 0xDC00:02x} at position "
                f"{undecoded.start() + 1}. If this is a text file, save it as UTF-8."
            )
        if "\0" in line:
            raise self._error("must be text; got a NUL byte. Pass a FASTA file.")
        # in every line, because files with a byte-order mark may have been concatenated
        return line.removeprefix("\ufeff")

    def _error(self, what: str) -> ValueError:
        return ValueError(f"{self._source}, line {self.number}: {what}")


class _Rejoined(io.RawIOBase):
    """A file whose first bytes were already read, because a pipe cannot seek back."""

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
    """Yield the file's name for messages and the file, which is closed only if it was opened here."""
    if not isinstance(path, (str, os.PathLike)):
        if not hasattr(path, "read"):
            raise TypeError(
                "path must be a path, an open file, or '-' for standard input; got "
                f"{shorten(repr(path), 40)}."
            )
        yield str(getattr(path, "name", "The open file")), path
    elif os.fspath(path) == "-":
        yield "Standard input", getattr(sys.stdin, "buffer", sys.stdin)
    else:
        with open(os.path.expanduser(path), "rb") as file:
            yield os.fspath(path), file


def _text(file: IO[Any], source: str) -> Iterable[str]:
    """Return the lines of a file, with any line endings replaced by newlines."""
    try:
        head = file.read(_LONGEST_MAGIC)
        if isinstance(head, str):
            return io.StringIO(head + file.read(), newline=None)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{source} must be text in {error.encoding}; got other bytes. Open it in mode 'rb'."
        ) from error
    while len(head) < _LONGEST_MAGIC and (more := file.read(_LONGEST_MAGIC - len(head))):
        head += more  # an unbuffered pipe can return fewer bytes
    for magic, what in _OTHER_FORMATS.items():
        if head.startswith(magic):
            raise ValueError(f"{source} must be plain or gzip FASTA text; {what}")
    whole: Any = io.BufferedReader(_Rejoined(head, file))
    if head.startswith(_GZIP):
        whole = gzip.GzipFile(fileobj=whole)
    return io.TextIOWrapper(whole, encoding="utf-8", errors="surrogateescape", newline=None)
