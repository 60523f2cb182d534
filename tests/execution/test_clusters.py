"""Workers in other processes and on other machines: Dask, their threads, and what they are sent."""

import os
import pickle
import re
import shutil
import threading
import time
from functools import partial
from pathlib import Path
from unittest import mock

import joblib
import numpy as np
import pytest
import torch
from cluster_tasks import (
    CHARGE,
    CLOSE_SCORES,
    GRID,
    SCORED,
    SEQUENCES,
    SEVERAL_UNITS,
    assert_no_more_threads_than_cores,
    expected_scores,
    expected_scores_of_the_grid,
    ridge,
    scores_of_every_split,
    telling_pooling,
)
from fair_esm_oracle import (
    LAYERS,
    RandomCheckpoint,
    assert_faithful,
    fair_esm_residues,
    save_random_checkpoint,
)
from joblib import parallel_config
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_esm import ESMEmbeddingTransformer, _engine
from sklearn_esm._checkpoints._locate import find_checkpoint
from sklearn_esm._execution import _threads
from sklearn_esm._execution._outputs import pooled_states
from sklearn_esm._execution._pieces import Item, plan_batches, residues_read
from sklearn_esm._execution._request import BATCH_TOKENS
from sklearn_esm.datasets import load_peptides
from sklearn_esm.distributed import embed_partition

PAGE = Path(__file__).parents[2] / "docs" / "clusters.md"
# What a worker is sent


def test_a_pipeline_is_sent_without_weights(checkpoint):
    model = ridge(checkpoint.path)
    assert len(pickle.dumps(model)) < 4000
    assert len(pickle.dumps(model[0].fit(SEQUENCES))) < 4000


def test_a_batch_is_little_more_than_its_sequences(checkpoint):
    embed = ESMEmbeddingTransformer(checkpoint.path).fit(SEQUENCES)
    request = request_of(embed)
    (batch,) = plan_batches([Item(sequence) for sequence in SEQUENCES], 2000, None)
    assert len(batch.items) == len(SEQUENCES)
    assert len(pickle.dumps((request, batch))) < sum(map(len, SEQUENCES)) + 2000


def request_of(embed):
    """Return what a fitted estimator sends to workers with each batch."""
    identity = embed._identify_fitted()
    output = pooled_states(embed.layers_, embed._poolings, identity.architecture.width)
    return embed._request(identity, output)


# Dask


@pytest.fixture(scope="module")
def home_of_workers(tmp_path_factory):
    """Torch's home on the workers' machines, which is not that of this process."""
    return tmp_path_factory.mktemp("workers")


@pytest.fixture(scope="module")
def cluster(home_of_workers):
    distributed = pytest.importorskip("distributed")
    with mock.patch.dict(os.environ):  # Dask changes it here, too, and leaves it so
        cluster = distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=":0",
            local_directory=home_of_workers,
            env={"TORCH_HOME": str(home_of_workers), "SKLEARN_ESM_OFFLINE": "1"},
        )
    with cluster, distributed.Client(cluster):
        yield cluster


@pytest.fixture
def client(cluster):
    return pytest.importorskip("distributed").default_client()


def runs_of_the_model(client, embed):
    """How many sequences the workers have run through the model for a cache folder."""
    return sum(info.misses for info in client.run(embed.cache_info).values())


def values_of_workers(model, embedded, **parameters):
    with parallel_config("dask"):
        values = ESMEmbeddingTransformer(
            model, n_jobs=2, cache=None, **SEVERAL_UNITS, **parameters
        ).fit_transform(SEQUENCES)
    assert embedded == []  # in this process
    return values


@pytest.mark.parametrize("pooling", ["mean", None])
def test_workers_of_dask_give_fair_esms_values(client, checkpoint, embedded, pooling):
    actual = values_of_workers(checkpoint.path, embedded, pooling=pooling)
    expected = fair_esm_residues(checkpoint, SEQUENCES, LAYERS)
    for row, states in enumerate(expected):
        assert_faithful(actual[row], states.mean(0) if pooling else states)


def test_workers_of_dask_find_the_bundled_model(client, embedded):
    bundled = RandomCheckpoint(find_checkpoint("esm2_t6_1M_bundled"), "esm2")
    expected = [states.mean(0) for states in fair_esm_residues(bundled, SEQUENCES, 6)]
    assert_faithful(values_of_workers("esm2_t6_1M_bundled", embedded), np.stack(expected))


