"""In a Jupyter notebook: the diagram of an estimator, and the progress bar without any warning."""

import re

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel", reason="a notebook needs a kernel")

SET_UP = """
import sys
sys.modules["ipywidgets"] = None  # most installations of Jupyter come without
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm.datasets import load_peptides

sequences, y = load_peptides(return_X_y=True)
sequences, y = sequences[::30], y[::30]
embed = ESMEmbeddingTransformer("esm2_t6_1M_bundled", pooling="max", verbose=True)
model = make_pipeline(embed, LogisticRegression())
"""


def test_a_pipeline_shows_its_diagram_and_a_progress_bar(monkeypatch, tmp_path):
    # what whoever runs the tests has set up for Jupyter must not matter
    for variable in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(variable, str(tmp_path))
    set_up, before, fit, again, after = run(
        SET_UP, "model", "model.fit(sequences, y);", "model.score(sequences, y)", "model"
    )
    assert set_up == []
    assert_diagram(before, fitted=False)
    assert_diagram(after, fitted=True)
    assert_bar(fit)
    # nothing is left to compute, and a bar would only flash up
    assert [output.output_type for output in again] == ["execute_result"]
    assert 0.5 < float(again[0].data["text/plain"]) <= 1


def run(*cells):
    """The outputs of each cell, one kernel for all; an error in a cell fails the test."""
    notebook = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, cells)))
    nbclient.NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
    return [cell.outputs for cell in notebook.cells]


def assert_diagram(outputs, fitted):
    (shown,) = outputs
    html = shown.data["text/html"]
    diagram = html[html.index('<div class="sk-container"') :]
    assert "<div>ESMEmbeddingTransformer</div>" in diagram
    page = "https://sklearn-esm.readthedocs.io/en/stable/api/sklearn_esm.ESMEmbeddingTransformer.html"
    assert f'href="{page}"' in diagram
    for name, value in {"model": "esm2_t6_1M_bundled", "pooling": "max"}.items():
        row = rf"copyToClipboard\('{name}',((?!</tr>).)*<td class=\"value\">&#x27;{value}&#x27;</td>"
        assert re.search(row, diagram, re.DOTALL), name
    assert ("<span>Fitted</span>" in diagram) == fitted
    assert ("<span>Not fitted</span>" in diagram) != fitted
    assert "model='esm2_t6_1M_bundled'" in shown.data["text/plain"]


def assert_bar(outputs):
    # parts of one stream may come in several messages
    assert {(output.output_type, output.name) for output in outputs} == {("stream", "stderr")}
    states = "".join(output.text for output in outputs).strip().split("\r")
    assert all(state.startswith("Running the model: ") for state in states)
    assert states[0] == "Running the model:   0%|          | 00:00<?"
    assert states[-1].startswith("Running the model: 100%|██████████| ")
