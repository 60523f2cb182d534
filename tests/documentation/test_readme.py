"""The README: its code runs, its tables say what the code says."""

import re
from inspect import signature
from pathlib import Path

import pytest

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm._checkpoints._catalog import CATALOG

pytestmark = pytest.mark.no_cover

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("third_of_the_data")
def test_code_runs_from_top_to_bottom(capsys, tmp_path, monkeypatch):
    pytest.importorskip("pandas")
    pytest.importorskip("matplotlib").use("agg")
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(compile(block, "README.md", "exec"), names)
    assert names["search"].best_score_ > 0.8
    for picture in (tmp_path / "layers.png", tmp_path / "peptides.png"):
        assert picture.read_bytes().startswith(b"\x89PNG")
    shapes = [(len(sequence), 128) for sequence in names["sequences"][:2]]
    assert str(shapes) in capsys.readouterr().out


def test_parameter_table_has_every_parameter_with_its_default():
    rows = re.findall(r"^\| `(\w+)=(.+?)` \|", README, re.MULTILINE)
    parameters = signature(ESMEmbeddingTransformer).parameters
    assert [name for name, _ in rows] == list(parameters)
    for name, default in rows:
        assert eval(default) == parameters[name].default


def test_model_table_is_the_catalog():
    rows = re.findall(r"^\| `(esm\w+)` \| (\d+) \| (\d+) \| ([\w,]+) \|", README, re.MULTILINE)
    expected = [
        (m.name, str(m.layers), str(m.width), f"{m.max_length:,}" if m.max_length else "any")
        for m in CATALOG.values()
    ]
    assert rows == [*expected, ("esm2_t6_1M_bundled", "6", "128", "any")]
