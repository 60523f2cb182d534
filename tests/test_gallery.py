"""Gallery scripts run as a user runs them, and their numbers say what their words say.

Bounds are wide of what was measured with the bundled model; shuffles are few, to be quick.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def output_of(tmp_path):
    """A function that runs a script, looks at its picture, and returns what it printed."""
    pytest.importorskip("matplotlib")

    def run_script(name, *options):
        folder = tmp_path / "new"
        run = subprocess.run(
            [sys.executable, "-W", "error", EXAMPLES / f"{name}.py", "--output", folder, *options],
            capture_output=True,
            text=True,
            timeout=300,
            # threads that wait for one another take many times as long where others use the machine, too
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        assert run.returncode == 0, run.stderr
        picture = (folder / f"{name}.png").read_bytes()
        assert picture.startswith(b"\x89PNG")
        assert len(picture) > 20_000
        return run.stdout

    return run_script


def rows_of(text, columns):
    """Rows of so many cells that end in a number; two spaces or more stand between cells."""
    rows = [re.split(" {2,}", line.strip()) for line in text.splitlines()]
    return [row for row in rows if len(row) == columns and re.fullmatch(r"-?[\d.e-]+%?", row[-1])]


def test_relatives_flatter_a_nearest_neighbour(output_of):
    printed = output_of("homology_aware_cv", "--shuffles", "2")
    rows = [[name, *map(float, cells)] for name, *cells in rows_of(printed.replace("%", ""), 5)]
    thresholds, clusters, largest = (row[1:] for row in rows[:3])
    assert thresholds == [80, 70, 60, 50]
    assert clusters == [300, 266, 219, 128]
    assert largest == [5, 7, 16, 138]
    nearest, logistic = ({name: values for name, *values in some} for some in (rows[3:7], rows[7:11]))
    for scores in (nearest, logistic):
        for dealt, together, difference in zip(
            scores["accuracy, dealt at random"],
            scores["accuracy, clusters together"],
            scores["difference"],
            strict=True,
        ):
            assert 0.8 < together < 0.95
            assert dealt - together == pytest.approx(difference, abs=0.0011)  # each is rounded
    # 0.046 +- 0.016 and 0.006 +- 0.014 of ten shuffles
    assert 0.01 < nearest["difference"][3] < 0.09
    assert -0.03 < logistic["difference"][3] < 0.04


def test_selection_outside_the_folds_finds_signal_in_shuffled_labels(output_of):
    printed = output_of("leak_of_pca", "--shuffles", "4")
    scores = {tuple(row[:2]): [float(cell) for cell in row[2:]] for row in rows_of(printed, 5)}
    assert set(scores) == {
        (step, labels) for step in ("SelectKBest", "PCA") for labels in ("shuffled", "real")
    }
    # of 20 shuffles: 0.73 and 0.53, 0.97 and 0.93; of PCA 0.51 twice, 0.95 twice
    outside, inside, leak = scores["SelectKBest", "shuffled"]
    assert outside > 0.65
    assert 0.35 < inside < 0.65
    assert leak == pytest.approx(outside - inside, abs=0.0011)
    assert leak > 0.08
    assert 0 < scores["SelectKBest", "real"][2] < leak
    assert abs(scores["PCA", "shuffled"][2]) < 0.05
    assert abs(scores["PCA", "real"][2]) < 0.02


def test_numbers_computed_from_the_sequence_add_nothing(output_of):
    pytest.importorskip("pandas")
    printed = output_of("assay_columns")
    table = {name: (int(width), float(auc)) for name, width, auc, _ in rows_of(printed, 4)}
    assert {name: width for name, (width, _) in table.items()} == {
        "numbers": 3,
        "embedding": 128,
        "both": 131,
    }
    assert 0.85 < table["numbers"][1] < 0.93
    assert table["embedding"][1] > 0.94
    assert table["both"][1] == pytest.approx(table["embedding"][1], abs=0.015)
    known = {name: float(r2) for name, r2 in rows_of(printed, 2)}
    assert set(known) == {"length", "charge", "hydropathy"}
    assert all(0.7 < r2 < 1 for r2 in known.values())


def test_states_know_their_neighbours_from_the_first_block_on(output_of):
    printed = output_of("per_residue")
    ahead = {int(row[0]): [float(cell) for cell in row[1:]] for row in rows_of(printed, 8)[1:]}
    assert set(ahead) == {0, 2, 4, 6}
    for layer, scores in ahead.items():
        assert scores[0] > 0.99  # each state knows its own residue
        assert all(0.2 < score < 0.38 for score in scores[1:]) == (layer == 0)
    assert ahead[4][1] > 0.5
    gb1 = {int(layer): float(mean) for layer, mean, _ in rows_of(printed, 3)}
    assert set(gb1) == {0, 2, 4, 6}
    assert all(0.1 < mean < 0.45 for mean in gb1.values())


def test_one_line_gives_the_numbers_of_fair_esms_snippet(output_of):
    printed = output_of("migrating_from_fair_esm")
    differences = {what: float(worst) for what, _, _, worst in rows_of(printed, 4)}
    assert set(differences) == {"mean, last layer", "mean, middle layer", "residues, last layer"}
    assert 0 < max(differences.values()) < 1e-5
    assert "'*' at position 8" in printed
    assert "'-' at position 4" in printed
