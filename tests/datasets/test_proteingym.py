"""Substitution files of ProteinGym, written here row by row: what is read, inferred and refused."""

import re

import numpy as np
import pytest
from sklearn.model_selection import PredefinedSplit

from sklearn_esm.datasets import read_proteingym

REFERENCE = "MKTAYI"
SINGLES = """\
mutant,mutated_sequence,DMS_score,DMS_score_bin,fold_random_5,fold_modulo_5,fold_contiguous_5
K2R,MRTAYI,-0.5,0,3,1,0
A4G,MKTGYI,1.25,1,0,3,2
I6W,MKTAYW,1e-3,1,4,0,4
"""
MULTIPLES = """\
mutant,mutated_sequence,DMS_score,DMS_score_bin,fold_rand_multiples
K2R:A4G,MRTGYI,-0.5,0.0,3
A4C,MKTCYI,1.25,1.0,0
"""


@pytest.fixture
def path(tmp_path):
    """A path; its file is written by the test."""
    return tmp_path / "PROTEIN_AUTHOR_2026.csv"


def test_columns_are_read_in_the_order_of_the_file(path):
    path.write_text(SINGLES)
    assay = read_proteingym(path)
    assert assay.mutations.tolist() == ["K2R", "A4G", "I6W"]
    assert assay.sequences.tolist() == ["MRTAYI", "MKTGYI", "MKTAYW"]
    assert assay.mutations.dtype == assay.sequences.dtype == object
    assert assay.target.tolist() == [-0.5, 1.25, 0.001]
    assert assay.target_bin.tolist() == [0, 1, 1]
    assert assay.reference == REFERENCE
    assert {name: fold.tolist() for name, fold in assay.folds.items()} == {
        "fold_random_5": [3, 0, 4],
        "fold_modulo_5": [1, 3, 0],
        "fold_contiguous_5": [0, 2, 4],
    }
    assert all(fold.dtype == np.int64 for fold in [*assay.folds.values(), assay.target_bin])
    assert assay.filename == str(path)
    assert "ProteinGym" in assay.DESCR


def test_folds_go_into_a_predefined_split(path):
    path.write_text(SINGLES)
    split = PredefinedSplit(read_proteingym(path).folds["fold_contiguous_5"])
    assert [test.tolist() for _, test in split.split()] == [[0], [1], [2]]


def test_a_file_of_multiple_substitutions_is_read(path):
    path.write_text(MULTIPLES)
    assay = read_proteingym(str(path))
    assert assay.sequences.tolist() == ["MRTGYI", "MKTCYI"]
    assert assay.reference == REFERENCE
    assert assay.target_bin.tolist() == [0, 1]
    assert list(assay.folds) == ["fold_rand_multiples"]


@pytest.mark.parametrize(
    ("old", "new"),
    [("\n", "\r\n"), ("\n", "\n\n"), ("mutant,", "\N{ZERO WIDTH NO-BREAK SPACE}mutant,")],
    ids=["CRLF", "empty lines", "byte order mark"],
)
def test_files_of_other_programs_are_read(path, old, new):
    path.write_text(SINGLES.replace(old, new), newline="", encoding="utf-8")
    assert read_proteingym(path).mutations.tolist() == ["K2R", "A4G", "I6W"]


def test_columns_are_found_by_name_and_others_are_ignored(path):
    path.write_text("note,DMS_score,mutated_sequence,mutant\n'a',2,mrtayi,K2R\n,3,MKTAYI,WT\n")
    assay = read_proteingym(path)
    assert assay.sequences.tolist() == ["MRTAYI", REFERENCE]
    assert (assay.target.tolist(), assay.target_bin, assay.folds) == ([2, 3], None, {})


def test_a_reference_makes_the_sequences_where_the_file_has_none(path):
    path.write_text("mutant,DMS_score\nK2R,2\nK2_A4del,3\n")
    assay = read_proteingym(path, reference="mktayi")
    assert assay.sequences.tolist() == ["MRTAYI", "MYI"]
    assert assay.reference == REFERENCE


