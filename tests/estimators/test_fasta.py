"""What FASTA files hold comes through as it is written, or with an error that says where."""

import gzip
import io
import os
import re
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sklearn_esm import ESMEmbeddingTransformer, read_fasta

biopython = pytest.importorskip("Bio.SeqIO.FastaIO", reason="Biopython is the oracle")

ROOT = Path(__file__).parents[2]

TEXT = ">first protein\nMKTAYI\nAKQR\n>second\nGIGKFLHSAKKF\n"
GZIPPED = gzip.compress(TEXT.encode(), mtime=0)  # the same at any time, as are the names of tests
RECORDS = (["first protein", "second"], ["MKTAYIAKQR", "GIGKFLHSAKKF"])


def read(content, **parameters):
    return read_fasta(io.BytesIO(content), **parameters)


def refusal_of(content, **parameters):
    with pytest.raises(ValueError, match="The open file") as refusal:
        read(content, **parameters)
    return str(refusal.value)


# Where it is read from


@pytest.fixture(params=["plain", "gzip", "gzip of two members", "gzip without its ending"])
def path(request, tmp_path):
    if request.param == "plain":
        path = tmp_path / "proteins.fasta.gz"  # the name does not decide
        path.write_bytes(TEXT.encode())
    else:
        path = tmp_path / ("proteins.fasta" if "without" in request.param else "proteins.fasta.gz")
        middle = len(TEXT) // 2 if "two" in request.param else len(TEXT)
        parts = [TEXT[:middle], TEXT[middle:]]
        path.write_bytes(b"".join(gzip.compress(part.encode()) for part in parts if part))
    return path


@pytest.mark.parametrize("kind", [str, Path])
def test_files_are_read_plain_and_compressed(path, kind):
    assert read_fasta(kind(path)) == RECORDS


def test_standard_input_is_read_plain_and_compressed(path, monkeypatch):
    with path.open("rb") as file:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(file))
        assert read_fasta("-") == RECORDS


def test_an_open_file_is_read_and_left_open(path):
    with path.open("rb") as file:
        assert read_fasta(file) == RECORDS
        assert not file.closed
        assert file.read() == b""


def test_a_file_open_in_text_mode_is_read_from_where_it_stands(tmp_path):
    path = tmp_path / "proteins.fasta"
    path.write_bytes(b"\xef\xbb\xbf>zero\rMKT\r" + TEXT.encode().replace(b"\n", b"\r"))
    with path.open(encoding="utf-8", newline="") as file:  # line ends as they are in the file
        assert read_fasta(file).names == ["zero", *RECORDS[0]]
    with path.open(encoding="utf-8") as file:
        assert [file.readline(), file.readline()] == ["\ufeff>zero\n", "MKT\n"]
        assert read_fasta(file) == RECORDS


def test_a_pipe_is_read_though_it_comes_in_single_bytes(path):
    reading, writing = os.pipe()

    def write():
        for byte in path.read_bytes():
            os.write(writing, bytes([byte]))
        os.close(writing)

    writer = threading.Thread(target=write)
    writer.start()
    with open(reading, "rb", buffering=0) as file:
        assert read_fasta(file) == RECORDS
    writer.join()


def test_a_home_folder_is_found(path, monkeypatch):
    monkeypatch.setenv("HOME", str(path.parent))
    assert read_fasta(f"~/{path.name}") == RECORDS


def test_the_result_has_names_and_sequences():
    records = read(TEXT.encode())
    assert (records.names, records.sequences) == RECORDS
    assert {type(text) for column in records for text in column} == {str}


# What is written in many ways, and means the same


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_of_any_system_and_a_byte_order_mark(ending, mark):
    assert read((mark + TEXT.replace("\n", ending)).encode()) == RECORDS


@pytest.mark.parametrize(
    "text",
    [
        TEXT.rstrip("\n"),
        TEXT.replace("\n", "\n\n \t\n"),
        f"\n\n{TEXT}",
        f"; a comment\n;another\n{TEXT}",
        TEXT.replace("YI\n", "YI\n;> a comment in the middle\n"),
        TEXT.replace("YI\n", "YI\r\n\r").replace("second\n", "second\r"),
        TEXT.replace("MKTAYI", " MKT AYI\t"),
        TEXT.replace("MKTAYI", "MK\tTA\x0bY\x0cI"),
        TEXT.replace("MKTAYI\nAKQR", "\n".join("MKTAYIAKQR")),
        TEXT.replace("protein\n", "protein \t \n"),
        TEXT.replace(">second", "\ufeff>second"),  # two files with a mark, one after the other
    ],
)
def test_blank_lines_comments_and_white_space_do_not_matter(text):
    assert read(text.encode()) == RECORDS


