"""Read FASTA files record by record, with errors that name file, line and record."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

from sklearn_esm._sequences import check_one_of, shorten
from sklearn_esm._text_lines import lines_of, opened

_UNDECODED = re.compile("[\udc80-\udcff]")  # surrogateescape's code points for invalid bytes
_SPACE = b" \t\v\f\n"
_WITHOUT_SPACE = str.maketrans("", "", _SPACE.decode())
_NAME_SHOWN = 40


class FastaRecords(NamedTuple):
    """Names and sequences of a FASTA file, in the order of the file.

    Attributes
    ----------
    names : list of str
        Text after the ``>`` of each record.
    sequences : list of str
        Letters of each record, unchanged.
    ids : list of str
        First word of each name, as in most tables; ``""`` for an empty name.
    """

    names: list[str]
    sequences: list[str]

    @property
    def ids(self) -> list[str]:
        """First word of each name, ``""`` if there is none."""
        return [(name.split(maxsplit=1) or [""])[0] for name in self.names]


class Record(NamedTuple):
    """A record of a FASTA file; its row is counted from 0."""

    row: int
    name: str
    sequence: str


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
        A named tuple of two lists, ``names`` and ``sequences``. Its property ``ids`` is the list of
        first words of the names.

    Raises
    ------
    ValueError
        If the file is not a FASTA file, is damaged, is not UTF-8 text, or has a record without a
        sequence. The message names line and record.
    OSError
        If the file cannot be opened.

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
    ...     records = read_fasta(path)
    >>> names, sequences = records
    >>> names
    ['magainin 2', 'LL-37']
    >>> records.ids
    ['magainin', 'LL-37']
    >>> sequences[0]
    'GIGKFLHSAKKFGKAFVGEIMNS'
    >>> ESMEmbeddingTransformer("esm2_t6_1M_bundled").fit_transform(sequences).shape
    (2, 128)
    """
    records = FastaRecords([], [])
    for record in iterate_fasta(path, empty=empty):
        records.names.append(record.name)
        records.sequences.append(record.sequence)
    return records


def iterate_fasta(
    path: str | os.PathLike[str] | IO[Any], *, empty: str = "error", shard: slice = slice(None)
) -> Iterator[Record]:
    """Yield the records of a FASTA file, one in memory at a time; see `read_fasta`.

    Parameters
    ----------
    path : str, path-like or file
        As for `read_fasta`.
    empty : {"error", "keep"}, default="error"
        How to handle a record without a sequence.
    shard : slice, default=slice(None)
        Start and step of the rows to yield. The other records are skipped without a check.
    """
    check_one_of("empty", empty, ("error", "keep"))
    first, step = shard.start or 0, shard.step or 1
    with opened(path) as (source, file):
        line, row = 1, -1  # line: the number of the header
        for row, text in enumerate(_texts(lines_of(file, source), source), start=-1):
            if row < 0:
                _check_start(text, source)
            elif row >= first and (row - first) % step == 0:
                name, sequence = _parsed(text, source, line)
                if not sequence and empty == "error":
                    raise ValueError(
                        f"{source}, line {line}: {record_label(row, name)}, has no sequence. "
                        "Remove the record, or pass empty='keep' for an empty sequence."
                    )
                yield Record(row, name, sequence)
            line += text.count(b"\n") + (row >= 0)
        if row < 0:
            got = f"{line - 1} lines, none of which begins with '>'" if line > 1 else "an empty file"
            raise ValueError(
                f"{source} must be a FASTA file; got {got}. Write a line '>name' before each sequence."
            )


def record_label(row: int, name: str) -> str:
    """Return a record's label in messages, counted from 1."""
    return f"record {row + 1}, '{shorten(name, _NAME_SHOWN)}'"


def _texts(blocks: Iterator[bytes], source: str) -> Iterator[bytes]:
    """Yield the lines before the first record, then those of each record without its ``>``."""
    pieces: list[bytes] = []
    for number, block in enumerate(blocks):
        first, *others = block.split(b"\n>")
        if number == 0:
            # at once, because a file of another format may have no record at all
            _check_start(first if others else first.rpartition(b"\n")[0], source)
        pieces.append(first)
        for text in others:
            yield b"".join(pieces)
            pieces = [text]
    yield b"".join(pieces)


def _check_start(text: bytes, source: str) -> None:
    """Raise ValueError if there is more than comments and blank lines before the first record."""
    for number, line in enumerate(_checked_lines(text, source, 0)):
        if line and not line.isspace() and not line.startswith(";"):
            _check_no_header(line, source, number)
            raise _error(
                source,
                number,
                f"the first record must begin with '>'; got '{shorten(line.strip(), _NAME_SHOWN)}'. "
                "Write a line '>name' before each sequence.",
            )


def _parsed(text: bytes, source: str, line: int) -> tuple[str, str]:
    """Return name and sequence of a record whose header is on ``line``."""
    header, _, body = text.partition(b"\n")
    letters = body.translate(None, _SPACE)
    if letters.isalpha() and header.isascii() and b"\0" not in header:  # nearly every record
        return header.decode().rstrip(), letters.decode()
    name, *lines = _checked_lines(b">" + text, source, line)
    kept = []
    for number, content in enumerate(lines, start=line + 1):
        if not content.startswith(";"):
            _check_no_header(content, source, number)
            kept.append(content)
    return name[1:].rstrip(), "".join(kept).translate(_WITHOUT_SPACE)


def _checked_lines(text: bytes, source: str, first: int) -> list[str]:
    lines = text.decode("utf-8", "surrogateescape").split("\n")
    for number, line in enumerate(lines, start=first):
        undecoded = _UNDECODED.search(line)
        if undecoded:
            raise _error(
                source,
                number,
                f"must be UTF-8 text; got the byte 0x{ord(undecoded[0]) - 0xDC00:02x} at position "
                f"{undecoded.start() + 1}. If this is a text file, save it as UTF-8.",
            )
        if "\0" in line:
            raise _error(source, number, "must be text; got a NUL byte. Pass a FASTA file.")
    return lines


def _check_no_header(line: str, source: str, number: int) -> None:
    if line.lstrip().startswith(">"):
        raise _error(
            source, number, "a record must begin with '>'; got white space before it. Remove it."
        )


def _error(source: str, line: int, what: str) -> ValueError:
    return ValueError(f"{source}, line {line}: {what}")
