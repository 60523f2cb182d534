"""What `embed` is told and what it computes; what it refuses is in test_cli_errors.py."""

import inspect
import re
import warnings
from typing import get_args, get_type_hints

import numpy as np
import pytest
from command_line import FASTA, MODEL, NAMES, SEQUENCES, embed, expected, files_in, run
from numpy.testing import assert_allclose

from sklearn_esm import ESMEmbeddingTransformer, _engine
from sklearn_esm.cli import _app


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


def vectors(path):
    with np.load(path, allow_pickle=False) as arrays:
        return arrays["embeddings"]


def names(path):
    with np.load(path, allow_pickle=False) as arrays:
        return arrays["names"].tolist()


# embed: options


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ([], {}),
        (["--layer", "-1"], {"layer": -1}),
        (["--layer", "3"], {"layer": 3}),
        (["--layer", "6,0,-2"], {"layer": [6, 0, -2]}),
        (["--layer", "all"], {"layer": "all"}),
        (["--pooling", "max"], {"pooling": "max"}),
        (["--pooling", "mean, std,eos"], {"pooling": ["mean", "std", "eos"]}),
        (["--overlong", "truncate", "--max-length", "7"], {"overlong": "truncate", "max_length": 7}),
        (["--overlong", "window", "--max-length", "7"], {"overlong": "window", "max_length": 7}),
        (["--dtype", "bfloat16"], {"dtype": "bfloat16"}),
        (["--batch-tokens", "20", "--device", "cpu"], {"batch_tokens": 20, "device": "cpu"}),
        (["--jobs", "1"], {"n_jobs": 1}),
    ],
)
def test_vectors_are_those_of_the_transformer(fasta, output, options, parameters):
    result = embed(fasta, output, *options)
    assert (result.exit_code, result.stdout) == (0, "")
    assert_allclose(vectors(output), expected(**parameters), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("invalid", ["unknown", "mask", "drop"])
def test_policies_for_what_is_no_residue(tmp_path, output, invalid):
    fasta = tmp_path / "gaps.fasta"
    fasta.write_text(">a\nMK-TA.YI\n>b\nMKT*\n>c\n**\n>d\n")
    result = embed(fasta, output, "--invalid", invalid, "--missing", "nan")
    assert result.exit_code == 0
    sequences = ["MK-TA.YI", "MKT*", "**", ""]
    assert_allclose(vectors(output), expected(sequences, invalid=invalid, missing="nan"), rtol=1e-5)


def test_a_checkpoint_is_given_by_its_path(checkpoint, fasta, output):
    assert run("embed", fasta, "-o", output, "--model", checkpoint.path).exit_code == 0
    direct = ESMEmbeddingTransformer(checkpoint.path).fit_transform(SEQUENCES)
    assert_allclose(vectors(output), direct, rtol=1e-5, atol=1e-6)


def test_every_parameter_of_the_transformer_is_an_option():
    parameters = set(inspect.signature(ESMEmbeddingTransformer).parameters) - {"n_jobs"}
    assert parameters | {"jobs"} <= set(inspect.signature(_app.embed).parameters)


def test_defaults_are_those_of_the_transformer():
    transformer = inspect.signature(ESMEmbeddingTransformer).parameters
    options = inspect.signature(_app.embed).parameters
    for name in ("model", "pooling", "overlong", "max_length", "invalid", "missing", "device", "dtype"):
        assert options[name].default == transformer[name].default


@pytest.mark.parametrize("name", ["overlong", "invalid", "missing", "dtype"])
def test_choices_are_those_of_the_transformer(name):
    choices = get_args(get_type_hints(_app.embed)[name])
    with pytest.raises(ValueError, match=f"{name} must be ") as refusal:
        ESMEmbeddingTransformer(MODEL, **{name: "none"}).fit(["M"])
    assert re.findall(r"'(\w+)'", str(refusal.value)) == [*choices, "none"]


# embed: records


def test_names_keep_their_order(fasta, output):
    embed(fasta, output)
    assert names(output) == NAMES


def test_equal_sequences_are_computed_once(fasta, output, embedded):
    embed(fasta, output)
    assert len(embedded) == len(SEQUENCES) - 1
    assert_allclose(vectors(output)[0], vectors(output)[5], rtol=0)


def test_standard_input_is_read(output):
    assert embed("-", output, stdin=FASTA).exit_code == 0
    assert_allclose(vectors(output), expected(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shards", [1, 2, 4, 6])
def test_shards_make_the_whole(fasta, output, shards):
    whole = np.empty((6, 128), dtype=np.float32)
    of_whole = [None] * 6
    for shard in range(shards):
        part = output.with_name(f"{shard}.npz")
        embed(fasta, part, "--shard", f"{shard + 1}/{shards}")
        whole[shard::shards], of_whole[shard::shards] = vectors(part), names(part)
    assert of_whole == NAMES
    assert_allclose(whole, expected(), rtol=1e-5, atol=1e-6)


def test_a_shard_without_records_is_written_too(fasta, output, embedded):
    # of an array of jobs none is to fail because there are more jobs than proteins
    assert embed(fasta, output, "--shard", "8/8", "--layer", "all").exit_code == 0
    assert (vectors(output).shape, names(output), embedded) == ((0, 7 * 128), [], [])


# embed: the cache


def test_a_second_run_takes_everything_from_the_folder(fasta, output, folder, embedded):
    embed(fasta, output, "--cache", folder)
    first = vectors(output)
    embedded.clear()
    result = embed(fasta, output, "--cache", folder, "--verbose")
    assert embedded == []
    np.testing.assert_array_equal(vectors(output), first)
    assert re.search(r"Distinct sequences: \d+ from the cache, \d+ computed", result.stderr)


def test_an_interrupted_run_goes_on_where_it_stopped(fasta, output, folder, embedded, monkeypatch):
    hidden_states = _engine.hidden_states

    def interrupted(*arguments):
        if len(embedded) >= 2:
            raise KeyboardInterrupt
        return hidden_states(*arguments)

    options = ("--cache", folder, "--batch-tokens", "15")
    with monkeypatch.context() as patch:
        patch.setattr(_engine, "hidden_states", interrupted)
        result = embed(fasta, output, *options)
    assert (result.exit_code, result.stdout, files_in(output.parent)) == (130, "", [])
    message = f"Interrupted. Computed vectors are kept in {folder}; rerun the command to resume.\n"
    assert result.stderr.splitlines(keepends=True)[1:] == [message]
    done = len(embedded)
    assert done >= 2
    assert embed(fasta, output, *options).exit_code == 0
    assert len(embedded) == len(set(SEQUENCES))
    assert_allclose(vectors(output), expected(), rtol=1e-5, atol=1e-6)


def test_a_folder_named_memory_is_a_folder(fasta, output, tmp_path, monkeypatch):
    # the estimators' cache="memory" is something else
    monkeypatch.chdir(tmp_path)
    embed(fasta, output, "--cache", "memory")
    assert run("cache", "info", "memory").stdout.startswith("5 vectors, ")


# embed: what it says


def test_a_run_tells_what_it_wrote(fasta, output):
    result = embed(fasta, output)
    sizes, wrote = result.stderr.splitlines()
    assert sizes.startswith("6 records, about 6.8 kB on the disk while they are embedded; ")
    assert (result.stdout, wrote) == ("", f"Wrote 6 records of 128 features to {output}.")


def test_progress_goes_to_standard_error(fasta, output):
    result = embed(fasta, output, "--verbose")
    assert result.stdout == ""
    assert "Running the model: 100%" in result.stderr


def test_quiet_is_silent(fasta, output):
    assert embed(fasta, output, "--quiet").output == ""


def test_a_warning_is_one_line(fasta, output, monkeypatch):
    def transform(self, X):
        warnings.warn("Pass batch_tokens=256 to begin with that.", RuntimeWarning, stacklevel=1)
        return np.zeros((len(X), 128), dtype=np.float32)

    monkeypatch.setattr(ESMEmbeddingTransformer, "transform", transform)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        result = embed(fasta, output, "--quiet")
    assert result.exit_code == 0
    assert result.stderr == "Warning: Pass --batch-tokens 256 to begin with that.\n"
