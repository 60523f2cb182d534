"""Read CSV, TSV, parquet and FASTA files as pandas frames, block by block, and write such tables."""

from __future__ import annotations

import csv
import gzip
import io
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from sklearn_esm._fasta import iterate_fasta
from sklearn_esm._optional_dependencies import import_extra
from sklearn_esm._text_lines import opened
from sklearn_esm.cli._drafts import draft_of
from sklearn_esm.cli._errors import discard_output

if TYPE_CHECKING:
    import pandas as pd

BLOCK = 4096  # rows in memory at a time
_SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_FASTA = (".fasta", ".fa", ".faa", ".fas")
_MISSING = ("", "NA", "N/A", "nan", "NaN", "NULL", "null", "None")


def read_table(source: str, labels: Sequence[str] = ()) -> pd.DataFrame:
    """Return all rows of a file; see `iterate_table`."""
    return _pandas().concat(list(iterate_table(source, labels)), ignore_index=True)


def iterate_table(source: str, labels: Sequence[str] = (), rows: int = BLOCK) -> Generator[pd.DataFrame]:
    """Yield the rows of a file in blocks.

    Parameters
    ----------
    source : str
        Path of a ``.csv``, ``.tsv``, ``.parquet`` or FASTA file, of which text files can be compressed
        with gzip; or ``"-"`` for CSV or FASTA on standard input.
    labels : sequence of str, default=()
        Names of labels in the headers of a FASTA file, as in ``>id brightness=3.7``. Each becomes a
        column, with ``""`` if a header lacks it. Ignored for tables.
    rows : int, default=4096
        Number of rows of a block.

    Yields
    ------
    frame : DataFrame
        Columns of a text file are text exactly as in the file, because pandas would read the peptide
        "NA" as missing and the identifier "0010" as a number. A FASTA file has the columns ``id`` (the
        first word of the header) and ``sequence``. Columns of parquet keep their types.
        The index counts rows from 0.

    Raises
    ------
    ValueError
        If the file is damaged, empty or has another format.
    OSError
        If the file cannot be opened.
    """
    suffix = _suffix(source)
    if suffix == ".parquet":
        yield from _parquet_blocks(source, rows)
        return
    with opened(source) as (name, raw):
        file: Any = raw if hasattr(raw, "peek") else io.BufferedReader(cast(io.RawIOBase, raw))
        is_fasta = suffix in _FASTA or (suffix not in _SEPARATORS and file.peek(1)[:1] == b">")
        if is_fasta:
            yield from _fasta_blocks(file, labels, rows)
        elif suffix in _SEPARATORS or source == "-":
            is_compressed = file.peek(2)[:2] == b"\x1f\x8b"
            text = gzip.GzipFile(fileobj=file) if is_compressed else file
            yield from _text_blocks(text, name, _SEPARATORS.get(suffix, ","), rows)
        else:
            raise ValueError(
                f"{name} must be a .csv, .tsv, .parquet or FASTA file. Rename it, if it is one of them."
            )


def column(frame: pd.DataFrame, name: str, option: str, source: str) -> pd.Series:
    """Return a column, or raise ValueError with the names of those that exist."""
    if name not in frame.columns:
        listed = ", ".join(map(str, frame.columns))
        raise ValueError(f"{source} has no column {name!r}. Set {option} to one of: {listed}.")
    return frame[name]


def name_of(source: str) -> str:
    """Return the name of a file in messages."""
    return "Standard input" if source == "-" else source


def output_name(output: str) -> str:
    """Return the name of an output in messages."""
    return "standard output" if output == "-" else output


def is_absent(values: pd.Series) -> pd.Series:
    """Return whether each value is missing or a text that means so."""
    return values.isna() | values.astype(str).str.strip().isin(_MISSING)


@contextmanager
def table_writer(output: str) -> Iterator[Callable[[pd.DataFrame], None]]:
    """Yield a function that appends a frame to a CSV, TSV or parquet file.

    ``"-"`` is CSV on standard output. A file is written under a temporary name, so that
    it is complete or absent.
    """
    if output == "-":
        try:
            yield _text_writer(sys.stdout, ",")
            sys.stdout.flush()
        except BrokenPipeError:
            discard_output()
            raise
        return
    suffix = check_table_output(output)
    with draft_of(Path(output).expanduser()) as draft:
        if suffix == ".parquet":
            with _parquet_writer(draft) as write:
                yield write
        else:
            with draft.open("w", encoding="utf-8", newline="") as file:
                yield _text_writer(file, _SEPARATORS[suffix])


def check_table_output(output: str) -> str:
    """Return the suffix of an output, or raise ValueError if no table can be written there."""
    suffix = "" if output == "-" else _suffix(output)
    if output != "-" and suffix not in (*_SEPARATORS, ".parquet"):
        raise ValueError(f"-o must end in .csv, .tsv or .parquet, or be -; got {output}.")
    return suffix


