"""The command predict: the numbers of the saved pipeline beside the columns of the input."""

import gc
import io
import shutil
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pytest

pytest.importorskip("typer")
pytest.importorskip("skops")
pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

import pandas
import pyarrow
from command_line import run
from numpy.testing import assert_allclose, assert_array_equal
from pyarrow import parquet
from saved_models import (
    CLASSES,
    GB1,
    MODEL,
    PEPTIDES,
    classifier,
    gaussian_process,
    one_hot_ridge,
    save,
)
from sklearn.pipeline import make_pipeline

from sklearn_esm import ESMLikelihoodTransformer
from sklearn_esm._checkpoints._locate import find_checkpoint
from sklearn_esm.cli import _candidates, _predict
from sklearn_esm.cli._table_files import BLOCK

pytestmark = pytest.mark.no_cover
COMMAND = [sys.executable, "-W", "error", "-m", "sklearn_esm.cli"]
FEW = GB1.mutations[5::100]
OTHERS = PEPTIDES[5::30]


@pytest.fixture
def variants(tmp_path):
    """A Gaussian process trained with the column of mutations."""
    return save(gaussian_process(), tmp_path / "variants.skops", "mutations", "mutant")


@pytest.fixture
def peptides(tmp_path):
    """A logistic regression trained with sequences."""
    return save(classifier(), tmp_path / "peptides.skops")


@pytest.fixture
def baseline(tmp_path):
    """A ridge regression that needs no language model."""
    return save(one_hot_ridge(), tmp_path / "baseline.skops")


@pytest.fixture
def table(tmp_path):
    """A table of mutations with texts that a reader could change."""
    path = tmp_path / "table.csv"
    ids = [f"{number:04d}" for number in range(len(FEW))]
    frame = pandas.DataFrame({"id": ids, "mutant": FEW, "note": "NA"})
    frame.to_csv(path, index=False)
    return path


def fasta_of(path, sequences):
    path.write_text("".join(f">p{row} of mine\n{text}\n" for row, text in enumerate(sequences)))
    return path


def read(text):
    return pandas.read_csv(io.StringIO(text), dtype={"id": str}, keep_default_na=False)


