"""The path of a FASTA file given as sequences names `read_fasta`, whatever the policy is."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sklearn_esm import ESMEmbeddingTransformer, read_fasta
from sklearn_esm._sequences import clean_sequences

MODEL = "esm2_t6_1M_bundled"
PATHS = ["proteins.fasta", "data/P-1.FA", "/home/me/swissprot.faa.gz", r"C:\proteins.fas"]
FORMS = {
    "str": str,
    "numpy string": np.str_,
    "list": lambda path: [path],
    "tuple": lambda path: (path,),
    "list of paths": lambda path: [Path(path)],
    "several": lambda path: [path, "others.fasta"],
    "array": lambda path: np.array([path]),
    "series": lambda path: pd.Series([path]),
    "frame": lambda path: pd.DataFrame({"sequence": [path]}),
}


def expected(path):
    return (
        f"X must be a list or column of sequences; got the path {path!r}. Read a FASTA file with names, "
        "sequences = sklearn_esm.read_fasta(path), and pass sequences."
    )


@pytest.mark.parametrize("invalid", ["error", "unknown", "mask", "drop"])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("path", PATHS)
def test_fasta_path_is_refused(path, form, invalid):
    with pytest.raises(ValueError, match=f"^{re.escape(expected(path))}$"):
        clean_sequences(form(path), invalid=invalid, missing="nan")


@pytest.mark.parametrize("path", [*PATHS, "proteins"])
def test_path_object_is_refused(path):
    with pytest.raises(TypeError, match=f"^{re.escape(expected(path))}$"):
        clean_sequences(Path(path), invalid="drop", missing="nan")


def test_fit_and_transform_refuse_fasta_paths():
    embed = ESMEmbeddingTransformer(MODEL).fit(["MKT"])
    for method in (embed.fit, embed.transform, embed.precompute):
        with pytest.raises(ValueError, match="read_fasta"):
            method("proteins.fasta")


def test_end_of_a_long_path_is_shown():
    message = expected(f"...{'a' * 51}.fasta")
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        clean_sequences("/home/" + "a" * 200 + ".fasta", invalid="error", missing="error")


@pytest.mark.parametrize("aligned", ["MKTAY.fa", ".FA", "..fas", ".fasta"])
def test_aligned_row_that_ends_like_a_path_is_a_sequence(aligned):
    expected = aligned.replace(".", "").upper()
    assert clean_sequences([aligned], invalid="drop", missing="error") == [expected]


def test_name_of_a_file_in_the_working_directory_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "proteins.fa").write_text(">a\nMKT\n")
    with pytest.raises(ValueError, match=f"^{re.escape(expected('proteins.fa'))}$"):
        clean_sequences(["proteins.fa"], invalid="drop", missing="error")


@pytest.mark.parametrize("text", [">a\nMKT\n", ">a\nMKT\n>b\nGIG\n"], ids=["one", "two"])
def test_records_as_they_are_read_are_refused(text, tmp_path):
    path = tmp_path / "proteins.fasta"
    path.write_text(text)
    message = "X must be a list or column of sequences; got FastaRecords. Pass X.sequences."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        ESMEmbeddingTransformer(MODEL).fit(read_fasta(path))
