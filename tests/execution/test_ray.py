"""Workers of Ray and Ray Data: values, scores, threads, a kill. Skipped where Ray is not installed."""

import os
import pickle
import re
import secrets
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
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
    assert_faithful,
    fair_esm_residues,
)
from joblib import parallel_config
from numpy.testing import assert_allclose
from sklearn.model_selection import GridSearchCV, cross_val_score

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm.distributed import embed_partition

EXAMPLE = Path(__file__).parents[2] / "examples" / "partitions_ray.py"
QUIET_RAY = {
    "RAY_AUTH_TOKEN": secrets.token_hex(32),  # else Ray writes one into the user's home
    "RAY_USAGE_STATS_ENABLED": "0",
}


def embed_and_search_on_ray(checkpoint, folder):
    """What the tests below look at, computed in a process of its own.

    Ray's backend puts its own pool under joblib's multiprocessing for good.
    """
    import ray
    from ray.util.joblib import register_ray

    register_ray()
    # the path of Ray's sockets must be short
    short = "/tmp" if os.name == "posix" else None
    with tempfile.TemporaryDirectory(dir=short, ignore_cleanup_errors=True) as sessions:
        ray.init(
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            _node_ip_address="127.0.0.1",
            _temp_dir=sessions,
        )
        try:
            with parallel_config("ray", n_jobs=2):
                results = _on_ray(checkpoint, Path(folder))
            results["partitions"] = _partitions_on_ray(checkpoint) if find_spec("pyarrow") else None
        finally:
            ray.shutdown()
    Path(folder, "results.pkl").write_bytes(pickle.dumps(results))


def _on_ray(checkpoint, folder):
    embed = ESMEmbeddingTransformer(checkpoint, cache=None, **SEVERAL_UNITS)
    values = embed.set_params(pooling=["mean", telling_pooling()]).fit_transform(SEQUENCES)
    results = {"mean": values[:, :-2], "threads": values[:, -2:]}
    results["residues"] = embed.set_params(pooling=None).fit_transform(SEQUENCES)
    model = ridge(checkpoint, cache=folder / "cache")
    results["cross_val"] = cross_val_score(model, SEQUENCES, CHARGE, **SCORED)
    results["vectors of cross_val"] = model[0].cache_info().vectors
    search = GridSearchCV(model, GRID, **SCORED).fit(SEQUENCES, CHARGE)
    results["search"] = scores_of_every_split(search)
    results["vectors of search"] = model[0].cache_info().vectors
    results["runs of the parent"] = model[0].cache_info().misses
    return results


def _partitions_on_ray(checkpoint):
    import ray.data

    embed = ESMEmbeddingTransformer(checkpoint, n_jobs=2).fit(SEQUENCES)
    dataset = ray.data.from_items([{"id": row, "sequence": s} for row, s in enumerate(SEQUENCES)])
    results = {}
    for batch_format in ("pandas", "pyarrow"):
        embedded = dataset.map_batches(
            embed_partition,
            fn_kwargs={"column": "sequence", "estimator": embed},
            batch_format=batch_format,
            batch_size=7,
        )
        rows = sorted(embedded.take_all(), key=lambda row: row["id"])
        results[batch_format] = {name: [row[name] for row in rows] for name in rows[0]}
    return results


@pytest.fixture(scope="module")
def by_ray(checkpoints, tmp_path_factory):
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    folder = tmp_path_factory.mktemp("ray")
    code = "import sys, test_ray; test_ray.embed_and_search_on_ray(*sys.argv[1:])"
    paths = [str(Path(__file__).parents[1] / "helpers"), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        **QUIET_RAY,
        "SKLEARN_ESM_OFFLINE": "1",
        "TORCH_HOME": str(folder),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
    run = subprocess.run(
        [sys.executable, "-c", code, checkpoints["esm2"].path, folder],
        cwd=Path(__file__).parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    return pickle.loads((folder / "results.pkl").read_bytes())


def test_workers_of_ray_give_fair_esms_values(by_ray, checkpoint):
    expected = fair_esm_residues(checkpoint, SEQUENCES, LAYERS)
    for row, states in enumerate(expected):
        assert_faithful(by_ray["mean"][row], states.mean(0))
        assert_faithful(by_ray["residues"][row], states)


def test_cross_val_score_on_ray_is_that_of_fair_esms_features(by_ray, checkpoint):
    assert_allclose(by_ray["cross_val"], expected_scores(checkpoint), **CLOSE_SCORES)
    assert by_ray["vectors of cross_val"] == len(SEQUENCES)


def test_grid_search_on_ray_scores_fair_esms_features(by_ray, checkpoint):
    assert_allclose(by_ray["search"], expected_scores_of_the_grid(checkpoint), **CLOSE_SCORES)
    assert by_ray["vectors of search"] == 3 * 2 * len(SEQUENCES)
    assert by_ray["runs of the parent"] == 0


def test_workers_of_ray_share_the_cores(by_ray):
    assert_no_more_threads_than_cores(by_ray["threads"])


@pytest.mark.parametrize("batch_format", ["pandas", "pyarrow"])
def test_batches_of_ray_data_have_fair_esms_vectors(by_ray, checkpoint, batch_format):
    if by_ray["partitions"] is None:
        pytest.skip("Ray Data needs pyarrow")
    columns = by_ray["partitions"][batch_format]
    assert columns["id"] == list(range(len(SEQUENCES)))
    assert columns["sequence"] == SEQUENCES
    expected = [states.mean(0) for states in fair_esm_residues(checkpoint, SEQUENCES, LAYERS)]
    assert_faithful(np.array(columns["embedding"], dtype=np.float32), np.stack(expected))


@pytest.mark.no_cover
def test_the_example_survives_the_kill_of_a_worker(tmp_path):
    for library in ("ray", "pandas", "pyarrow"):
        if find_spec(library) is None:
            pytest.skip(f"{library} is not installed")
    script = tmp_path / EXAMPLE.name
    code = EXAMPLE.read_text(encoding="utf-8")
    script.write_text(code.replace("PEPTIDES = 200_000", "PEPTIDES = 8_000"), encoding="utf-8")
    run = subprocess.run(
        [sys.executable, script],
        env={**os.environ, **QUIET_RAY},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    assert "8,000 peptides in 40 partitions" in run.stdout
    assert "a worker killed: True" in run.stdout
    assert "8,000 vectors, each id once" in run.stdout
    assert float(re.search(r"largest difference.* ([\d.e+-]+)$", run.stdout, re.MULTILINE)[1]) < 1e-5