def test_a_process_predicts_classes_and_probabilities_of_a_fasta_file(peptides, tmp_path):
    fasta = fasta_of(tmp_path / "in.fasta", OTHERS)
    done = subprocess.run(
        [*COMMAND, "predict", peptides, fasta, "-o", tmp_path / "out.csv"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert done.stderr == f"Wrote {len(OTHERS)} predictions to {tmp_path / 'out.csv'}.\n"
    output, model = pandas.read_csv(tmp_path / "out.csv"), classifier()
    names = [f"probability_{name}" for name in np.unique(CLASSES)]
    assert output.columns.tolist() == ["id", "sequence", "prediction", *names]
    assert output["id"].tolist() == [f"p{row}" for row in range(len(OTHERS))]
    assert_array_equal(output["prediction"], model.predict(OTHERS))
    assert_allclose(output[names], model.predict_proba(OTHERS), rtol=1e-5)


def test_standard_input_to_standard_output_with_deviations(variants, table):
    done = run("predict", variants, "-", "-o", "-", stdin=table.read_text())
    assert done.exit_code == 0, done.output
    output = read(done.stdout)
    mean, std = gaussian_process().predict(FEW, return_std=True)
    assert output.columns.tolist() == ["id", "mutant", "note", "prediction", "std"]
    assert_array_equal(output[["id", "mutant", "note"]], read(table.read_text()))
    assert_allclose(output[["prediction", "std"]], np.column_stack([mean, std]), rtol=1e-5)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_each_format_in_and_out(variants, tmp_path, suffix):
    source, output = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    frame = pandas.DataFrame({"number": np.arange(len(FEW)), "mutant": FEW.astype(object)})
    if suffix == ".parquet":
        frame.to_parquet(source)
    else:
        frame.to_csv(source, index=False, sep="\t" if suffix == ".tsv" else ",")
    assert run("predict", variants, source, "-o", output).exit_code == 0
    if suffix == ".parquet":
        written = pandas.read_parquet(output)
    else:
        written = pandas.read_csv(output, sep="\t" if suffix == ".tsv" else ",")
    assert_array_equal(written[["number", "mutant"]], frame)
    assert_allclose(written["prediction"], gaussian_process().predict(FEW), rtol=1e-5)


def test_columns_of_parquet_keep_their_types_in_each_block(baseline, tmp_path):
    rows = BLOCK + 3
    empty = [None] * BLOCK
    columns = {
        "sequence": pyarrow.array([GB1.reference] * rows),
        "count": pyarrow.array([*empty, 1, None, 2**60 + 1], pyarrow.int64()),
        "text": pyarrow.array([*empty, "NA", None, ""]),
        "list": pyarrow.array([*empty, [1, 2], None, []], pyarrow.list_(pyarrow.int8())),
        "day": pyarrow.array(range(rows), pyarrow.date32()),
    }
    table = pyarrow.table(columns)
    parquet.write_table(table, tmp_path / "in.parquet")
    done = run("predict", baseline, tmp_path / "in.parquet", "-o", tmp_path / "out.parquet")
    assert done.exit_code == 0, done.stderr
    written = parquet.read_table(tmp_path / "out.parquet")
    assert written.drop_columns(["prediction"]).equals(table)


def test_a_model_of_mutations_predicts_sequences_with_an_insertion(variants, tmp_path):
    sequences = [GB1.reference, "MQ" + GB1.reference, GB1.data[7]]
    fasta = fasta_of(tmp_path / "in.fasta", sequences)
    output = read(run("predict", variants, fasta, "-o", "-").stdout)
    assert_allclose(output["prediction"], gaussian_process()[1:].predict(sequences), rtol=1e-5)
    table = "seq\n" + "\n".join(sequences) + "\n"
    named = read(run("predict", variants, "-", "-o", "-", "--sequence", "seq", stdin=table).stdout)
    assert_array_equal(named["prediction"], output["prediction"])


@pytest.mark.parametrize("as_file", [False, True])
def test_a_model_of_sequences_predicts_mutations(baseline, table, tmp_path, as_file):
    reference = fasta_of(tmp_path / "wt.fasta", [GB1.reference]) if as_file else GB1.reference
    options = ["--mutations", "mutant", "--reference", reference]
    output = read(run("predict", baseline, table, "-o", "-", *options).stdout)
    assert_allclose(output["prediction"], one_hot_ridge().predict(GB1.data[5::100]))


def test_mutations_may_count_from_another_position(variants):
    shifted = "mutant\n" + "\n".join(f"{name[0]}{int(name[1:-1]) + 226}{name[-1]}" for name in FEW)
    output = read(
        run("predict", variants, "-", "-o", "-", "--first-position", 227, stdin=shifted).stdout
    )
    assert_allclose(output["prediction"], gaussian_process().predict(FEW), rtol=1e-5)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_a_table_without_rows_gives_a_header(variants, tmp_path, suffix):
    output = tmp_path / f"out{suffix}"
    assert run("predict", variants, "-", "-o", output, stdin="mutant,a\n").exit_code == 0
    if suffix == ".parquet":
        assert pandas.read_parquet(output).columns.tolist() == ["mutant", "a", "prediction", "std"]
    else:
        separator = "\t" if suffix == ".tsv" else ","
        assert output.read_text() == separator.join(["mutant", "a", "prediction", "std"]) + "\n"


def test_memory_does_not_grow_with_the_rows(baseline, tmp_path):
    peaks = []
    for blocks in (3, 12):
        source = tmp_path / f"{blocks}.csv"
        source.write_text("sequence\n" + f"{GB1.reference}\n" * (blocks * BLOCK))
        gc.collect()
        tracemalloc.start()
        done = run("predict", baseline, source, "-o", tmp_path / "out.csv")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert done.exit_code == 0
        assert len(pandas.read_csv(tmp_path / "out.csv")) == blocks * BLOCK
    assert peaks[1] < 1.05 * peaks[0]


def test_a_kill_leaves_no_output(baseline, tmp_path):
    output = tmp_path / "out.csv"
    command = [*COMMAND, "predict", baseline, "-", "-o", output]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as process:
        process.stdin.write("sequence\n" + f"{GB1.reference}\n" * (2 * BLOCK))
        process.stdin.flush()
        deadline = time.monotonic() + 60
        while not any(path.stat().st_size for path in tmp_path.glob("out.csv.*.part")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.kill()
    assert not output.exists()


@pytest.fixture
def own_checkpoint(tmp_path):
    return shutil.copy(find_checkpoint(MODEL), tmp_path / "mine.pt")


def test_a_checkpoint_that_moved_is_found_and_a_changed_one_refused(own_checkpoint, tmp_path):
    model = save(classifier(str(own_checkpoint)), tmp_path / "model.skops")
    table = "sequence\n" + "\n".join(OTHERS) + "\n"
    before = run("predict", model, "-", "-o", "-", stdin=table)
    moved = own_checkpoint.rename(tmp_path / "moved.pt")
    after = run("predict", model, "-", "-o", "-", "--model", moved, stdin=table)
    assert (after.exit_code, after.stdout) == (0, before.stdout)
    other = change(moved, tmp_path / "other.pt")
    refused = run("predict", model, "-", "-o", tmp_path / "out.csv", "--model", other, stdin=table)
    assert refused.exit_code == 1
    (line,) = refused.stderr.splitlines()
    assert "must be those this estimator was fitted with (SHA-256" in line
    assert not (tmp_path / "out.csv").exists()


def change(checkpoint, path):
    """Copy a checkpoint with one weight changed."""
    import torch

    content = torch.load(checkpoint, weights_only=False)
    next(iter(content["model"].values())).view(-1)[0] += 1
    torch.save(content, path)
    return path


def test_options_of_the_run_reach_the_transformers(peptides, tmp_path, monkeypatch):
    seen = []

    def spy(pipeline, frame, *rest):
        seen.append(pipeline[0].get_params())
        return predicted(pipeline, frame, *rest)

    predicted = _predict.predicted
    monkeypatch.setattr(_predict, "predicted", spy)
    options = ["--device", "cpu", "--batch-tokens", 500, "--cache", tmp_path / "vectors"]
    assert run("predict", peptides, "-", "-o", "-", *options, stdin="sequence\nMKT\n").exit_code == 0
    assert (
        seen[0]
        | {
            "device": "cpu",
            "batch_tokens": 500,
            "cache": str(tmp_path / "vectors"),
            "verbose": False,
        }
        == seen[0]
    )
    assert (tmp_path / "vectors").is_dir()


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (
            "sequence\nMKT\n\nM*T\n",
            [],
            "row 2 (M*T) has '*' at position 2, which is not in ESM's alphabet. Correct the row",
        ),
        ("id,sequence\na,MKT\nb,\n", [], "row 2, 'b', is missing: found ''. Correct the row, or"),
        (
            "seq,id\nMKT,a\n",
            [],
            "Standard input has no column 'sequence'. Set --sequence to one of: seq, id.",
        ),
        ("sequence,prediction\nMKT,1\n", [], "must not have a column 'prediction'"),
        ("sequence\nK2R\n", [], "looks like a mutation and not a sequence. Pass --mutations instead"),
        ("m\nK2R\n", ["--mutations", "m"], "--mutations needs --reference"),
        ("m\nK2R\nA2R\n", ["--mutations", "m", "--reference", "MKT"], "row 2 (A2R) must have 'K' at"),
        (
            'm\nK2R\n""\n',
            ["--mutations", "m", "--reference", "MKT"],
            "row 2 has no mutations. Write 'WT'",
        ),
        ("", [], "must begin with a line of column names"),
    ],
)
def test_input_that_cannot_be_predicted_is_one_message(peptides, tmp_path, text, options, message):
    done = run("predict", peptides, "-", "-o", tmp_path / "out.csv", *options, stdin=text)
    (line,) = done.stderr.splitlines()
    assert (done.exit_code, done.stdout) == (1, "")
    assert message in line
    assert not (tmp_path / "out.csv").exists()


def test_a_bad_row_of_a_later_block_has_its_number_in_the_file(baseline):
    rows = [GB1.reference] * (BLOCK + 10)
    rows[BLOCK + 2] = "MKT"
    done = run("predict", baseline, "-", "-o", "-", stdin="sequence\n" + "\n".join(rows) + "\n")
    assert done.exit_code == 1
    assert f"row {BLOCK + 3:} " in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model.pkl", "-", "-o", "-"], "must end in .skops or .joblib; got model.pkl"),
        (["model.skops", "-", "-o", "out.txt"], "-o must end in .csv, .tsv or .parquet"),
        (["model.skops", "a.csv", "-o", "./a.csv"], "-o must be another file than the input"),
        (["model.skops", "-", "-o", "-", "-v", "-q"], "Pass --verbose or --quiet, not both"),
        (["model.skops", "-", "-o", "-", "--reference", "no.fasta"], "no.fasta cannot be read"),
        (["model.skops", "-", "-o", "-", "--reference", "MKT?" * 99], "has '?' at position 4"),
        (
            ["model.skops", "-", "-o", "-", "--sequence", "a", "--mutations", "b"],
            "Pass --sequence or --mutations, not both",
        ),
    ],
)
def test_an_invalid_command_line_ends_with_2(arguments, message):
    done = run("predict", *arguments)
    assert done.exit_code == 2
    assert message in done.stderr


def test_a_model_without_its_files_is_named(peptides, tmp_path):
    (tmp_path / "peptides.skops").rename(tmp_path / "elsewhere.skops")
    done = run("predict", peptides, "-", "-o", "-")
    assert done.stderr == f"Error: {peptides}: No such file or directory\n"
    done = run("predict", tmp_path / "elsewhere.skops", "-", "-o", "-")
    assert "elsewhere.json must lie beside elsewhere.skops" in done.stderr


def test_one_model_cannot_replace_several():
    several = make_pipeline(ESMLikelihoodTransformer([MODEL, MODEL]))
    with pytest.raises(ValueError, match="--model must be left out"):
        _candidates.set_run(
            several, model=MODEL, device=None, batch_tokens=None, cache=None, verbose=False
        )