@given(
    names=st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n")).map(str.rstrip),
        min_size=1,
        max_size=5,
    ),
    data=st.data(),
)
def test_what_is_written_in_lines_of_any_length_is_read_again(names, data):
    letters = st.text("ACDEFGHIKLMNPQRSTVWYBUZOXacd*-.J019#", min_size=1)
    sequences = [data.draw(letters) for _ in names]
    text = ""
    for name, sequence in zip(names, sequences, strict=True):
        width = data.draw(st.integers(1, 30))
        ending = data.draw(st.sampled_from(["\n", "\r\n", "\r"]))
        lines = [sequence[start : start + width] for start in range(0, len(sequence), width)]
        text += "".join(f"{line}{ending}" for line in [f">{name}", *lines])
    assert read(text.encode()) == (names, sequences)


# What is kept, for it is not this function's business


@pytest.mark.parametrize(
    "sequence", ["mktAYI", "MKT*", "--MK.T", "MBKZTJX", "10MKT", "MKT<mask>AYI<cls>", "MKTé", "ACGTN"]
)
def test_letters_are_kept_as_they_are(sequence):
    assert read(f">a\n{sequence}\n".encode()).sequences == [sequence]


@pytest.mark.parametrize(
    "name", ["", "tab\tin", "unicode é 蛋白", " leading", "a>b", "gi|1\x01gi|2", ";", "x" * 9999]
)
def test_names_are_kept_as_they_are(name):
    assert read(f">{name}\nMKT\n".encode()).names == [name]


def test_repeated_names_are_kept():
    assert read(b">a\nMKT\n>a\nGIG\n>a\nMKT\n") == (["a"] * 3, ["MKT", "GIG", "MKT"])


def test_a_record_without_sequence_is_kept_on_demand():
    records = read(b">a\n>b\nMKT\n>c\n \n", empty="keep")
    assert records == (["a", "b", "c"], ["", "MKT", ""])
    embed = ESMEmbeddingTransformer("esm2_t6_1M_bundled", missing="nan")
    assert np.isnan(embed.fit_transform(records.sequences)).all(axis=1).tolist() == [True, False, True]


# What is refused, and where the message points


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "The open file must be a FASTA file; got an empty file. Write a line"),
        (b"\xef\xbb\xbf", "got 1 lines, none of which begins with '>'"),
        (b"\n \n", "got 2 lines, none of which begins with '>'"),
        (b"; only\n; comments\n", "got 2 lines, none of which begins with '>'"),
        (b"MKTAYI\n", "line 1: the first record must begin with '>'; got 'MKTAYI'."),
        (b"\r\r; note\rMKT\r>a\rMKT\r", "line 4: the first record must begin with '>'; got 'MKT'."),
        (b";old header\nMKTAYI*\n", "line 2: the first record must begin with '>'; got 'MKTAYI*'."),
        (
            b"name,sequence\na,MKT\n",
            "line 1: the first record must begin with '>'; got 'name,sequence'.",
        ),
        (b"@read\nACGT\n+\nIIII\n", "line 1: the first record must begin with '>'; got '@read'."),
        (
            b">a\nMKT\n  >b\nGIG\n",
            "line 3: a record must begin with '>'; got white space before it. Remove it.",
        ),
        (b">a\nMKT\n\n>b\n>c\nGIG\n", "line 4: record 2, 'b', has no sequence. Remove the record"),
        (b"; note\r\n>a\r\nMKT\r\n>\r\n", "line 4: record 2, '', has no sequence"),
        (b">a\n;MKT\n>b\nMKT\n", "line 1: record 1, 'a', has no sequence"),
        (b">" + b"n" * 99 + b"\n", f"record 1, '{'n' * 37}...', has no sequence"),
        (b">a\x1b[2J\n", r"record 1, 'a\x1b[2J', has no sequence"),
        (b">a\nMKT\n>caf\xe9\nGIG\n", "line 3: must be UTF-8 text; got the byte 0xe9 at position 5."),
        (b">a\nMKT\0AYI\n", "line 2: must be text; got a NUL byte."),
        (b"\x89PNG\r\n\x1a\n", "line 1: must be UTF-8 text; got the byte 0x89 at position 1."),
        (TEXT.encode("utf-16"), "must be plain or gzip FASTA text; got UTF-16 text. Save it as UTF-8."),
        (TEXT.encode("utf-16-le"), "line 1: must be text; got a NUL byte"),
        (b"BZh91AY&SY", "got bzip2 data. Decompress the file first"),
        (b"\xfd7zXZ\0\0", "got xz data. Decompress the file first"),
        (b"\x28\xb5\x2f\xfd\x04", "got zstd data. Decompress the file first"),
        (b"PK\x03\x04\x14", "got a zip archive. Unpack it first"),
        (gzip.compress(b"", mtime=0), "got an empty file"),
        (
            gzip.compress(GZIPPED, mtime=0),
            "line 1: must be UTF-8 text; got the byte 0x8b at position 2.",
        ),
        (GZIPPED[:-9], "must be intact gzip data; got damaged or truncated data after line "),
        (GZIPPED[:-8] + bytes(8), " (CRC check failed"),
        (GZIPPED + b"more", " (Not a gzipped file"),
        (GZIPPED[:10] + b"\xff" * 9, " (Error -3"),
    ],
)
def test_what_is_no_sound_fasta_is_refused_with_its_place(content, message):
    assert message in refusal_of(content)