@pytest.fixture
def published(checkpoint, monkeypatch, tmp_path, home_of_workers):
    """Two places of a model's file: where this process and where the workers look for its name."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    homes = (tmp_path, home_of_workers)
    places = [home / "hub" / "checkpoints" / "esm2_t6_8M_UR50D.pt" for home in homes]
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(checkpoint.path, places[0])
    yield places
    places[1].unlink(missing_ok=True)


def test_workers_of_dask_look_a_name_up_in_their_own_folder(client, checkpoint, published, embedded):
    shutil.copy(checkpoint.path, published[1])
    expected = [states.mean(0) for states in fair_esm_residues(checkpoint, SEQUENCES, LAYERS)]
    assert_faithful(values_of_workers("esm2_t6_8M_UR50D", embedded), np.stack(expected))


def test_other_weights_on_a_workers_machine_are_refused(client, published, embedded):
    save_random_checkpoint(published[1], "esm2", seed=1)
    message = rf"The weights at {re.escape(str(published[1]))} must be those with which this run began"
    with pytest.raises(ValueError, match=message):
        values_of_workers("esm2_t6_8M_UR50D", embedded)


def test_weights_missing_on_a_workers_machine_are_named(client, published, embedded):
    with pytest.raises(FileNotFoundError, match=re.escape(str(published[1]))):
        values_of_workers("esm2_t6_8M_UR50D", embedded)


def test_cross_val_score_on_dask_embeds_each_sequence_once(client, checkpoint, embedded, tmp_path):
    model = ridge(checkpoint.path, cache=tmp_path / "cache")
    with parallel_config("dask"):
        scores = cross_val_score(model, SEQUENCES, CHARGE, **SCORED)
    assert_allclose(scores, expected_scores(checkpoint), **CLOSE_SCORES)
    assert model[0].cache_info().vectors == len(SEQUENCES)
    assert runs_of_the_model(client, model[0]) == len(SEQUENCES)
    assert embedded == []


def test_grid_search_on_dask_makes_each_vector_once(client, checkpoint, embedded, tmp_path):
    model = ridge(checkpoint.path, cache=tmp_path / "cache")
    with parallel_config("dask"):
        search = GridSearchCV(model, GRID, **SCORED).fit(SEQUENCES, CHARGE)
    expected = expected_scores_of_the_grid(checkpoint)
    assert_allclose(scores_of_every_split(search), expected, **CLOSE_SCORES)
    assert search.best_index_ == np.mean(expected, axis=1).argmax()
    assert model[0].cache_info().vectors == 3 * 2 * len(SEQUENCES)
    assert runs_of_the_model(client, model[0]) == 3 * 2 * len(SEQUENCES)
    assert embedded == []


def test_grid_search_on_dask_after_precompute_runs_no_model(client, checkpoint, embedded, tmp_path):
    model = ridge(checkpoint.path, cache=tmp_path / "cache")
    with parallel_config("dask"):
        model[0].precompute(SEQUENCES, layers=[0, 1, -1], poolings=["mean", "max"])
        assert model[0].cache_info().misses == len(SEQUENCES)
        search = GridSearchCV(model, GRID, **SCORED).fit(SEQUENCES, CHARGE)
    expected = expected_scores_of_the_grid(checkpoint)
    assert_allclose(scores_of_every_split(search), expected, **CLOSE_SCORES)
    assert runs_of_the_model(client, model[0]) == 0
    assert embedded == []


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_a_task_of_dask_embeds_where_it_is(client, checkpoint, n_jobs):
    # handed on, units would wait for workers that wait for the vectors this task has claimed
    def where(path):
        with parallel_config("dask"):  # as joblib does in its own tasks
            embed = ESMEmbeddingTransformer(
                path, pooling=lambda _: np.array([os.getpid()]), n_jobs=n_jobs, **SEVERAL_UNITS
            )
            return os.getpid(), embed.fit_transform(SEQUENCES)[:, 0].astype(int).tolist()

    process, processes = client.submit(where, checkpoint.path).result(timeout=60)
    assert processes == [process] * len(SEQUENCES)


def test_grid_search_on_dask_with_vectors_in_the_workers_memory(client, checkpoint, embedded):
    model = ridge(checkpoint.path, n_jobs=2)
    with parallel_config("dask"):
        search = GridSearchCV(model, GRID, **SCORED, refit=False).fit(SEQUENCES, CHARGE)
    expected = expected_scores_of_the_grid(checkpoint)
    assert_allclose(scores_of_every_split(search), expected, **CLOSE_SCORES)
    assert embedded == []


# Threads


def test_workers_of_loky_share_the_cores(checkpoint, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    embed = ESMEmbeddingTransformer(
        checkpoint.path, pooling=telling_pooling(), n_jobs=2, **SEVERAL_UNITS
    )
    with parallel_config("loky"):
        told = embed.fit_transform(SEQUENCES)
    assert set(told[:, 0]) == {max(1, joblib.cpu_count() // 2)}
    assert_no_more_threads_than_cores(told)


def test_workers_of_dask_share_the_cores(client, checkpoint, embedded):
    told = values_of_workers(checkpoint.path, embedded, pooling=telling_pooling())
    assert_no_more_threads_than_cores(told)


@pytest.mark.parametrize(("cores", "threads", "at_a_time"), [(8, 4, 2), (2, 2, 1), (1, 4, 1), (8, 3, 2)])
def test_threads_take_turns_where_torch_has_threads_of_its_own(
    checkpoint, monkeypatch, cores, threads, at_a_time
):
    running, seen, lock = [], [], threading.Lock()
    hidden_states = _engine.hidden_states

    def watched(*arguments):
        with lock:
            running.append(1)
            seen.append(len(running))
        time.sleep(0.02)  # for the others to come in
        yield from hidden_states(*arguments)
        with lock:
            running.pop()

    monkeypatch.setattr(_engine, "hidden_states", watched)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(_threads, "_cores", _threads._Cores(cores))
    with parallel_config("threading"):
        ESMEmbeddingTransformer(checkpoint.path, n_jobs=4, cache=None, **SEVERAL_UNITS).fit_transform(
            SEQUENCES
        )
    assert len(seen) > 4
    assert max(seen) == at_a_time


# The page about clusters


@pytest.mark.no_cover
@pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame")  # of Dask
def test_code_of_the_page_runs_on_dask(cluster, client, embedded, tmp_path):
    for library in ("dask.dataframe", "pandas", "pyarrow.parquet"):
        pytest.importorskip(library)
    pandas = pytest.importorskip("pandas")
    proteins = pandas.DataFrame({"id": range(len(SEQUENCES)), "sequence": SEQUENCES})
    (tmp_path / "proteins").mkdir()
    for part, start in enumerate(range(0, len(proteins), 5)):
        proteins[start : start + 5].to_parquet(tmp_path / "proteins" / f"part-{part}.parquet")

    names = {"__name__": "__main__"}  # Dask pickles the functions of a script with their code
    places = {
        "tcp://scheduler:8786": cluster.scheduler_address,
        "/scratch/vectors": str(tmp_path / "cache"),
    }
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    try:
        for block in blocks:
            block = block.replace('"/data/', f'"{tmp_path.as_posix()}/')
            for place, here in places.items():
                block = block.replace(f'"{place}"', repr(here))
            exec(compile(block, PAGE.name, "exec"), names)
    finally:
        names["client"].close()
    info = names["embed"].cache_info()
    assert (info.location, info.misses, info.vectors) == (str(tmp_path / "cache"), 306, 306 * 7 * 2)
    assert runs_of_the_model(client, names["embed"]) == 0
    assert embedded == []
    assert names["search"].best_score_ > 0.8

    bundled = RandomCheckpoint(find_checkpoint("esm2_t6_1M_bundled"), "esm2")
    expected = np.stack([states.mean(0) for states in fair_esm_residues(bundled, SEQUENCES, 6)])
    for folder in ("vectors", "finished"):
        frame = pandas.read_parquet(tmp_path / folder).sort_values("id")
        assert frame["sequence"].tolist() == SEQUENCES
        assert_faithful(np.stack(frame["embedding"].tolist()), expected)


def test_sizes_on_the_page_are_those_of_today():
    sequences = load_peptides().data.tolist()
    embed = ESMEmbeddingTransformer("esm2_t6_1M_bundled").fit(sequences)
    request = request_of(embed)
    items = [Item(sequence) for sequence in sequences]
    (few,) = plan_batches(items[:15], BATCH_TOKENS["cpu"], None)
    last = plan_batches(items, BATCH_TOKENS["cpu"], None)[-1]

    def residues(batch):
        return sum(residues_read(item, None) for item in batch.items)

    pipeline = make_pipeline(clone(embed), StandardScaler(), LogisticRegression(max_iter=1000))
    said = dict(re.findall(r"^\| (.+?) \| ([\d.]+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    for what, sent in {
        "a pipeline of transformer, scaler and classifier": pipeline,
        f"a batch of 15 sequences ({residues(few)} residues) with all its settings": (
            request,
            few,
        ),
        f"a batch of {len(last.rows)} sequences ({residues(last):,} residues)": (request, last),
        "a task of `embed_partition`, without its partition": partial(
            embed_partition, column="sequence", estimator=embed
        ),
    }.items():
        assert len(pickle.dumps(sent)) / 1000 == pytest.approx(float(said[what]), abs=0.15)
