"""What a new interpreter imports: nothing heavy before it is needed."""

import hashlib
import pickle
import subprocess
import sys

from fair_esm_oracle import save_random_checkpoint, save_random_regression
from three_estimators import CASES, SEQUENCES

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm._checkpoints._fingerprint import identify

CODE = """
import hashlib, pickle, sys
from pathlib import Path

def assert_absent(*names):
    assert not set(names) & set(sys.modules), set(names) & set(sys.modules)

checkpoint, folder, pickled, *sequences = sys.argv[1:]

import sklearn_esm
sklearn_esm.read_fasta
assert_absent("torch", "esm", "Bio", "typer", "rich", "h5py")

import sklearn_esm.baselines, sklearn_esm.display, sklearn_esm.variants
assert_absent("torch", "matplotlib")

import sklearn_esm.model_selection
assert_absent("torch", "pyopal")

import sklearn_esm.recipes
assert_absent("torch", "typer", "skops")

from sklearn_esm._checkpoints import _download, _fingerprint
_download.checkpoint_folder()
assert_absent("torch", "esm")

print(_fingerprint.identify(Path(checkpoint)))  # from the note of another process
assert_absent("torch", "esm")

pickle.loads(Path(pickled).read_bytes())
assert_absent("torch", "esm")

embed = sklearn_esm.ESMEmbeddingTransformer(checkpoint, cache=folder)
matrix = embed.fit_transform(sequences)  # from the folder
print(hashlib.sha256(matrix.tobytes()).hexdigest())
assert_absent("torch", "esm")
"""


def test_imports_unpickling_and_what_is_cached_load_nothing_heavy(tmp_path):
    checkpoint = save_random_checkpoint(tmp_path / "mine.pt", "esm2")
    save_random_regression(checkpoint)
    folder, pickled = tmp_path / "folder", tmp_path / "pickled"
    identity = identify(checkpoint.path)
    expected = ESMEmbeddingTransformer(checkpoint.path, cache=folder).fit_transform(SEQUENCES)
    pickled.write_bytes(
        pickle.dumps([case.new(checkpoint).fit(case.sequences) for case in CASES.values()])
    )
    command = [sys.executable, "-W", "error", "-c", CODE, checkpoint.path, folder, pickled, *SEQUENCES]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    digest = hashlib.sha256(expected.tobytes()).hexdigest()
    assert (run.stdout, run.stderr) == (f"{identity}\n{digest}\n", "")
