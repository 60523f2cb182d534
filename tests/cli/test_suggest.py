"""The command suggest: the rows that the library chooses, without those that were measured."""

import io
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("typer")
pytest.importorskip("skops")
pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

import pandas
from command_line import run
from numpy.testing import assert_allclose, assert_array_equal
from saved_models import GB1, MEASURED, classifier, digest, gaussian_process, one_hot_ridge, save
from scipy.stats import norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF
from sklearn.pipeline import make_pipeline

from sklearn_esm.baselines import OneHotResidues
from sklearn_esm.cli import _shortlist
from sklearn_esm.cli._pool import scan_blocks
from sklearn_esm.cli._table_files import BLOCK
from sklearn_esm.recipes import suggest_candidates
from sklearn_esm.variants import MutationsToSequences, apply_mutations, single_substitutions

pytestmark = pytest.mark.no_cover
COMMAND = [sys.executable, "-W", "error", "-m", "sklearn_esm.cli"]
ALL = np.arange(0, len(GB1.target), 8)
REST = np.setdiff1d(ALL, MEASURED)
STRATEGIES = ["greedy", "upper-confidence-bound", "expected-improvement", "thompson"]
SHORT = "MKTAYI"


@pytest.fixture(scope="module")
def process():
    """A Gaussian process on embeddings."""
    return gaussian_process()


@pytest.fixture
def variants(process, tmp_path):
    return save(process, tmp_path / "variants.skops", "mutations", "mutant")


@pytest.fixture
def pool(tmp_path):
    """An eighth of all variants, some of those measured in training among them."""
    path = tmp_path / "pool.csv"
    frame = pandas.DataFrame({"mutant": GB1.mutations[ALL], "well": ALL})
    frame.to_csv(path, index=False)
    return path


@pytest.fixture
def short(tmp_path):
    """A model of a short reference, of which all pairs of substitutions can be predicted quickly."""
    names = ["WT", "K2R", "K2E", "A4G", "Y5F"]
    model = make_pipeline(
        MutationsToSequences(SHORT),
        OneHotResidues(),
        GaussianProcessRegressor(RBF(2.0), alpha=0.1, optimizer=None, normalize_y=True),
    ).fit(names, [0.0, 1.2, -2.0, 0.1, 0.3])
    path = save(
        model,
        tmp_path / "short.skops",
        "mutations",
        "mutant",
        input={
            "kind": "mutations",
            "column": "mutant",
            "target": "y",
            "reference": SHORT,
            "first_position": 1,
        },
        measured={
            "highest": 1.2,
            "lowest": -2.0,
            "digests": [digest(text) for text in apply_mutations(SHORT, names)],
        },
    )
    return path, model


def read(text):
    return pandas.read_csv(io.StringIO(text), keep_default_na=False)


