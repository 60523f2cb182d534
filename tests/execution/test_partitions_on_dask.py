"""Partitions on Dask: their vectors, loads of the model, what the client reads, and a killed worker."""

import os
import re
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from cluster_tasks import SEQUENCES
from fair_esm_oracle import LAYERS, assert_faithful, fair_esm_residues

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm.distributed import embed_partition, partition_meta

distributed = pytest.importorskip("distributed")
pa = pytest.importorskip("pyarrow")
pd = pytest.importorskip("pandas")
dd = pytest.importorskip("dask.dataframe")
parquet = pytest.importorskip("pyarrow.parquet")

# Dask's read_parquet uses what pandas 3.1 deprecates
INPLACE = "ignore:The inplace keyword in DataFrame"
EXAMPLE = Path(__file__).parents[2] / "examples" / "partitions_dask.py"
COLUMNS = {"id": [f"P{row}" for row in range(len(SEQUENCES))], "sequence": SEQUENCES}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with mock.patch.dict(os.environ):  # Dask changes it here, too, and leaves it so
        cluster = distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=":0",  # a free port
            local_directory=tmp_path_factory.mktemp("workers"),
            env={"SKLEARN_ESM_OFFLINE": "1", "TORCH_HOME": str(tmp_path_factory.mktemp("torch"))},
        )
    with cluster, distributed.Client(cluster) as client:
        yield client


def embedded_on_dask(ddf, checkpoint, **parameters):
    options = {
        "column": "sequence",
        "estimator": ESMEmbeddingTransformer(checkpoint.path, **parameters),
    }
    return ddf.map_partitions(embed_partition, **options, meta=partition_meta(ddf, **options))


def means(checkpoint):
    return np.stack([s.mean(0) for s in fair_esm_residues(checkpoint, SEQUENCES, LAYERS)])


@pytest.mark.parametrize("text", ["string[pyarrow]", "string[python]", object])
def test_partitions_of_dask_have_fair_esms_vectors_and_the_types_of_meta(client, checkpoint, text):
    ddf = dd.from_pandas(pd.DataFrame(COLUMNS).astype({"sequence": text}), npartitions=4)
    result = embedded_on_dask(ddf, checkpoint)
    frame = result.compute()
    assert frame["id"].tolist() == COLUMNS["id"]
    assert_faithful(np.array(frame["embedding"].tolist(), dtype=np.float32), means(checkpoint))
    assert list(frame.dtypes) == list(result.dtypes)


def test_empty_partitions_are_written_with_the_others(client, checkpoint, tmp_path):
    ddf = dd.from_pandas(pd.DataFrame(COLUMNS), npartitions=4)
    some = ddf[ddf["id"].isin(COLUMNS["id"][:6])]  # two partitions have no rows
    schema = pa.schema({"id": pa.string(), "sequence": pa.string(), "embedding": pa.list_(pa.float32())})
    embedded_on_dask(some, checkpoint).to_parquet(tmp_path, schema=schema, write_index=False)
    files = sorted(tmp_path.glob("*.parquet"))
    assert sorted(map(parquet_rows, files)) == [0, 0, 1, 5]
    lists = [parquet.read_schema(file).field("embedding").type for file in files]
    assert {kind.value_type for kind in lists} == {pa.float32()}
    frame = pd.concat(map(pd.read_parquet, files))
    assert frame["id"].tolist() == COLUMNS["id"][:6]
    assert_faithful(np.stack(frame["embedding"].tolist()), means(checkpoint)[:6])


def test_each_worker_loads_the_model_once(client, checkpoint):
    def count_from_now_on():
        from sklearn_esm._execution import _models

        _models._models.clear()
        _models.loads = []
        read = getattr(_models.read_checkpoint, "read", _models.read_checkpoint)

        def counting(path):
            _models.loads.append(path)
            return read(path)

        counting.read = read
        _models.read_checkpoint = counting

    def loads():
        from sklearn_esm._execution import _models

        return len(_models.loads)

    client.run(count_from_now_on)
    ddf = dd.from_pandas(pd.DataFrame(COLUMNS), npartitions=10)
    embedded_on_dask(ddf, checkpoint, n_jobs=2).compute()
    assert set(client.run(loads).values()) == {1}


def test_a_wrong_sequence_is_named_by_its_row(client, checkpoint):
    wrong = pd.DataFrame(COLUMNS)
    wrong.loc[7, "sequence"] = "MKJT"
    result = embedded_on_dask(dd.from_pandas(wrong, npartitions=4), checkpoint)
    message = (
        r"^Sequence 2 \(MKJT\) has 'J' at position 3, .*In the same row of the partition: id='P7'\. "
        r"The index label of row 2 is 7\.$"
    )
    with pytest.raises(ValueError, match=message):
        result.compute()


@contextmanager
def counted_bytes(scheduler):
    """Count the bytes that this process reads from the scheduler, as a client does."""
    tcp = pytest.importorskip("distributed.comm.tcp")
    port = int(scheduler.rpartition(":")[2])
    read, sizes = tcp.read_bytes_rw, []

    async def counting(stream, size):
        with suppress(OSError):  # of a connection that has ended
            if stream.socket.getpeername()[1] == port:
                sizes.append(size)
        return await read(stream, size)

    with mock.patch.object(tcp, "read_bytes_rw", counting):
        yield sizes


def test_no_vector_passes_through_the_client(client, checkpoint, tmp_path):
    frame = pd.DataFrame({"sequence": SEQUENCES * 200})
    result = embedded_on_dask(dd.from_pandas(frame, npartitions=4), checkpoint)
    schema = pa.schema({"sequence": pa.string(), "embedding": pa.list_(pa.float32())})
    with counted_bytes(client.scheduler.address) as sizes:
        result.to_parquet(tmp_path, schema=schema, write_index=False)
        assert sum(map(parquet_rows, tmp_path.glob("*.parquet"))) == len(frame)
        assert 0 < sum(sizes) < 50_000
        result.compute()
        assert sum(sizes) > 4 * 32 * len(frame)


def parquet_rows(file):
    return parquet.read_metadata(file).num_rows


def test_the_example_survives_the_kill_of_a_worker(tmp_path):
    script = tmp_path / "partitions_dask.py"
    code = EXAMPLE.read_text(encoding="utf-8")
    script.write_text(code.replace("PEPTIDES = 200_000", "PEPTIDES = 8_000"), encoding="utf-8")
    # a process of its own: its workers import the script that started them
    command = [sys.executable, "-W", "error", "-W", INPLACE, script]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert "8,000 peptides in 40 partitions" in run.stdout
    assert re.search(r"^killed +worker \d+ after \d\d partitions$", run.stdout, re.MULTILINE)
    assert "8,000 vectors, each id once" in run.stdout
    assert float(re.search(r"largest difference.* ([\d.e+-]+)$", run.stdout, re.MULTILINE)[1]) < 1e-5
