"""Under scikit-learn's own Parallel: its settings reach the workers, and values are the same."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from fair_esm_oracle import LAYERS, WIDTH, assert_faithful, fair_esm_residues
from joblib import parallel_config
from sklearn import config_context
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.parallel import Parallel, delayed
from three_estimators import SEQUENCES, assert_close_rows

from sklearn_esm import ESMEmbeddingTransformer

INDEX = [f"protein {row}" for row in range(len(SEQUENCES))]
TABLE = pd.DataFrame({"seq": SEQUENCES}, index=INDEX)
NAMES = [f"esm2_L{LAYERS}_mean_{i:04d}" for i in range(WIDTH)]
HALVES = [slice(None, 3), slice(3, None)]

each_backend = pytest.mark.parametrize("backend", ["threading", "loky"])


@pytest.fixture
def embed(checkpoint):
    """Fitted; without a cache, so that every worker has to compute."""
    return ESMEmbeddingTransformer(checkpoint.path, cache=None).fit(SEQUENCES)


def in_parallel(backend, calls):
    return Parallel(n_jobs=2, backend=backend)(calls)


@each_backend
def test_one_estimator_transforms_in_several_workers_at_once(embed, checkpoint, backend):
    parts = in_parallel(backend, (delayed(embed.transform)(SEQUENCES[part]) for part in HALVES))
    expected = fair_esm_residues(checkpoint, SEQUENCES, LAYERS)
    assert_faithful(np.vstack(parts), np.stack([states.mean(0) for states in expected]))
    assert_close_rows(np.vstack(parts), embed.transform(SEQUENCES))


@each_backend
def test_workers_fit_clones_with_parameters_of_their_own(embed, checkpoint, backend):
    clones = [clone(embed).set_params(layer=layer, pooling="max") for layer in range(LAYERS + 1)]
    matrices = in_parallel(backend, (delayed(one.fit_transform)(SEQUENCES) for one in clones))
    for layer, matrix in enumerate(matrices):
        expected = fair_esm_residues(checkpoint, SEQUENCES, layer)
        assert_faithful(matrix, np.stack([states.max(0) for states in expected]))


@each_backend
def test_pandas_output_that_is_set_for_all_reaches_the_workers(embed, backend):
    plain = embed.transform(SEQUENCES)
    with config_context(transform_output="pandas"):
        parts = in_parallel(backend, (delayed(embed.transform)(TABLE[part]) for part in HALVES))
    table = pd.concat(parts)
    assert table.index.tolist() == INDEX
    assert table.columns.tolist() == NAMES
    assert_close_rows(table.to_numpy(), plain)


@each_backend
def test_polars_output_that_is_set_for_all_reaches_the_workers(embed, backend):
    plain = embed.transform(SEQUENCES)
    with config_context(transform_output="polars"):
        parts = in_parallel(backend, (delayed(embed.transform)(SEQUENCES[part]) for part in HALVES))
    table = pl.concat(parts)
    assert table.columns == NAMES
    assert_close_rows(table.to_numpy(), plain)


@each_backend
def test_a_pipeline_in_a_worker_gives_a_frame_from_end_to_end(embed, backend):
    model = make_pipeline(embed, StandardScaler())
    plain = model.fit_transform(SEQUENCES)
    with config_context(transform_output="pandas"):
        tables = in_parallel(backend, (delayed(clone(model).fit_transform)(TABLE) for _ in range(2)))
    for table in tables:
        assert table.index.tolist() == INDEX
        assert table.columns.tolist() == NAMES
        assert_close_rows(table.to_numpy(), plain)


@each_backend
def test_a_frame_comes_of_a_transformer_whose_own_workers_compute_arrays(embed, backend):
    plain = embed.transform(SEQUENCES)
    embed.set_params(n_jobs=2, batch_tokens=60)
    with config_context(transform_output="pandas"), parallel_config(backend):
        table = embed.transform(TABLE)
    assert table.index.tolist() == INDEX
    assert table.columns.tolist() == NAMES
    assert_close_rows(table.to_numpy(), plain)


def test_settings_of_one_estimator_go_with_it_into_a_worker(embed):
    embed.set_output(transform="pandas")
    (table, _) = in_parallel("loky", (delayed(embed.transform)(TABLE) for _ in HALVES))
    assert table.index.tolist() == INDEX
    assert table.columns.tolist() == NAMES
