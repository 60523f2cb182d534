"""`embed --engine`: files as tasks of a cluster, of which nothing is lost or written twice."""

import gzip
import os
import random
import signal
import threading
import time

import pytest
from command_line import MODEL, expected, files_in, run
from numpy.testing import assert_allclose

from sklearn_esm.cli import _engines
from sklearn_esm.cli._engines import Task

pytest.importorskip("pyarrow")
distributed = pytest.importorskip("distributed")

RNG = random.Random(1)
FILES = 6
PER_FILE = 50


@pytest.fixture(scope="module")
def proteins(tmp_path_factory):
    """A folder of compressed files, and all their records."""
    folder, records = tmp_path_factory.mktemp("proteins"), {}
    for number in range(FILES):
        text = ""
        for row in range(PER_FILE):
            sequence = "".join(RNG.choices("ACDEFGHIKLMNPQRSTVWY", k=RNG.randint(5, 20)))
            records[f"{number}.{row}"] = sequence
            text += f">{number}.{row}\n{sequence}\n"
        (folder / f"{number}.fasta.gz").write_bytes(gzip.compress(text.encode()))
    return folder, records


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", processes=True
    ) as cluster:
        yield cluster


def embed(folder, output, *options):
    return run("embed", *sorted(folder.iterdir()), "-o", output, "--model", MODEL, *options)


def assert_complete(output, records):
    from pyarrow import parquet

    table = parquet.read_table(output)
    found = dict(zip(table["name"].to_pylist(), table["embedding"].to_pylist(), strict=True))
    assert len(table) == len(found) == len(records)
    names = list(records)[:: len(records) // 20]
    assert_allclose(
        [found[name] for name in names],
        expected([records[name] for name in names]),
        rtol=1e-5,
        atol=1e-6,
    )


def test_a_killed_worker_loses_nothing(proteins, cluster, tmp_path):
    folder, records = proteins
    output = tmp_path / "vectors"

    def kill():
        while not output.is_dir():
            time.sleep(0.01)
        os.kill(next(iter(cluster.workers.values())).pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    options = ["--engine", "dask", "--scheduler", cluster.scheduler_address, "--split", "3"]
    result = embed(folder, f"{output}/", *options)
    killer.join()
    assert result.exit_code == 0, result.stderr
    assert f"Wrote {len(records)} records of 128 features to {output}." in result.stderr
    assert_complete(output, records)
    before = files_in(output)
    assert len(before) == FILES * 3
    again = embed(folder, f"{output}/", *options)
    assert "18 of 18 parts were already embedded." in again.stderr
    assert files_in(output) == before


def test_a_task_that_fails_is_named_and_the_others_are_done(proteins, cluster, tmp_path):
    folder, _ = proteins
    bad = tmp_path / "bad.fasta"
    bad.write_text(">a\nM*\n")
    output, good = tmp_path / "vectors", folder / "0.fasta.gz"
    options = ["--model", MODEL, "--engine", "dask", "--scheduler", cluster.scheduler_address]
    result = run("embed", bad, good, "-o", f"{output}/", *options)
    assert result.exit_code == 1
    assert f"1 of 2 tasks failed. The first is {bad}: {bad}: record 1, 'a' (M*) has '*'" in result.stderr
    assert [name[:8] for name in files_in(output)] == ["0-00000-"]


def test_files_are_embedded_with_ray(proteins, tmp_path):
    ray = pytest.importorskip("ray")
    folder, records = proteins
    try:
        result = embed(folder, f"{tmp_path}/vectors/", "--engine", "ray")
    finally:
        ray.shutdown()
    assert result.exit_code == 0, result.stderr
    assert_complete(tmp_path / "vectors", records)


def test_addresses_are_read_and_written(proteins, tmp_path):
    pytest.importorskip("fsspec")
    folder, records = proteins
    sources = [f"file://{path}" for path in sorted(folder.iterdir())]
    for _ in range(2):
        result = run("embed", *sources, "-o", f"file://{tmp_path}/vectors", "--model", MODEL)
        assert result.exit_code == 0, result.stderr
    assert "6 of 6 parts were already embedded." in result.stderr
    assert_complete(tmp_path / "vectors", records)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["a.fasta", "-o", "v.npz", "--engine", "dask"],
            "-o must be a folder for --engine and for several",
        ),
        (["a.fasta", "b.fasta", "-o", "v.h5"], "-o must be a folder for --engine and for several files"),
        (["-", "-o", "v/", "--engine", "dask"], "--engine must have files as INPUT, and no --shard."),
        (["a.fa", "-o", "v/", "--engine", "ray", "--shard", "1/2"], "--engine must have files as INPUT"),
        (["a.fasta", "-o", "v/", "--split", "2"], "--scheduler and --split must be with --engine."),
        (["x/a.fasta", "y/a.fa.gz", "-o", "v/"], "INPUT must be files of different names"),
    ],
)
def test_wrong_usage_says_what_is_wrong(arguments, message):
    result = run("embed", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_task_is_named_by_its_file_and_shard():
    assert str(Task("a.fasta", "v/", slice(0, None, 1))) == "a.fasta"
    assert str(Task("a.fasta", "v/", slice(2, None, 4))) == "a.fasta, shard 3/4"
    assert [task.shard.start for task in _engines.tasks_of(["a.fasta"], "v/", 3)] == [0, 1, 2]
