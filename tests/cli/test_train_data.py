"""What `train` reads: columns, targets, duplicates and odd rows, and errors that name them."""

import shlex

import numpy as np
import pytest
from command_line import run, train
from numpy.testing import assert_allclose
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from training_tables import FAST, NUMBERS, SEQUENCES, fails, replaced, table

for library in ("pandas", "skops", "matplotlib"):
    pytest.importorskip(library, reason="training needs the extra train")

from sklearn_esm.baselines import ResidueComposition  # noqa: E402
from sklearn_esm.cli._saved_model import load_pipeline  # noqa: E402  the command line is an extra
from sklearn_esm.cli._targets import target_of  # noqa: E402


@pytest.fixture
def csv(tmp_path):
    return tmp_path / "measured.csv"


@pytest.fixture
def model(tmp_path):
    return tmp_path / "model.skops"


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    # half a second for each run, and test_report.py tests them
    monkeypatch.setattr("sklearn_esm.cli._report.html_report", lambda record: "")


# which task


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        (["1.5", "2"] * 5, "regression", []),
        (["0", "1"] * 5, "classification", [0, 1]),
        ([0.0, 1.0, 2.0] * 5, "classification", [0, 1, 2]),
        (["3", "4", "5"], "regression", []),  # too few rows of each for classes
        ([str(number) for number in range(11)] * 9, "regression", []),
        (["high", "low "] * 5, "classification", ["high", "low"]),
        ([True, False] * 5, "classification", ["False", "True"]),
        (["37C", "55C"] * 5, "classification", ["37C", "55C"]),
        ([f"{n}a" for n in range(12)] * 9, "classification", sorted(f"{n}a" for n in range(12))),
        (["1", "2", "high", "low", "high"], "classification", ["1", "2", "high", "low"]),
    ],
)
def test_the_target_decides_the_task(values, task, classes):
    target = target_of(values, None, str)
    assert (target.task, target.classes) == (task, classes)
    if classes:
        assert set(target.values.tolist()) == set(classes)
    else:
        assert target.values.tolist() == [float(value) for value in values]


@pytest.mark.parametrize("text", ["{} nM", "{}%", "<{}", "{} ± 0.1", "{}mg/mL"])
def test_numbers_with_other_signs_are_not_classes(text):
    values = [text.format(number) for number in NUMBERS]
    with pytest.raises(
        ValueError, match=r"^0 must be a number; got .* Write it with a point and without a"
    ):
        target_of(values, None, str)
    assert target_of(values, "classification", str).task == "classification"


def test_decimal_commas_are_not_classes():
    values = [str(number).replace(".", ",") for number in NUMBERS]
    with pytest.raises(ValueError, match="must be a number; got '0,126'"):
        target_of(values, None, str)


def test_large_whole_numbers_are_different_classes():
    values = [str(10**30), str(10**30 + 1)] * 5
    assert target_of(values, "classification", str).classes == values[:2]


def test_the_task_can_be_set(csv, model):
    table(csv, targets=[0, 1] * 20)
    _, record = train(csv, model, "y", *FAST)
    assert (record["task"], record["classes"], record["estimator"]) == (
        "classification",
        [0, 1],
        "logistic",
    )
    _, record = train(csv, model, "y", *FAST, "--task", "regression")
    assert (record["task"], record["classes"], record["estimator"]) == ("regression", None, "ridge")
    predicted = load_pipeline(model).predict(SEQUENCES)
    assert predicted.dtype == np.float64


def test_three_classes_are_scored_by_balanced_accuracy(csv, model):
    table(csv, targets=["a", "b", "c", "c"] * 10)
    _, record = train(csv, model, "y", *FAST)
    assert record["metric"] == "balanced_accuracy"
    assert list(record["scores"]["model"]) == ["balanced_accuracy", "mcc"]
    assert record["scores"]["dummy"]["balanced_accuracy"] == pytest.approx([1 / 3] * 3)
    probabilities = np.array(record["out_of_fold"]["probabilities"])
    predicted = np.array(record["classes"])[probabilities.argmax(axis=1)]
    assert predicted.tolist() == record["out_of_fold"]["predicted"]


# forms of a table


def test_fasta_with_labels_equals_the_table(tmp_path, csv, model):
    table(csv)
    fasta = tmp_path / "measured.fasta"
    text = "".join(
        f">p{row} y={y}\n{one}\n" for row, (one, y) in enumerate(zip(SEQUENCES, NUMBERS, strict=True))
    )
    fasta.write_text(text)
    _, of_fasta = train(fasta, model, "y", *FAST)
    _, of_pipe = train("-", model, "y", *FAST, stdin=text)
    _, of_csv = train(csv, model, "y", *FAST)
    assert of_fasta["scores"] == of_pipe["scores"] == of_csv["scores"]
    assert (of_fasta["input"]["id"], of_csv["input"]["id"]) == ("id", None)