def test_an_empty_record_is_refused_with_the_way_out():
    message = refusal_of(b">a\n")
    assert message.endswith("Remove the record, or pass empty='keep' for an empty sequence.")


def test_the_line_where_gzip_data_end_is_about_right():
    lines = np.random.default_rng(0).choice(list("ACDEFGHIKLMNPQRSTVWY"), (5000, 60))
    text = ">a\n" + "".join("".join(line) + "\n" for line in lines)
    data = gzip.compress(text.encode())
    message = refusal_of(data[: len(data) // 2])
    number = int(re.search(r"after line ([\d,]+)", message)[1].replace(",", ""))
    assert 2000 < number < 3000


def test_a_message_names_the_file(tmp_path):
    path = tmp_path / "broken.fasta"
    path.write_text("MKT\n")
    with pytest.raises(ValueError, match="must begin with") as refusal:
        read_fasta(path)
    assert str(refusal.value).startswith(f"{path}, line 1: ")


def test_text_in_another_encoding_is_refused_in_text_mode(tmp_path):
    path = tmp_path / "latin.fasta"
    path.write_bytes(b">caf\xe9\nMKT\n")
    with path.open(encoding="utf-8") as file, pytest.raises(ValueError, match="must be text in utf-8"):
        read_fasta(file)


def test_a_file_that_is_not_there_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_fasta(tmp_path / "nowhere.fasta")


@pytest.mark.parametrize("path", [None, b">a\nMKT\n", ["proteins.fasta"]])
def test_what_is_no_file_is_refused_by_its_type(path):
    with pytest.raises(TypeError, match="path must be a path, an open file, or"):
        read_fasta(path)


def test_an_unknown_choice_for_empty_records_is_refused():
    with pytest.raises(ValueError, match="empty must be 'error' or 'keep'; got 'drop'"):
        read(TEXT.encode(), empty="drop")


# Biopython


@given(
    st.lists(st.tuples(st.text("ab >;|", max_size=6), st.text("ACDEFG -*\t\n", max_size=40)), min_size=1)
)
def test_records_equal_those_of_biopython(records):
    text = "".join(f">{name}\n{sequence}\n" for name, sequence in records)
    expected = [(n, "".join(s.split())) for n, s in biopython.SimpleFastaParser(io.StringIO(text))]
    assert list(zip(*read(text.encode(), empty="keep"), strict=True)) == expected


@pytest.mark.parametrize(
    "name",
    [
        "",
        "P1",
        "sp|P69905|HBA_HUMAN Hemoglobin OS=Homo sapiens",
        " P1 a",
        "P1\ta b",
        "P1\N{NO-BREAK SPACE}a",
    ],
)
def test_ids_equal_those_of_biopython(name):
    text = f">{name}\nMKT\n>last one\nGIG\n"
    expected = [record.id for record in biopython.FastaIterator(io.StringIO(text))]
    records = read(text.encode())
    assert records.ids == expected
    names, sequences = records
    assert (len(names), sequences) == (2, ["MKT", "GIG"])
