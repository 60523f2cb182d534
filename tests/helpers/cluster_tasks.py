"""What the tests give to workers of Dask, Ray and loky, and what fair-esm makes of the same."""

import os
from functools import cache

import joblib
import numpy as np
import torch
from fair_esm_oracle import (
    LAYERS,
    fair_esm_residues,
)
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_esm import ESMEmbeddingTransformer

SEQUENCES = [
    "".join(np.random.default_rng(length).choice(list("ACDEFGHIKLMNPQRSTVWY"), length))
    for length in np.random.default_rng(1).permutation(np.arange(6, 26)).tolist()
]
CHARGE = np.array([sum(map(s.count, "KR")) - sum(map(s.count, "DE")) for s in SEQUENCES], dtype=float)
SEVERAL_UNITS = {"batch_tokens": 60}
SCORED = {"cv": KFold(5, shuffle=True, random_state=0), "scoring": "neg_mean_squared_error"}
GRID = {
    "esmembeddingtransformer__layer": [0, 1, -1],
    "esmembeddingtransformer__pooling": ["mean", "max"],
}
# scores add up the differences of thousands of numbers, through a solver
CLOSE_SCORES = {"rtol": 1e-3, "atol": 1e-4}


def ridge(path, **parameters):
    embed = ESMEmbeddingTransformer(path, **SEVERAL_UNITS, **parameters)
    return make_pipeline(embed, StandardScaler(), Ridge())


def scores_of_every_split(search):
    splits = [search.cv_results_[f"split{fold}_test_score"] for fold in range(5)]
    return np.transpose(splits)  # (candidates, splits)


@cache
def expected_scores(checkpoint, layer=LAYERS, pooling=np.mean):
    """Of fair-esm's features, without a cluster."""
    states = fair_esm_residues(checkpoint, SEQUENCES, layer)
    features = np.stack([pooling(residues, axis=0) for residues in states])
    return cross_val_score(make_pipeline(StandardScaler(), Ridge()), features, CHARGE, **SCORED)


def expected_scores_of_the_grid(checkpoint):
    return [
        expected_scores(checkpoint, layer, pooling)
        for layer in (0, 1, LAYERS)
        for pooling in (np.mean, np.max)
    ]


def telling_pooling():
    """A pooling that tells of the worker it runs in: torch's threads, and the process."""
    # no function of this file: workers would have to import it
    return lambda _: np.array([torch.get_num_threads(), os.getpid()])


def assert_no_more_threads_than_cores(told):
    threads = {process: threads for threads, process in told.astype(int).tolist()}
    assert os.getpid() not in threads
    assert sum(threads.values()) <= max(joblib.cpu_count(), len(threads))
