"""The command `score`: the estimator's numbers beside the columns of the input."""

import gzip
import io

import numpy as np
import pytest
from command_line import MODEL, files_in, run
from numpy.testing import assert_allclose, assert_array_equal
from test_cli_process import start

from sklearn_esm import ESMLikelihoodTransformer
from sklearn_esm.datasets import load_gb1

pandas = pytest.importorskip("pandas")
pytest.importorskip("matplotlib")

from sklearn_esm.cli import _table_files  # noqa: E402  the command line is an extra

GB1 = load_gb1()
ROWS = [0, 500, 3, 1044, 17, 3]
# the texts must stay as they are: 0010 is no number, NA is no missing value
TABLE = pandas.DataFrame(
    {
        "id": ["0010", "NA", "c,d", 'e"f', "1e3", " g"],
        "mutant": GB1.mutations[ROWS],
        "sequence": np.array(GB1.data, dtype=object)[ROWS],
        "DMS_score": ["1.50", "", "-2e-1", "0", "3", "4"],
    }
)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "dms.csv"
    TABLE.to_csv(path, index=False)
    return path


@pytest.fixture
def wild_type(tmp_path):
    path = tmp_path / "wt.fasta"
    path.write_text(f">GB1\n{GB1.reference}\n")
    return path


@pytest.fixture
def short_blocks(monkeypatch):
    def in_blocks(*arguments, **more):
        return _table_files.iterate_table(*arguments, rows=2, **more)

    monkeypatch.setattr("sklearn_esm.cli._scored_tables.iterate_table", in_blocks)


def score(path, output, *options, model=MODEL, **more):
    return run("score", path, "-o", output, "--model", model, *options, **more)


def scored(path, *options, output=None, model=MODEL):
    output = output or path.with_name("scored.csv")
    result = score(path, output, *options, model=model)
    assert result.exit_code == 0, result.stderr
    return pandas.read_csv(output, dtype=object, keep_default_na=False)


def expected(model=MODEL, sequences=tuple(TABLE["sequence"]), **parameters):
    return ESMLikelihoodTransformer(model, cache=None, **parameters).fit_transform(list(sequences))


def numbers(frame, *names):
    return frame[list(names)].to_numpy(dtype=float)


def test_a_mutation_table_gets_masked_marginals(table, wild_type):
    frame = scored(table, "--mutations", "mutant", "--reference", wild_type)
    name = f"{MODEL}_masked-marginals"
    assert list(frame) == [*TABLE, name]
    pandas.testing.assert_frame_equal(frame[list(TABLE)], TABLE, check_dtype=False)
    truth = expected(method="masked-marginals", reference=GB1.reference)
    assert_allclose(numbers(frame, name), truth, rtol=1e-5, atol=1e-6)


def test_sequences_get_a_pseudo_perplexity(table):
    frame = scored(table)
    assert_allclose(numbers(frame, f"{MODEL}_pseudo-perplexity"), expected(), rtol=1e-5)


