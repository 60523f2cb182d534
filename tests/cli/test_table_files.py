"""Tables in blocks: every text is kept as it is, errors name file and column, and outputs are whole."""

import gzip
import io
import sys
from contextlib import suppress

import pytest

from sklearn_esm import cli

pytest.importorskip("typer")
pandas = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
pytest.importorskip("sklearn_esm.cli._table_files")

from sklearn_esm.cli._table_files import (  # noqa: E402  the command line is an extra
    column,
    is_absent,
    iterate_table,
    name_of,
    read_table,
    table_writer,
)

assert cli
ROWS = [("0010", "NA", "1.50"), ("b", "MKTAYI", ""), ("c,d", "GIG", "2e-1")]
FRAME = pandas.DataFrame(ROWS, columns=["id", "sequence", "y"])


@pytest.mark.parametrize("rows", [1, 2, 3, 4096])
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".csv.gz", ".parquet"])
def test_text_is_kept_in_blocks_of_any_size(tmp_path, suffix, rows):
    path = tmp_path / f"table{suffix}"
    if suffix == ".parquet":
        FRAME.to_parquet(path)
    else:
        FRAME.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    blocks = list(iterate_table(str(path), rows=rows))
    assert all(len(block) <= rows for block in blocks)
    pandas.testing.assert_frame_equal(pandas.concat(blocks), FRAME, check_dtype=False)
    assert [row for block in blocks for row in block.index] == [0, 1, 2]


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_fasta_labels_become_columns(tmp_path, compress):
    path = tmp_path / "proteins.fasta"
    path.write_bytes(compress(b">one brightness=3.7 split=a\nMKT\nAYI\n>two\nGIG\n"))
    frame = read_table(str(path), labels=["brightness"])
    assert frame.to_dict("list") == {
        "id": ["one", "two"],
        "sequence": ["MKTAYI", "GIG"],
        "brightness": ["3.7", ""],
    }


@pytest.mark.parametrize(
    ("text", "columns"),
    [("id,sequence\na,MKT\n", ["id", "sequence"]), (">a\nMKT\n", ["id", "sequence"])],
)
def test_standard_input_is_csv_or_fasta(monkeypatch, text, columns):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    frame = read_table("-")
    assert list(frame.columns) == columns
    assert frame["sequence"].tolist() == ["MKT"]


def test_a_table_without_rows_has_its_columns(tmp_path):
    for suffix, write in ((".csv", FRAME[:0].to_csv), (".parquet", FRAME[:0].to_parquet)):
        path = tmp_path / f"empty{suffix}"
        write(path, index=False)
        assert read_table(str(path)).columns.tolist() == ["id", "sequence", "y"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "must begin with a line of column names"),
        ("a.csv", "x,y\n1,2\n1,2,3\n", "line 3: must have 2 fields, as the first line has; got 3"),
        ("a.csv", "x,y\n1,2\n1\n", "line 3: must have 2 fields"),
        ("a.csv", "x,x\n1,2\n", "several columns named 'x'"),
        ("a.csv", 'x,y\n1,"2\n', "line 2: unexpected end of data"),
        ("a.csv", "x,é\n1,2\n", "must be UTF-8 text"),
        ("a.json", "{}", "must be a .csv, .tsv, .parquet or FASTA file"),
    ],
)
def test_damaged_tables_are_refused(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_text(content, encoding="latin-1")
    with pytest.raises(ValueError, match=message):
        read_table(str(path))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "id;y\r\na;3,7\r\n", "must have commas between its columns; got semicolons. Save it"),
        (
            "a.csv",
            "id\ty\na\t3.7\n",
            "must have commas between its columns; got tabs. Pass it as a .tsv",
        ),
        ("a.tsv", "id,y\na,3.7\n", "must have tabs between its columns; got commas. Pass it as a .csv"),
    ],
)
def test_another_separator_is_named_with_its_remedy(tmp_path, name, content, message):
    (tmp_path / name).write_text(content, newline="")
    with pytest.raises(ValueError, match=message):
        read_table(str(tmp_path / name))


def test_a_missing_column_names_those_that_exist():
    with pytest.raises(
        ValueError, match=r"t.csv has no column 'seq'. Set --sequence to one of: id, seq"
    ):
        column(FRAME, "seq", "--sequence", "t.csv")


def test_a_name_for_standard_input():
    assert [name_of("-"), name_of("a.csv")] == ["Standard input", "a.csv"]


def test_absent_values():
    values = pandas.Series(["1", "", "NA", " ", None, "nan", 0.0, float("nan")], dtype=object)
    assert is_absent(values).tolist() == [False, True, True, True, True, True, False, True]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_written_blocks_are_read_again(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    with table_writer(str(path)) as write:
        write(FRAME[:2])
        write(FRAME[2:])
    pandas.testing.assert_frame_equal(read_table(str(path)), FRAME, check_dtype=False)


def test_nothing_is_left_after_an_error(tmp_path):
    with suppress(KeyError), table_writer(str(tmp_path / "out.csv")) as write:
        write(FRAME)
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_an_input_that_is_missing_is_not_the_output(tmp_path):
    absent = str(tmp_path / "absent.csv")
    with pytest.raises(FileNotFoundError) as failure, table_writer(str(tmp_path / "out.csv")):
        read_table(absent)
    assert failure.value.filename == absent
    assert list(tmp_path.iterdir()) == []


def test_an_output_of_another_format_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"-o must end in .csv, .tsv or .parquet, or be -; got"):
        table_writer(str(tmp_path / "out.xlsx")).__enter__()
