"""What the command refuses: one message, the exit code, and no traceback."""

import os
from pathlib import Path

import numpy as np
import pytest
from command_line import FASTA, embed, files_in, run

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm.cli._errors import in_options

NASTY = Path(__file__).parents[3] / "shared" / "data" / "nasty"


@pytest.fixture
def fasta(tmp_path):
    path = tmp_path / "proteins.fasta"
    path.write_text(FASTA, encoding="utf-8")
    return path


@pytest.fixture
def output(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder / "vectors.npz"


# Exit code 1: files, records and models


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("", [], "{fasta} must be a FASTA file; got an empty file."),
        ("MKT\n", [], "{fasta}, line 1: the first record must begin with '>'; got 'MKT'."),
        (
            ">a\nMKT\n>b\n",
            [],
            "{fasta}, line 3: record 2, 'b', has no sequence. Remove the record, or pass --missing nan "
            "for a row of NaN.",
        ),
        (
            ">a\nMKT\n>stop mid\nMKT*A\n",
            [],
            "{fasta}: record 2, 'stop mid' (MKT*A) has '*' at position 4, which is not in ESM's "
            "alphabet. Set --invalid 'unknown', 'mask' or 'drop' to accept it.",
        ),
        (">a\nMKT\n>\n*\n", ["--invalid", "drop"], "{fasta}: record 2, '' is missing: found *"),
        (
            ">a\nMKT\n>b\nMKTAYI\n",
            ["--max-length", "5"],
            "{fasta}: record 2, 'b' (MKTAYI) must have at most 5 residues for "
            "esm2_t6_1M_bundled; got 6. Set --overlong 'truncate' or 'window' to accept it.",
        ),
        # the number is that of the record in the whole file
        (">a\nMKT\n>b\nM*\n", ["--shard", "2/2"], "{fasta}: record 2, 'b' (M*) has '*' at position 2"),
    ],
)
def test_a_bad_record_is_named(fasta, output, embedded, content, options, message):
    fasta.write_text(content)
    result = embed(fasta, output, *options)
    assert (result.exit_code, result.stdout, embedded) == (1, "", [])
    assert result.stderr.startswith("Error: ")
    assert message.format(fasta=fasta) in result.stderr
    assert result.stderr.count("\n") == 1
    assert files_in(output.parent) == []


def test_a_bad_record_of_standard_input_is_named(output):
    result = embed("-", output, stdin=">a\nM*\n")
    assert result.stderr.startswith("Error: standard input: record 1, 'a' (M*) has '*'")


def test_only_the_first_bad_record_is_named(fasta, output):
    fasta.write_text(">a\nMKT\n>b\nM*A\n>c\nM*A\n")
    result = embed(fasta, output)
    assert result.stderr == (
        f"Error: {fasta}: record 2, 'b' (M*A) has '*' at position 2, which is not in ESM's alphabet. "
        "Set --invalid 'unknown', 'mask' or 'drop' to accept it.\n"
    )


def test_a_file_that_is_not_there_is_named(tmp_path, output):
    result = embed(tmp_path / "nowhere.fasta", output)
    assert result.exit_code == 1
    assert result.stderr == f"Error: {tmp_path}/nowhere.fasta: No such file or directory\n"


def test_a_checkpoint_that_is_not_there_is_named(fasta, output, tmp_path):
    result = run("embed", fasta, "-o", output, "--model", tmp_path / "nowhere.pt")
    assert result.exit_code == 1
    message = f"Error: --model must be the path of an existing file; got {tmp_path}/nowhere.pt."
    assert message in result.stderr


def test_a_damaged_checkpoint_is_named(fasta, output, tmp_path):
    (tmp_path / "damaged.pt").write_bytes(b"damaged")
    result = run("embed", fasta, "-o", output, "--model", tmp_path / "damaged.pt")
    assert result.exit_code == 1
    assert f"Error: {tmp_path}/damaged.pt" in result.stderr


def test_offline_a_model_that_is_not_there_is_named(fasta, output):
    result = run("embed", fasta, "-o", output)
    assert result.exit_code == 1
    assert "SKLEARN_ESM_OFFLINE forbids the download" in result.stderr


def test_a_device_that_is_not_there_is_named(fasta, output):
    result = embed(fasta, output, "--device", "cuda:99")
    assert result.exit_code == 1
    assert "Leave out --device to use the best one present." in result.stderr


def test_memory_that_is_not_enough_is_no_traceback(fasta, output, monkeypatch):
    def transform(self, X):
        raise MemoryError

    monkeypatch.setattr(ESMEmbeddingTransformer, "transform", transform)
    result = embed(fasta, output)
    assert (result.exit_code, result.stderr.splitlines()[1:]) == (1, ["Error: out of memory."])
    assert files_in(output.parent) == []


@pytest.mark.skipif(not NASTY.is_dir(), reason="the shared data are not on this machine")
@pytest.mark.parametrize(
    ("name", "records"),
    [("cr_only", 2), ("dna_not_protein", 1), ("only_comment", 1), ("worst_case", 19)],
)
def test_nasty_files_come_through(output, name, records):
    # with the policies that allow it; of titin, which takes minutes, the reading is tested
    result = embed(NASTY / f"{name}.fasta", output, "--invalid", "unknown", "--missing", "nan")
    assert result.exit_code == 0
    with np.load(output) as arrays:
        complete = np.isfinite(arrays["embeddings"]).all(axis=1).sum()
    assert complete == records - (name == "worst_case")  # which has the record without a sequence