@pytest.mark.parametrize(
    "methods", [["wt-marginals", "pseudo-log-likelihood-ratio"], ["log-likelihood"]]
)
def test_methods_are_columns(table, methods):
    frame = scored(table, "--reference", GB1.reference, "--method", ",".join(methods))
    truth = expected(method=methods, reference=GB1.reference)
    names = [f"{MODEL}_{method}" for method in methods]
    assert list(frame) == [*TABLE, *names]
    assert_allclose(numbers(frame, *names), truth, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", [["--model", MODEL], []])
def test_several_models_are_repeated_or_separated_by_commas(table, options):
    model = MODEL if options else f"{MODEL}, {MODEL}"
    options = [*options, "--method", "log-likelihood"]
    frame = scored(table, *options, model=model)
    truth = expected([MODEL, MODEL], method="log-likelihood")
    assert_allclose(
        numbers(frame, f"{MODEL}-1_log-likelihood", f"{MODEL}-2_log-likelihood"), truth, rtol=1e-5
    )
    frame = scored(table, *options, "--aggregate", "min", model=model)
    assert_allclose(numbers(frame, "min_log-likelihood")[:, 0], truth.min(axis=1), rtol=1e-5)


def test_blocks_give_the_same_as_the_whole(table, wild_type, short_blocks):
    frame = scored(table, "--mutations", "mutant", "--reference", wild_type)
    truth = expected(method="masked-marginals", reference=GB1.reference)
    assert_allclose(numbers(frame, f"{MODEL}_masked-marginals"), truth, rtol=1e-5, atol=1e-6)
    pandas.testing.assert_frame_equal(frame[list(TABLE)], TABLE, check_dtype=False)


def test_positions_count_from_the_first_one(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("mutant\nA27G\nWT\n")
    options = ["--mutations", "mutant", "--reference", "MKTAYI"]
    frame = scored(path, *options, "--first-position", 24)
    truth = expected(sequences=["MKTGYI", "MKTAYI"], method="masked-marginals", reference="MKTAYI")
    assert_allclose(numbers(frame, f"{MODEL}_masked-marginals"), truth, rtol=1e-5, atol=1e-6)
    result = score(path, tmp_path / "o.csv", *options)
    assert result.exit_code == 1
    assert "data row 1 (A27G) must have positions 1 to 6" in result.stderr
    assert "Set --first-position 24, which fits the rows around it." in result.stderr


def test_a_missing_sequence_has_no_score(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text("sequence\tx\nMKTAYI\t1\n\t2\n")
    output = tmp_path / "o.tsv"
    assert score(path, output, "--missing", "nan").exit_code == 0
    lines = output.read_text().splitlines()
    assert lines[2] == "\t2\t"
    result = score(path, output)
    assert result.exit_code == 1
    assert f"{path}: data row 2" in result.stderr


def test_parquet_keeps_its_types(tmp_path, short_blocks):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {
        "id": pyarrow.array([1, None, 3, 4], pyarrow.int32()),
        "note": pyarrow.array([None, None, None, "last"]),  # no text in the first block
        "when": pyarrow.array([0, 1, 2, None], pyarrow.date32()),
        "tags": pyarrow.array([["a"], [], None, ["b", "c"]]),
        "aa": ["MKTAYI", "GIGKF", "ACDEF", "MKTAYI"],
    }
    given = pyarrow.table(columns)
    path, output = tmp_path / "in.parquet", tmp_path / "out.parquet"
    parquet.write_table(given, path)
    result = score(path, output, "--sequence", "aa")
    assert result.exit_code == 0, result.stderr
    written = parquet.read_table(output)
    for name in columns:
        assert written[name].type in (given[name].type, pyarrow.large_string())
        assert written[name].to_pylist() == given[name].to_pylist()
    truth = expected(sequences=columns["aa"])
    assert_allclose(written[f"{MODEL}_pseudo-perplexity"].to_numpy(), truth[:, 0], rtol=1e-5)


def test_identifiers_in_the_index_of_parquet_are_a_column(tmp_path):
    path = tmp_path / "in.parquet"
    pandas.DataFrame({"id": ["a"], "sequence": ["MKTAYI"]}).set_index("id").to_parquet(path)
    assert scored(path)["id"].tolist() == ["a"]


def test_a_fasta_file_becomes_a_table(tmp_path):
    path = tmp_path / "proteins.fasta.gz"
    path.write_bytes(gzip.compress(b">one first\nMKT\nAYI\n>two\nGIGKF\n"))
    frame = scored(path, output=tmp_path / "o.csv")
    assert frame["id"].tolist() == ["one", "two"]
    assert frame["sequence"].tolist() == ["MKTAYI", "GIGKF"]
    truth = expected(sequences=["MKTAYI", "GIGKF"])
    assert_allclose(numbers(frame, f"{MODEL}_pseudo-perplexity"), truth, rtol=1e-5)


def test_a_process_scores_between_two_pipes():
    process = start("score", "-", "-o", "-", "--model", MODEL, "--quiet")
    output, errors = process.communicate(TABLE.to_csv(index=False).encode(), timeout=60)
    assert (process.returncode, errors) == (0, b"")
    frame = pandas.read_csv(io.BytesIO(output), dtype=object, keep_default_na=False)
    pandas.testing.assert_frame_equal(frame[list(TABLE)], TABLE, check_dtype=False)
    assert_allclose(numbers(frame, f"{MODEL}_pseudo-perplexity"), expected(), rtol=1e-5)


def test_a_table_without_rows_has_the_columns(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("sequence,x\n")
    frame = scored(path)
    assert list(frame) == ["sequence", "x", f"{MODEL}_pseudo-perplexity"]
    assert len(frame) == 0


def test_a_folder_of_the_cache_is_used(table, tmp_path):
    folder = tmp_path / "cache"
    scored(table, "--cache", folder)
    estimator = ESMLikelihoodTransformer(MODEL, cache=folder)
    estimator.fit_transform(TABLE["sequence"])
    distinct = len(set(TABLE["sequence"]))
    assert estimator.cache_info()[1:3] == (distinct, distinct)  # hits of the second, misses of the first


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--mutations", "mutant"], "--mutations must have the sequence that they change"),
        (["--mutations", "a", "--sequence", "b"], "Pass --sequence or --mutations, not both"),
        (["--method", "wt-marginals"], "--reference must be a sequence for --method 'wt-marginals'"),
        (["--method", "guess"], "--method must be"),
        (["--reference", "no.fasta"], "--reference no.fasta cannot be read: No such file"),
        (["--reference", "MKTJ"], "--reference must be a sequence of residues"),
        (["--heat-map", "scan.png"], "--heat-map must have a sequence to change"),
        (["--heat-map", "scan.gif", "--reference", "MKT"], "--heat-map must end in .png, .svg or .pdf"),
        (["--target", "y"], "--target must have a picture to be drawn in"),
        (
            ["--heat-map", "a.png", "--reference", "MKT", "--method", "wt-marginals,log-likelihood"],
            "--heat-map must have one score; got 2.",
        ),
        (["--verbose", "--quiet"], "Pass --verbose or --quiet, not both"),
        (["--max-length", "0"], "--max-length must be"),
        (["--device", "tpu"], "--device must be"),
    ],
)
def test_an_invalid_command_line_ends_with_2(table, tmp_path, options, message):
    before = files_in(tmp_path)
    result = score(table, tmp_path / "o.csv", *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert files_in(tmp_path) == before


def test_an_output_must_be_another_table(table, tmp_path):
    result = score(table, tmp_path / "o.npz")
    assert (result.exit_code, "-o must end in .csv, .tsv or .parquet" in result.stderr) == (2, True)
    before = table.read_bytes()
    result = score(table, table)
    assert (result.exit_code, "-o must be another file than the input" in result.stderr) == (2, True)
    assert table.read_bytes() == before


def test_a_reference_file_has_one_record(table, tmp_path):
    path = tmp_path / "two.fasta"
    path.write_text(">a\nMKT\n>b\nMKT\n")
    result = score(table, tmp_path / "o.csv", "--reference", path)
    assert result.exit_code == 2
    assert f"--reference must be a file of one record; got 2 in {path}" in result.stderr


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("aa\nMKT\n", [], "has no column 'sequence'. Set --sequence to one of: aa"),
        ("sequence\nMKT\nMKT\nMKJ\n", [], "data row 3 (MKJ) has 'J' at position 3"),
        (f"sequence,{MODEL}_pseudo-perplexity\nMKT,1\n", [], f"must not have a column '{MODEL}_pseudo"),
        ("m,a\nK2R,1\n,1\n", ["--mutations", "m", "--reference", "MKT"], "data row 2 has no mutations"),
        ("m\nK2R\nM1A\nA2R\n", ["--mutations", "m", "--reference", "MKT"], "data row 3 (A2R) must have"),
        ("sequence\nMKT\nMKTA\n", ["--reference", "MKT"], "data row 2 (MKTA) has 4 residues"),
        (
            "sequence,y\nMKT,1\nMKA,2\nMRT,high\n",
            ["--reference", "MKT", "--target", "y", "--heat-map", "never.png"],
            "data row 3 must have a number in 'y'; got 'high'",
        ),
        (
            "sequence,y\nMKT,1\n",
            ["--reference", "MKT", "--target", "z", "--heat-map", "never.png"],
            "has no column 'z'. Set --target to one of: sequence, y",
        ),
    ],
)
def test_an_invalid_row_is_named_and_nothing_is_written(tmp_path, short_blocks, text, options, message):
    path = tmp_path / "in.csv"
    path.write_text(text)
    result = score(path, tmp_path / "o.csv", *options)
    assert result.exit_code == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert files_in(tmp_path) == ["in.csv"]


def test_a_number_is_no_sequence(tmp_path):
    path = tmp_path / "in.parquet"
    pandas.DataFrame({"sequence": [1, 2]}).to_parquet(path)
    result = score(path, tmp_path / "o.csv")
    assert result.exit_code == 1
    assert "data row 1 must have a text in 'sequence'; got 1." in result.stderr


def test_rows_without_mutations_are_refused(tmp_path):
    path = tmp_path / "in.parquet"
    pandas.DataFrame({"m": ["K2R", None]}).to_parquet(path)
    result = score(path, tmp_path / "o.csv", "--mutations", "m", "--reference", "MKT")
    assert result.exit_code == 1
    assert "data row 2 has no mutations. Write 'WT' for the reference" in result.stderr


def test_the_reference_scores_0(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("m,x\nWT,1\n=,2\n")
    frame = scored(path, "--mutations", "m", "--reference", "MKT")
    assert_array_equal(numbers(frame, f"{MODEL}_masked-marginals"), [[0], [0]])


def test_an_interrupt_leaves_the_old_output(table, tmp_path, monkeypatch):
    output = tmp_path / "o.csv"
    output.write_text("old")

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(ESMLikelihoodTransformer, "transform", interrupted)
    result = score(table, output, "--cache", tmp_path / "cache")
    assert result.exit_code == 130
    assert "Interrupted. Computed scores are kept in" in result.stderr
    assert output.read_text() == "old"


def test_messages_go_to_standard_error(table):
    result = score(table, "-")
    name = f"{MODEL}_pseudo-perplexity"
    assert result.stdout.startswith(f"id,mutant,sequence,DMS_score,{name}\n")
    assert result.stderr.endswith(f"Wrote 6 rows with {name} to standard output.\n")
