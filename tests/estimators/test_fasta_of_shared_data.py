"""The FASTA files of the shared data: some break parsers, some are natural proteins."""

import gzip
from pathlib import Path

import pytest

from sklearn_esm import read_fasta

DATA = Path(__file__).parents[3] / "shared" / "data"
NASTY = DATA / "nasty"
pytestmark = pytest.mark.skipif(not NASTY.is_dir(), reason="the shared data are not on this machine")
pytest.importorskip("Bio", reason="read_fasta needs the extra bio")


def test_nasty_cr_only_is_two_records():
    # lines that end as on the first Macintosh
    assert read_fasta(NASTY / "cr_only.fasta") == (["a", "b"], ["MKTAYI", "AKQR"])


def test_nasty_comments_are_left_out():
    # one before the first record and one in the middle of a sequence, as early FASTA allowed
    assert read_fasta(NASTY / "only_comment.fasta") == (["a"], ["MKTAYIAKQR"])


def test_nasty_dna_is_read():
    # all of its letters are residues as well: nothing in a file says that it is none
    assert read_fasta(NASTY / "dna_not_protein.fasta") == (["dna"], ["ATGGCGTACGTTAGCNNNNACGT"])


def test_nasty_titin_is_one_long_sequence():
    (name,), (sequence,) = read_fasta(NASTY / "titin_twice.fasta")
    assert name.startswith("sp|Q8WZ42|TITIN_HUMAN Titin")
    assert len(sequence) == 68_700
    assert set(sequence) == set("ACDEFGHIKLMNPQRSTVWY")


def test_nasty_worst_case_is_refused_for_its_empty_record():
    # a record without a sequence may be a file cut short, so it is not passed over unasked
    with pytest.raises(ValueError, match="line 18: record 9, 'empty', has no sequence"):
        read_fasta(NASTY / "worst_case.fasta")


def test_nasty_worst_case_comes_through_with_empty_records_kept():
    names, sequences = read_fasta(NASTY / "worst_case.fasta", empty="keep")
    assert list(zip(names, sequences, strict=True)) == [
        ("bom_first", "MKTAYIAKQR"),  # the mark is no part of the name, nor the space of the sequence
        ("lowercase some description", "mktayiakqr"),  # the estimators read lower case
        ("softmasked", "MKTaayiAKQR"),
        ("stop_end", "MKTAYIAKQR*"),  # what is no residue is left to their parameter `invalid`
        ("stop_mid", "MKT*AYI*AKQR"),
        ("gaps", "--MKT-AY.IAKQR--"),
        ("ambig BZJXUO", "MBKZTJAXYUIOKQR"),
        ("allX", "XXXXXXXXXX"),
        ("empty", ""),
        ("one_residue", "M"),
        ("digits", "1MKTAYIAKQR10"),
        ("dup", "MKTAYI"),  # names need not differ
        ("dup", "MKTAYI"),
        ("", "MKTAYIAKQR"),  # nor be there
        ("tab\tin\theader", "MKTAYIAKQR"),
        ("unicode_é", "MKTAYIAKQR"),
        ("maskword", "MKT<mask>AYI<cls><eos><pad>"),  # <mask> is the estimators' mask token
        ("trailing_ws", "MKTAYIAKQR"),
        ("last_no_newline", "MKTAYIAKQR"),
    ]


@pytest.mark.parametrize("name", ["proteome_bench.fasta", "natural_valid.fasta.gz"])
def test_natural_proteins_are_what_biopython_reads(name):
    from Bio import SeqIO

    opener = gzip.open if name.endswith(".gz") else open
    with opener(DATA / name, "rt") as file:
        expected = [(record.description, str(record.seq)) for record in SeqIO.parse(file, "fasta")]
    assert list(zip(*read_fasta(DATA / name), strict=True)) == expected
