"""The gallery scripts run as a user runs them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_quickstart_prints_scores_and_saves_a_picture(tmp_path):
    run = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / "quickstart.py", "--output", tmp_path / "new"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    table = [line.split() for line in run.stdout.splitlines()]
    auc = {row[0]: float(row[1]) for row in table if len(row) == 4 and row[1].startswith("0.")}
    assert set(auc) == {"composition", "esm2_t6_1M_bundled"}
    assert min(auc.values()) > 0.85
    picture = (tmp_path / "new" / "quickstart.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 20_000


def test_variant_effects_scores_every_kind_of_features_on_both_splits(tmp_path):
    run = subprocess.run(
        [
            *(sys.executable, "-W", "error", EXAMPLES / "variant_effects.py"),
            *("--bundled-data", "--output", tmp_path),
        ],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    rows = [line.split() for line in run.stdout.splitlines()]
    scores = {row[0]: [float(score) for score in row[1:]] for row in rows if len(row) == 3}
    assert set(scores) == {"zero-shot", "one-hot", "embedding", "augmented"}
    assert min(scores[kind][0] for kind in ("one-hot", "embedding", "augmented")) > 0.6
    assert scores["one-hot"][1] == 0  # it has seen nothing of these positions
    assert min(scores[kind][1] for kind in ("embedding", "augmented")) > 0.3
    assert (tmp_path / "variant_effects.png").read_bytes().startswith(b"\x89PNG")


def test_cluster_dask_embeds_once_and_ships_no_weights():
    pytest.importorskip("distributed")
    run = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / "cluster_dask.py"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    counts = dict(re.findall(r"^(\w+): +(\d+) runs of the model", run.stdout, re.MULTILINE))
    assert counts == {"precompute": "306", "search": "0"}
    assert "306 peptides, 2 workers" in run.stdout
    assert "4284 vectors" in run.stdout  # 7 layers, 2 poolings
    assert "70 tasks" in run.stdout
    sent = re.findall(r"([\d.]+) kB of (\w+)", run.stdout)
    assert [what for _, what in sent] == ["pipeline", "sequences", "labels"]
    assert max(float(size) for size, _ in sent) < 10
    assert float(re.search(r"ROC AUC ([\d.]+)", run.stdout)[1]) > 0.9