def test_the_command_in_the_record_repeats_it(tmp_path, model):
    csv = table(tmp_path / "my measured.csv", targets=[0, 1] * 20)
    _, record = train(csv, model, "y", *FAST, "--seed", 7, "--task", "regression")
    text = model.with_suffix(".json").read_text(encoding="utf-8")
    model.with_suffix(".json").unlink()
    program, *arguments = shlex.split(record["command"])
    result = run(*arguments, "--quiet")
    assert (program, result.exit_code, result.stdout) == ("sklearn-esm", 0, "")
    assert model.with_suffix(".json").read_text(encoding="utf-8") == text


# rows


def test_rows_without_a_target_are_counted_and_left_out(csv, model):
    table(csv, targets=replaced(NUMBERS, row_1="", row_5="NA"))
    result, record = train(csv, model, "y", *FAST)
    warning = "2 of 40 rows have no target in 'y' and are left out."
    assert f"Warning: {warning}" in result.stderr
    assert record["warnings"][0] == warning
    given = record["input"]
    assert (given["rows"], given["rows_without_target"]) == (40, 2)
    left = [row for row in range(40) if row not in (1, 5)]
    assert record["out_of_fold"]["row"] == left
    assert record["out_of_fold"]["measured"] == [NUMBERS[row] for row in left]


def test_different_targets_of_one_sequence_are_refused(csv, model):
    table(csv, replaced(SEQUENCES, row_7=SEQUENCES[2], row_9=SEQUENCES[2].lower()))
    result, _ = train(csv, model, "y", *FAST)
    fails(
        result,
        "2 rows of",
        f"The first is data row 8, with {NUMBERS[7]}; row 3 has {NUMBERS[2]}.",
        "--duplicates mean",
    )
    assert not model.exists()


def test_duplicates_are_averaged_or_kept(csv, model):
    table(csv, replaced(SEQUENCES, row_7=SEQUENCES[2]))
    _, record = train(csv, model, "y", *FAST, "--duplicates", "mean")
    assert record["input"]["duplicates"] == 1
    assert record["out_of_fold"]["row"] == [row for row in range(40) if row != 7]
    assert record["out_of_fold"]["measured"][2] == (NUMBERS[2] + NUMBERS[7]) / 2
    _, record = train(csv, model, "y", *FAST, "--duplicates", "keep")
    assert record["input"]["duplicates"] == 1
    assert record["out_of_fold"]["measured"] == NUMBERS


def test_classes_cannot_be_averaged(csv, model):
    table(csv, replaced(SEQUENCES, row_7=SEQUENCES[2]), ["high", "low"] * 20)
    result, _ = train(csv, model, "y", *FAST, "--duplicates", "mean")
    fails(result, "data row 8, with low; row 3 has high. Remove all but one of each")


def test_equal_rows_are_kept_by_default_and_merged_by_mean(csv, model):
    sequences, targets = replaced(SEQUENCES, row_7=SEQUENCES[2]), replaced(NUMBERS, row_7=NUMBERS[2])
    table(csv, sequences, targets)
    _, record = train(csv, model, "y", *FAST)
    assert len(record["out_of_fold"]["row"]) == 40
    _, record = train(csv, model, "y", *FAST, "--duplicates", "mean")
    assert len(record["out_of_fold"]["row"]) == 39


def test_saved_pipelines_predict_the_final_fit(csv, model):
    _, record = train(table(csv), model, "y", *FAST)
    ridge = Ridge(record["best_params"]["estimator__alpha"])
    plain = make_pipeline(ResidueComposition(length="log"), StandardScaler(), ridge)
    expected = plain.fit(SEQUENCES, NUMBERS).predict(SEQUENCES)
    assert_allclose(load_pipeline(model).predict(SEQUENCES), expected, rtol=1e-9)


# errors


@pytest.mark.parametrize(
    ("column", "row", "value", "message"),
    [
        ("targets", 4, "1,5", "measured.csv, line 6: must have 2 fields"),
        ("targets", 4, "high", "data row 5, column 'y' must be a finite number; got 'high'."),
        ("targets", 4, "inf", "data row 5, column 'y' must be a finite number; got 'inf'."),
        ("targets", 4, "1e300", "data row 5, column 'y' must be at most 1e+18; got '1e300'."),
        ("sequences", 4, "MKJ", "data row 5: sequence (MKJ) has 'J' at position 3"),
        ("sequences", 4, "A24G", "data row 5: sequence (A24G) looks like a mutation"),
        ("sequences", 4, "", "data row 5 has nothing in 'sequence'. Remove the row."),
    ],
)
def test_errors_name_the_row_of_the_file(csv, model, column, row, value, message):
    columns = {"sequences": SEQUENCES, "targets": NUMBERS}
    columns[column] = replaced(columns[column], **{f"row_{row}": value})
    columns["targets"] = replaced(columns["targets"], row_1="")  # left out, and yet counted
    result, record = train(table(csv, **columns), model, "y", *FAST)
    fails(result, message)
    assert record is None