def test_a_process_suggests_by_expected_improvement(variants, process, tmp_path, pool):
    done = subprocess.run(
        [*COMMAND, "suggest", variants, pool, "-n", "16", "-o", tmp_path / "plate.csv"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert done.stderr == f"Wrote 16 candidates to {tmp_path / 'plate.csv'}.\n"
    plate = pandas.read_csv(tmp_path / "plate.csv")
    assert plate.columns.tolist() == ["mutant", "well", "prediction", "std", "score", "rank"]
    mean, std = process.predict(GB1.mutations[REST], return_std=True)
    best = GB1.target[MEASURED].max()
    z = (mean - best) / std
    improvement = (mean - best) * norm.cdf(z) + std * norm.pdf(z)
    order = np.argsort(-improvement)[:16]
    assert_array_equal(plate["mutant"], GB1.mutations[REST][order])
    assert_array_equal(plate["well"], REST[order])
    assert_array_equal(plate["rank"], np.arange(1, 17))
    expected = np.column_stack([mean, std, improvement])[order]
    assert_allclose(plate[["prediction", "std", "score"]], expected, rtol=1e-4)


@pytest.mark.parametrize("minimize", [False, True])
@pytest.mark.parametrize("diverse", [False, True])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_plate_is_the_choice_of_the_library(variants, process, pool, strategy, diverse, minimize):
    options = ["--strategy", strategy, "--beta", 1.5, "--seed", 4]
    options += ["--diverse"] * diverse + ["--minimize"] * minimize
    done = run("suggest", variants, pool, "-n", 12, "-o", "-", *options)
    assert done.exit_code == 0, done.stderr
    targets = GB1.target[MEASURED]
    rows = suggest_candidates(
        process,
        GB1.mutations[REST],
        12,
        strategy=strategy,
        best=targets.min() if minimize else targets.max(),
        beta=1.5,
        maximize=not minimize,
        diverse=diverse,
        random_state=4,
    )
    plate = read(done.stdout)
    assert_array_equal(plate["well"], REST[rows])
    expected = process.predict(GB1.mutations[REST][rows])
    assert_allclose(plate["prediction"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("suffix", [".fasta", ".parquet"])
def test_a_pool_in_another_format(variants, pool, tmp_path, suffix):
    other, output = tmp_path / f"pool{suffix}", tmp_path / "plate.parquet"
    if suffix == ".parquet":
        pandas.read_csv(pool).to_parquet(other)
    else:
        records = zip(ALL, GB1.data[ALL], strict=True)
        other.write_text("".join(f">{row}\n{text}\n" for row, text in records))
    assert run("suggest", variants, other, "-n", 6, "-o", output).exit_code == 0
    plate = pandas.read_parquet(output)
    well = plate["id" if suffix == ".fasta" else "well"].astype(int)
    expected = read(run("suggest", variants, pool, "-n", 6, "-o", "-").stdout)
    assert_array_equal(well, expected["well"])
    assert_allclose(plate["score"], expected["score"], rtol=1e-4)


def test_small_blocks_give_the_same_plate(variants, pool, monkeypatch):
    whole = run("suggest", variants, pool, "-n", 12, "-o", "-", "--diverse")
    iterate = _shortlist.Shortlist.add

    def in_pieces(self, frame, *rest):
        for start in range(0, len(frame), 7):
            iterate(self, frame[start : start + 7], *rest)

    monkeypatch.setattr(_shortlist.Shortlist, "add", in_pieces)
    pieces = run("suggest", variants, pool, "-n", 12, "-o", "-", "--diverse")
    assert_array_equal(read(pieces.stdout)["mutant"], read(whole.stdout)["mutant"])


def test_what_was_measured_later_is_left_out_under_any_name(short, tmp_path):
    path, model = short
    later = tmp_path / "later.csv"
    later.write_text("mutant,y\np.Lys2Arg/Tyr5Phe,2.5\na4v,\n")
    pool = "mutant\nK2R:Y5F\nY5F:K2R\nA4V\nK2R\nK2D\nA4I\nA4I\n a4i\n"
    plate = read(run("suggest", path, "-", "-o", "-", "--measured", later, stdin=pool).stdout)
    assert set(plate["mutant"]) == {"K2D", "A4I"}
    mean, std = model.predict(plate["mutant"].tolist(), return_std=True)
    z = (mean - 2.5) / std  # the best of both files
    assert_allclose(plate["score"], (mean - 2.5) * norm.cdf(z) + std * norm.pdf(z))


@pytest.mark.parametrize("content", ["mutant\nK2D\n", ">a\nMDTAYI\n", ">a y=0.5\nMDTAYI\n"])
def test_measured_rows_may_lack_a_target_and_be_a_fasta_file(short, tmp_path, content):
    later = tmp_path / ("later.fasta" if content[0] == ">" else "later.csv")
    later.write_text(content)
    done = run("suggest", short[0], "-", "-o", "-", "--measured", later, stdin="mutant\nK2D\nA4I\n")
    assert read(done.stdout)["mutant"].tolist() == ["A4I"]


def test_a_scan_of_single_substitutions(short):
    path, model = short
    plate = read(run("suggest", path, "--scan", "1", "-n", 5, "-o", "-", "--strategy", "greedy").stdout)
    assert plate.columns.tolist() == ["mutant", "sequence", "prediction", "std", "score", "rank"]
    names = [name for name in single_substitutions(SHORT) if name not in ("K2R", "K2E", "A4G", "Y5F")]
    mean = model.predict(names)
    assert_allclose(plate["prediction"], np.sort(mean)[::-1][:5])
    assert_array_equal(plate["sequence"], apply_mutations(SHORT, plate["mutant"].tolist()))


def test_a_scan_of_pairs_comes_in_blocks_and_has_each_pair_once(short):
    blocks = list(scan_blocks(SHORT, 24, 2, "mutant"))
    names = [name for block in blocks for name in block["mutant"]]
    assert [len(block) for block in blocks] == [BLOCK, 15 * 19**2 - BLOCK]
    assert len(set(names)) == len({text for block in blocks for text in block["sequence"]}) == 5415
    assert (names[0], names[-1]) == ("M24A:K25A", "Y28W:I29Y")
    path, model = short
    output = run("suggest", path, "--scan", "2", "-n", 7, "-o", "-", "--strategy", "greedy").stdout
    mean = model.predict([name for block in scan_blocks(SHORT, 1, 2, "m") for name in block["m"]])
    assert_allclose(read(output)["prediction"], np.sort(mean)[::-1][:7])


def test_a_model_of_sequences_scans_a_given_reference(tmp_path):
    model = save(one_hot_ridge(), tmp_path / "model.skops")
    options = ["--scan", "1", "-n", 3, "-o", "-", "--strategy", "greedy"]
    refused = run("suggest", model, *options)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "--scan needs --reference" in refused.stderr
    plate = read(run("suggest", model, *options, "--reference", GB1.reference).stdout)
    assert plate.columns.tolist() == ["mutations", "sequence", "prediction", "score", "rank"]
    assert not {digest(text) for text in plate["sequence"]} & {
        digest(text) for text in GB1.data[MEASURED]
    }
    assert_allclose(plate["prediction"], one_hot_ridge().predict(plate["sequence"].tolist()))


def test_a_pool_with_too_few_candidates_is_a_warning(short):
    done = run("suggest", short[0], "-", "-n", 5, "-o", "-", stdin="mutant\nA4I\nK2R\n")
    assert (done.exit_code, len(read(done.stdout))) == (0, 1)
    assert "Warning: -n is 5, and the pool has 1 that were not measured." in done.stderr
    done = run("suggest", short[0], "-", "-o", "-", stdin="mutant,a\nK2R,1\n")
    assert (done.exit_code, done.stdout) == (0, "mutant,a,prediction,std,score,rank\n")


@pytest.mark.parametrize(
    ("options", "text", "message"),
    [
        ([], "a\n1\n", "Standard input has no column 'mutant'. Set --mutations to one of: a."),
        ([], "mutant,rank\nA4I,1\n", "must not have a column 'rank'"),
        ([], "mutant\nA4I\nM4I\n", "row 2 (M4I) must have 'A' at position 4"),
        (
            ["--measured", "later.csv"],
            "mutant\nA4I\n",
            "row 2 must have a number as y; got 'x'",
        ),
    ],
)
def test_what_cannot_be_suggested_is_one_message(short, tmp_path, monkeypatch, options, text, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "later.csv").write_text("mutant,y\nA4V,1\nA4L,x\n")
    done = run("suggest", short[0], "-", "-o", "out.csv", *options, stdin=text)
    (line,) = done.stderr.splitlines()
    assert (done.exit_code, done.stdout) == (1, "")
    assert message in line
    assert not (tmp_path / "out.csv").exists()


def test_models_without_deviations_and_classifiers_are_one_message(tmp_path):
    ridge = save(one_hot_ridge(), tmp_path / "a.skops")
    peptides = save(classifier(), tmp_path / "b.skops")
    (line,) = run("suggest", ridge, "-", "-o", "-").stderr.splitlines()
    assert "Set --strategy 'greedy', or train with --estimator 'gaussian-process'." in line
    (line,) = run("suggest", peptides, "-", "-o", "-").stderr.splitlines()
    assert "must predict numbers; got LogisticRegression, a classifier" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "-"], "Pass either the file of a pool or --scan."),
        (["pool.csv", "--scan", "1", "-o", "-"], "Pass either the file of a pool or --scan."),
        (["pool.csv", "-o", "pool.csv"], "-o must be another file than the input"),
        (["-", "--measured", "-", "-o", "-"], "must not both be standard input"),
        (["pool.csv", "-o", "-", "--seed", "-1"], "Invalid value for '--seed'"),
        (["pool.csv", "-o", "-", "--beta", "nan"], "Invalid value for '--beta'"),
        (["pool.csv", "-o", "-", "-n", "0"], "Invalid value for '-n'"),
        (["pool.csv", "-o", "-", "--strategy", "best"], "Invalid value for '--strategy'"),
    ],
)
def test_an_invalid_command_line_ends_with_2(arguments, message):
    done = run("suggest", "model.skops", *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
