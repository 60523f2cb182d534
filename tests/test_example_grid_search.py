"""The grid search of the gallery runs as a user runs it, and prints the passes it claims."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "examples" / "grid_search_layers.py"


def test_a_whole_search_needs_one_pass_of_each_peptide(tmp_path):
    run = subprocess.run(
        [sys.executable, "-W", "error", SCRIPT, "--output", tmp_path / "new", "--layers", "0", "3", "6"],
        capture_output=True,
        text=True,
        timeout=300,
        # threads that wait for one another take many times as long where others use the machine, too
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert run.returncode == 0, run.stderr
    # two spaces or more between columns, one between the words of a cell
    rows = [re.split(" {2,}", line.strip()) for line in run.stdout.splitlines()]

    passes = {row[0]: int(row[1].replace(",", "")) for row in rows if len(row) == 3}
    assert passes == {
        "no cache, 2 candidates": 2 * 5 * 306,
        "no cache, all: 9 x that, not run": 18 * 5 * 306,
        "precompute into a folder": 306,
        "search of all candidates": 0,
        "search again, new estimator": 0,
    }

    best = {tuple(row[:2]): float(row[3]) for row in rows if len(row) == 5 and row[0] != "classifier"}
    classifiers, poolings = ("logistic regression", "support vector machine"), ("mean", "max", "bos")
    assert set(best) == {(classifier, pooling) for classifier in classifiers for pooling in poolings}
    assert min(best.values()) > 0.85

    uncached, cached, first, again = map(float, re.findall(r"\b0\.\d{4}\b", run.stdout))
    assert uncached == pytest.approx(cached, abs=0.002)  # a pair of peptides may change places
    assert first == pytest.approx(again, abs=0.002)

    picture = (tmp_path / "new" / "grid_search_layers.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 20_000