def test_a_sequence_too_long_for_the_limit_is_named(csv, model):
    table(csv, targets=replaced(NUMBERS, row_0=""))
    longest = max(range(1, 40), key=lambda row: (len(SEQUENCES[row]) > 30, -row))
    result, _ = train(csv, model, "y", "--folds", 3, "--max-length", 30)
    fails(result, f"data row {longest + 1}: sequence", "must have at most 30 residues", "--overlong ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--target", "z"), "has no column 'z'. Set --target to one of: sequence, y."),
        (("--sequence", "z"), "has no column 'z'. Set --sequence to one of: sequence, y."),
        (("--group", "z"), "has no column 'z'. Set --group to one of: sequence, y."),
        (
            ("--mutations", "z", "--reference", "MKT"),
            "has no column 'z'. Set --mutations to one of: sequence, y.",
        ),
        (("--estimator", "logistic"), "--estimator must be 'ridge', 'svm'"),
        (("--group", "positions"), "--group positions must have --reference"),
        (("--folds", 21), "at least 42 rows for 21 folds; got 40"),
    ],
)
def test_options_that_do_not_suit_the_table(csv, model, options, message):
    table(csv)
    fails(run("train", csv, "-o", model, "--target", "y", *FAST, *options), message)


@pytest.mark.parametrize("layers", ["99", "0,99", "1,1"])
def test_layers_that_the_model_lacks_name_the_option(csv, model, layers):
    options = ("--model", "esm2_t6_1M_bundled", "--folds", "3", "--layers", layers)
    fails(run("train", table(csv), "-o", model, "--target", "y", *options), "Error: --layers must ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--features", "embeddings"), "--features must be 'embedding', 'likelihood'"),
        (("--estimator", "lasso"), "--estimator must be 'ridge', 'svm'"),
        (("--estimator", "ridge", "--task", "classification"), "for classification; got 'ridge'"),
        (("--layers", "3,x"), "Invalid value: --layers must be one layer such as 6"),
        (("--poolings", "median"), "--poolings must be 'mean'"),
        (("--mutations", "m", "--sequence", "s"), "Pass --sequence or --mutations, not both."),
        (("--mutations", "m"), "--mutations must have --reference"),
        (("--reference", "nowhere.fasta"), "nowhere.fasta cannot be read"),
        (("--mutations", "m", "--reference", "MK?T"), "has '?' at position 3, which is not in ESM's"),
        (("--identity", "30"), "--identity must be above 0 and at most 1; got 30"),
        (("--device", "gpu"), "--device must be"),
        (("-o", "model.pkl"), "must end in .skops or .joblib"),
        (("-o", "folder.skops"), "-o must be a file that can be written"),
        (("-o", "nowhere/model.skops"), "The folder of -o must exist"),
        (("--quiet", "--verbose"), "Pass --verbose or --quiet, not both."),
    ],
)
def test_invalid_options_are_wrong_usage(csv, model, options, message, monkeypatch):
    monkeypatch.chdir(csv.parent)
    (csv.parent / "folder.skops").mkdir()
    result = run("train", table(csv), "-o", model, "--target", "y", *options)
    fails(result, message, code=2)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([1.5] * 40, "must have different values; all 40 are 1.5"),
        (["high"] * 40, "must have at least two classes; all 40 rows are 'high'"),
        ([""] * 40, "No row of"),
        (["high"] * 38 + ["low"] * 2, "Each class must have at least 3 rows for 3 folds; 'low' has 2."),
    ],
)
def test_targets_that_cannot_be_learned(csv, model, targets, message):
    result, record = train(table(csv, targets=targets), model, "y", *FAST)
    fails(result, message)
    assert record is None


def test_numbers_in_place_of_sequences_are_refused(tmp_path, model):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    path = tmp_path / "measured.parquet"
    pandas.DataFrame({"sequence": NUMBERS, "y": NUMBERS}).to_parquet(path)
    result, _ = train(path, model, "y", *FAST)
    fails(result, "data row 1: 'sequence' must be text", "Set --sequence or --mutations")


def test_a_pickle_is_written_on_request(csv, tmp_path):
    result, record = train(table(csv), tmp_path / "model.joblib", "y", *FAST, "--quiet")
    assert (result.exit_code, record["types"]) == (0, [])
    assert load_pipeline(tmp_path / "model.joblib").predict(SEQUENCES[:2]).shape == (2,)
    assert (record["model"], record["model_fingerprint"]) == (None, None)  # no language model ran


def test_parquet_equals_the_table(tmp_path, csv, model):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    table(csv)
    path = tmp_path / "measured.parquet"
    pandas.DataFrame({"sequence": SEQUENCES, "y": NUMBERS}).to_parquet(path)
    _, of_parquet = train(path, model, "y", *FAST)
    _, of_csv = train(csv, model, "y", *FAST)
    assert of_parquet["scores"] == of_csv["scores"]
