"""Models in files, as the command train leaves them: a pipeline, and a record beside it."""

import hashlib
import json

import numpy as np
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm.baselines import OneHotResidues
from sklearn_esm.cli._saved_model import save_pipeline
from sklearn_esm.datasets import load_gb1, load_peptides
from sklearn_esm.variants import MutationsToSequences

MODEL = "esm2_t6_1M_bundled"
GB1 = load_gb1()
PEPTIDES, CLASSES = load_peptides(return_X_y=True)
MEASURED = np.arange(0, len(GB1.target), 20)


def embedding(model=MODEL):
    return ESMEmbeddingTransformer(model, cache=None)


def gaussian_process(*features):
    process = GaussianProcessRegressor(RBF(15.0), alpha=0.3, normalize_y=True, optimizer=None)
    steps = [MutationsToSequences(GB1.reference), *(features or [embedding()]), StandardScaler()]
    return make_pipeline(*steps, process).fit(GB1.mutations[MEASURED], GB1.target[MEASURED])


def classifier(model=MODEL):
    pipeline = make_pipeline(embedding(model), StandardScaler(), LogisticRegression(max_iter=1000))
    return pipeline.fit(PEPTIDES[::10], CLASSES[::10])


def one_hot_ridge():
    rows = MEASURED
    return make_pipeline(OneHotResidues(), Ridge()).fit(GB1.data[rows], GB1.target[rows])


def save(pipeline, path, kind="sequences", column="sequence", **record):
    """Save a pipeline with a record, and return the path as text."""
    is_gb1 = kind == "mutations"
    save_pipeline(pipeline, path)
    content = {
        "input": {
            "kind": kind,
            "column": column,
            "target": "y",
            "reference": GB1.reference if is_gb1 else None,
            "first_position": 1,
        },
        "measured": {
            "highest": float(GB1.target[MEASURED].max()),
            "lowest": float(GB1.target[MEASURED].min()),
            "digests": [digest(sequence) for sequence in GB1.data[MEASURED]],
        },
        "pipeline_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        **record,
    }
    path.with_suffix(".json").write_text(json.dumps(content), encoding="utf-8")
    return str(path)


def digest(sequence):
    return hashlib.sha256(sequence.upper().encode()).hexdigest()[:16]
