"""A model that `train` wrote, in a process with neither a network nor the libraries of the command."""

import json
import subprocess
import sys

import numpy as np
import pytest
from command_line import MODEL, run
from numpy.testing import assert_array_equal

pytest.importorskip("pandas")
pytest.importorskip("skops")

from sklearn_esm.cli._saved_model import load_pipeline
from sklearn_esm.datasets import load_gb1

GB1 = load_gb1()
PREDICT = """
import json, os, socket, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in ("h5py", "matplotlib", "pandas", "pyarrow", "pyopal", "rich", "typer"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
socket.socket.connect = None
os.environ["SKLEARN_ESM_OFFLINE"] = "1"
if sys.argv[1].endswith(".skops"):
    import skops.io

    model = skops.io.load(sys.argv[1], trusted=json.loads(sys.argv[2]))
else:
    import joblib

    model = joblib.load(sys.argv[1])
print(json.dumps(model.predict(json.loads(sys.argv[3])).tolist()))
"""


@pytest.mark.parametrize("suffix", [".skops", ".joblib"])
def test_python_alone_predicts_the_same(tmp_path, suffix):
    table, path = tmp_path / "measured.csv", tmp_path / f"model{suffix}"
    mutations = GB1.mutations[::15].tolist()
    rows = zip(mutations, GB1.target[::15], strict=True)
    table.write_text("mutant,y\n" + "".join(f"{name},{value}\n" for name, value in rows))
    options = ["--mutations", "mutant", "--reference", GB1.reference, "--model", MODEL]
    result = run("train", table, "-o", path, "--target", "y", *options)
    assert result.exit_code == 0, result.output
    types = json.loads(path.with_suffix(".json").read_text())["types"]
    given = [path, json.dumps(types), json.dumps(mutations)]
    command = [sys.executable, "-W", "error", "-c", PREDICT, *map(str, given)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert process.returncode == 0, process.stderr
    assert_array_equal(json.loads(process.stdout), load_pipeline(path).predict(np.array(mutations)))
