"""The gallery scripts run as a user runs them."""

import subprocess
import sys
from pathlib import Path

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