def _suffix(path: str) -> str:
    name = Path(path.lower())
    return Path(name.stem).suffix if name.suffix == ".gz" else name.suffix


def _pandas() -> Any:
    return import_extra("pandas", of="Reading a table", extra="train")


def _fasta_blocks(file: Any, labels: Sequence[str], rows: int) -> Iterator[pd.DataFrame]:
    pandas, start = _pandas(), 0
    source = iterate_fasta(file, empty="keep")
    while records := list(islice(source, rows)):
        columns: dict[str, list[str]] = {"id": [], "sequence": [], **{label: [] for label in labels}}
        for record in records:
            first, *words = record.name.split() or [""]
            found = dict(word.split("=", 1) for word in words if "=" in word)
            columns["id"].append(first)
            columns["sequence"].append(record.sequence)
            for label in labels:
                columns[label].append(found.get(label, ""))
        yield pandas.DataFrame(columns, index=range(start, start + len(records)), dtype=object)
        start += len(records)


def _text_blocks(file: Any, name: str, separator: str, rows: int) -> Iterator[pd.DataFrame]:
    # not pandas' own reader, which fills short rows and renames repeated columns silently
    pandas, start = _pandas(), 0
    lines = io.TextIOWrapper(file, "utf-8-sig", newline="")
    reader = csv.reader(lines, delimiter=separator, strict=True)
    try:
        header = next(reader, [])
        if not header:
            raise ValueError(f"{name} must begin with a line of column names.")
        _check_separator(header, name, separator)
        repeated = [text for text in header if header.count(text) > 1]
        if repeated:
            raise ValueError(f"{name} has several columns named {repeated[0]!r}. Rename all but one.")
        while True:
            block = []
            for fields in islice(reader, rows):
                if len(fields) not in (0, len(header)):  # 0 is a blank line
                    raise ValueError(
                        f"{name}, line {reader.line_num}: must have {len(header)} fields, as the first "
                        f"line has; got {len(fields)}."
                    )
                block += [fields] if fields else []
            if not block and start:
                return
            yield pandas.DataFrame(
                block, columns=header, index=range(start, start + len(block)), dtype=object
            )
            start += len(block)
            if not block:
                return
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} must be UTF-8 text; got {error}. Save it as UTF-8.") from error
    except csv.Error as error:
        raise ValueError(f"{name}, line {reader.line_num}: {error}.") from error
    finally:
        lines.detach()  # the file is closed by whoever opened it


def _check_separator(header: list[str], name: str, separator: str) -> None:
    """Raise ValueError if the only column name has another separator in it."""
    found = [other for other in ",;\t" if len(header) == 1 and other in header[0]]
    if not found:
        return
    words = {",": "commas", ";": "semicolons", "\t": "tabs"}
    remedies = {
        ",": "Pass it as a .csv file.",
        ";": "Save it with commas, and with points in decimal numbers.",
        "\t": "Pass it as a .tsv file.",
    }
    raise ValueError(
        f"{name} must have {words[separator]} between its columns; got {words[found[0]]}. "
        f"{remedies[found[0]]}"
    )


def _parquet_blocks(source: str, rows: int) -> Iterator[pd.DataFrame]:
    parquet = import_extra("pyarrow.parquet", of="Reading parquet", extra="train")
    # the file's types, because integers with gaps would be floats, and a block of gaps has no type
    arrow, start = _pandas().ArrowDtype, 0

    def framed(block: Any) -> pd.DataFrame:
        # pandas' metadata would hide a column that was an index, such as the identifiers
        return block.to_pandas(ignore_metadata=True, types_mapper=arrow)

    with parquet.ParquetFile(Path(source).expanduser()) as file:
        for batch in file.iter_batches(batch_size=rows):
            frame = framed(batch)
            yield frame.set_axis(range(start, start + len(frame)))
            start += len(frame)
        if not start:
            yield framed(file.schema_arrow.empty_table())


def _text_writer(file: IO[str], separator: str) -> Callable[[pd.DataFrame], None]:
    with_header = True

    def write(frame: pd.DataFrame) -> None:
        nonlocal with_header
        frame.to_csv(file, sep=separator, index=False, header=with_header, lineterminator="\n")
        with_header = False

    return write


@contextmanager
def _parquet_writer(path: Path) -> Iterator[Callable[[pd.DataFrame], None]]:
    pyarrow = import_extra("pyarrow", of="Writing parquet", extra="train")
    parquet = import_extra("pyarrow.parquet", of="Writing parquet", extra="train")
    writer: Any = None
    try:

        def write(frame: pd.DataFrame) -> None:
            nonlocal writer
            table = pyarrow.Table.from_pandas(
                frame, schema=None if writer is None else writer.schema, preserve_index=False
            )
            if writer is None:
                writer = parquet.ParquetWriter(path, table.schema)
            writer.write_table(table)

        yield write
    finally:
        if writer is not None:
            writer.close()
