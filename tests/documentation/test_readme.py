"""The README: its code runs and prints what is shown, and its links lead somewhere."""

import re
from pathlib import Path

import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_esm._checkpoints._catalog import CATALOG
from sklearn_esm.baselines import ResidueComposition
from sklearn_esm.datasets import load_peptides

pytestmark = pytest.mark.no_cover

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_code_runs_from_top_to_bottom_and_prints_what_is_shown(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(compile(block, "README.md", "exec"), names)
    shown = "".join(re.findall(r"```text\n(.*?)```", README, re.DOTALL))
    assert capsys.readouterr().out == shown
    assert names["search"].best_score_ > 0.9
    assert names["scores"].shape == (1045, 1)


def test_the_composition_reaches_what_is_said():
    sequences, y = load_peptides(return_X_y=True)
    classifier = LogisticRegression(C=0.1, max_iter=1000)
    model = make_pipeline(ResidueComposition(), StandardScaler(), classifier)
    scores = cross_val_score(model, sequences, y, scoring="roc_auc")
    assert f"The composition of residues alone reaches {scores.mean():.2f}." in README


def test_links_within_the_repository_lead_somewhere():
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_model_table_is_the_catalog():
    page = (ROOT / "docs" / "user_guide" / "hugging_face.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(esm\w+)` \| (\d+) \| (\d+) \| ([\w,]+) \|", page, re.MULTILINE)
    expected = [
        (m.name, str(m.layers), str(m.width), f"{m.max_length:,}" if m.max_length else "any")
        for m in CATALOG.values()
    ]
    assert rows == [*expected, ("esm2_t6_1M_bundled", "6", "128", "any")]