def test_a_reference_is_compared_with_the_sequences(path):
    path.write_text(SINGLES)
    assert read_proteingym(path, REFERENCE).sequences.tolist() == ["MRTAYI", "MKTGYI", "MKTAYW"]
    message = (
        "Row 0 (K2R) must have the reference with these mutations as mutated_sequence; got 'MRTAYI'. "
        "Check the reference and the file."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        read_proteingym(path, reference="AKTAYI")


HEADER = "mutant,mutated_sequence,DMS_score\n"
PASS = "Pass reference, the wild-type sequence."
REFUSED = {
    "mutant,DMS_score\nK2R,2\n": "{path} must have the column 'mutated_sequence' if reference is None. "
    + PASS,
    f"{HEADER}K2R,MRTAYI,1\nK2E,AETAYI,2\n": "Row 1 (K2E) must lead to the reference of row 0 if the "
    f"mutations of mutated_sequence are undone; got another. {PASS}",
    f"{HEADER}K2R,MRTAYI,1\nWT,,2\n": "Row 1 (WT) must lead to the reference of row 0 if the mutations "
    f"of mutated_sequence are undone; got another. {PASS}",
    f"{HEADER}K2R,MRTAYI,1\nK2del,MTAYI,2\n": "Row 1 (K2del) must have substitutions only if reference "
    f"is None; got 'K2del'. {PASS}",
    f"{HEADER}K2dup,MKKTAYI,1\n": "Row 0 (K2dup) must have substitutions only if reference is None; got "
    f"'K2dup'. {PASS}",
    f"{HEADER}K2_T3insA,MKATAYI,1\n": "Row 0 (K2_T3insA) must have substitutions only if reference is "
    f"None; got 'K2_T3insA'. {PASS}",
    f"{HEADER}K2R,MRTAYI,1\nA4G,MKTAYI,2\n": "Row 1 (A4G) must have 'G' at position 4 of "
    "mutated_sequence; got 'A'. Positions count from 1 at the first residue.",
    f"{HEADER}K27R,MRTAYI,1\n": "Row 0 (K27R) must have 'R' at position 27 of mutated_sequence; got 'no "
    "residue'. Positions count from 1 at the first residue.",
    f"{HEADER}K0R,MRTAYI,1\n": "Row 0 (K0R) must have 'R' at position 0 of mutated_sequence; got 'no "
    "residue'. Positions count from 1 at the first residue.",
    f"{HEADER}K2=,MRTAYI,1\n": "Row 0 (K2=) must have 'K' at position 2 of mutated_sequence; got 'R'. "
    "Positions count from 1 at the first residue.",
    f"{HEADER}K2R,MRTAYI,1\nA4,MKTAYI,2\n": "Row 1 (A4) must be mutations such as 'A24G',",
    f"{HEADER}K2R,MR*AYI,1\n": "reference must be a sequence of residues. Sequence 0 (MK*AYI) has '*'",
    f"{HEADER}K2R,MRTAYI,\n": "Row 0 must have a finite number as DMS_score; got ''. Remove the row.",
    f"{HEADER}K2R,MRTAYI,nan\n": "Row 0 must have a finite number as DMS_score; got 'nan'. Remove the "
    "row.",
    SINGLES.replace("1.25,1,", "1.25,0.5,"): "Row 1 must have an integer as DMS_score_bin; got '0.5'.",
    SINGLES.replace(",4\n", ",1e300\n"): "Row 2 must have an integer as fold_contiguous_5; got '1e300'.",
    SINGLES.replace(",4\n", ",\n"): "Row 2 must have a finite number as fold_contiguous_5; got ''.",
    f"{HEADER}K2R,MRTAYI,1\nA4G,MKTGYI\n": "Row 1 of {path} must have 3 fields, as the header has; got "
    "2. Check its commas and quotes.",
    f"{HEADER}K2R,A4G,MRTGYI,1\n": "Row 0 of {path} must have 3 fields, as the header has; got 4.",
    HEADER: "{path} must have at least one row below its header; got none.",
    "": "{path} must have the columns 'mutant' and 'DMS_score'; got none. Rename the column that is "
    "'mutant'.",
    "mutant;DMS_score\nK2R;1\n": "{path} must have the columns 'mutant' and 'DMS_score'; got "
    "'mutant;DMS_score'. Rename the column that is 'mutant'.",
    "mutant,score\nK2R,1\n": "{path} must have the columns 'mutant' and 'DMS_score'; got 'mutant', "
    "'score'. Rename the column that is 'DMS_score'.",
    f'{HEADER}"{"A" * 200_000}",MRTAYI,1\n': "{path} must be a CSV file in UTF-8. field larger than",
}


@pytest.mark.parametrize(("text", "message"), REFUSED.items(), ids=range(len(REFUSED)))
def test_an_invalid_file_is_refused(path, text, message):
    path.write_text(text)
    with pytest.raises(ValueError, match=f"^{re.escape(message.format(path=path))}"):
        read_proteingym(path)


def test_a_file_that_is_no_text_is_refused(path):
    path.write_bytes(b"mutant,DMS_score\n\xff\xfe,1\n")
    message = f"{path} must be a CSV file in UTF-8. 'utf-8' codec can't decode"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        read_proteingym(path)


def test_a_missing_file_is_the_error_of_python(path):
    with pytest.raises(FileNotFoundError):
        read_proteingym(path)