@pytest.mark.skipif(not NASTY.is_dir(), reason="the shared data are not on this machine")
def test_nasty_worst_case_is_refused_without_policies(output):
    result = embed(NASTY / "worst_case.fasta", output)
    assert result.exit_code == 1
    assert "worst_case.fasta, line 18: record 9, 'empty', has no sequence." in result.stderr


# Exit code 2: the command line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--layer", "last"],
            "--layer must be one layer such as 6, several such as 3,6, or all; got last.",
        ),
        (["--layer", "3,"], "or all; got 3,."),
        (
            ["--layer", "9"],
            "--layer must be 0 to 6, or -1 to -7 from the end, because the model has 6 blocks; got 9.",
        ),
        (["--layer", "1,1"], "--layer must not repeat a layer; got [1, 1]"),
        (["--pooling", "median"], "--pooling must be 'mean', 'max', 'min', 'sum', 'std', 'bos' or"),
        (["--pooling", "mean,mean"], "--pooling must not repeat a name"),
        (["--overlong", "cut"], "'cut'"),
        (["--invalid", "x"], "'x'"),
        (["--missing", "drop"], "'drop'"),
        (["--dtype", "float64"], "'float64'"),
        (
            ["--dtype", "int8", "--device", "cuda"],
            "--dtype 'int8' runs on CPUs only; got --device 'cuda'.",
        ),
        (["--device", "tpu"], "--device must be 'cpu', 'cuda', 'cuda:N' or 'mps'; got 'tpu'."),
        (["--device", "cuda:256"], "got 'cuda:256'. N must be a number from 0 to 127 without"),
        (
            ["--cache", "~no-such-user/c"],
            "--cache must be the path of a folder; got '~no-such-user/c' (Could not",
        ),
        (["--cache", "x" * 300], "--cache must be the path of a folder; got 'xxxxx"),
        (["--max-length", "0"], "--max-length must be a positive integer; got 0."),
        (["--batch-tokens", "-5"], "--batch-tokens must be a positive integer; got -5."),
        (["--batch-tokens", "many"], "'--batch-tokens'"),
        (["--jobs", "0"], "--jobs must be an integer other than 0; got 0."),
        (["--shard", "0/4"], "--shard must be I/N with I from 1 to N; got 0/4."),
        (["--shard", "5/4"], "--shard must be I/N with I from 1 to N; got 5/4."),
        (["--shard", "1"], "--shard must be I/N with I from 1 to N; got 1."),
        (["--model", "esm2_t6_8M_UR50S"], "Did you mean 'esm2_t6_8M_UR50D'"),
        (["--model", "esmfold_v1"], "predicts structures"),
        (
            ["-o", "vectors.csv"],
            "-o must end in one of .npz, .parquet, .h5, or in / for a folder of parquet files; "
            "got vectors.csv.",
        ),
        (["-q", "-v"], "Pass --verbose or --quiet, not both."),
        (["--colour"], "--colour"),
    ],
)
def test_wrong_usage_says_what_is_wrong(fasta, output, options, message):
    result = embed(fasta, output, *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def same_name(folder):
    return folder / "proteins.npz", folder / "proteins.npz"


def other_spelling(folder):
    (folder / "sub").mkdir()
    return folder / "proteins.npz", folder / "sub" / ".." / "proteins.npz"


def link_to_the_input(folder):
    (folder / "link.npz").symlink_to("proteins.npz")
    return folder / "proteins.npz", folder / "link.npz"


def input_by_a_link(folder):
    (folder / "link.fasta").symlink_to("proteins.npz")
    return folder / "link.fasta", folder / "proteins.npz"


def hard_link(folder):
    os.link(folder / "proteins.npz", folder / "other.npz")
    return folder / "proteins.npz", folder / "other.npz"


@pytest.mark.parametrize(
    "paths", [same_name, other_spelling, link_to_the_input, input_by_a_link, hard_link]
)
def test_the_input_is_not_overwritten(tmp_path, paths, embedded):
    (tmp_path / "proteins.npz").write_text(FASTA, encoding="utf-8")
    source, output = paths(tmp_path)
    before = files_in(tmp_path)
    result = embed(source, output)
    assert (result.exit_code, result.stdout, embedded) == (2, "", [])
    assert f"-o must be another file than the input; got {output}, which is {source}." in result.stderr
    assert (tmp_path / "proteins.npz").read_text(encoding="utf-8") == FASTA
    assert files_in(tmp_path) == before


def test_the_input_is_not_overwritten_where_the_model_would_have_to_be_downloaded(tmp_path):
    path = tmp_path / "proteins.npz"
    path.write_text(FASTA, encoding="utf-8")
    result = run("embed", path, "-o", path, "--model", "esm2_t33_650M_UR50D")
    assert result.exit_code == 2
    assert "-o must be another file than the input" in result.stderr


@pytest.mark.parametrize("arguments", [["embed"], ["embed", "a.fasta"], ["flood"], ["cache", "info"]])
def test_an_incomplete_command_is_wrong_usage(arguments):
    assert run(*arguments).exit_code == 2


def test_messages_speak_of_options():
    message = "max_length=5 and n_jobs=2: pass invalid='drop', or X=1."
    assert in_options(message) == "--max-length 5 and --jobs 2: pass --invalid 'drop', or X=1."
