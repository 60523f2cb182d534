"""
How do 200,000 sequences get through a Dask cluster, if a worker is killed?
===========================================================================

A folder of parquet files with sequences becomes a folder of parquet files with vectors. Each worker
reads, embeds and writes one file at a time, so neither the client nor a worker holds the whole data
set. One worker is killed on the way. At the end, every vector is there, and none is there twice.
"""

# %%
# The bundled model needs no download and is for trying out; any ESM name or checkpoint path works.
# dask-dataframe is installed by ``pip install "dask[dataframe]"``.

import os
import signal
import tempfile
import time
from pathlib import Path

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow.parquet as parquet
from dask.distributed import Client, LocalCluster

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm.distributed import embed_partition, partition_meta

MODEL = "esm2_t6_1M_bundled"
PEPTIDES = 200_000
PARTS = 40

# %%
# Two worker processes of one thread each. On a cluster only this function changes. With SLURM and the
# package dask-jobqueue::
#
#     from dask_jobqueue import SLURMCluster
#
#     cluster = SLURMCluster(cores=4, processes=1, memory="16GB", walltime="01:00:00")
#     cluster.scale(jobs=8)
#
# For a cluster that is running already, ``Client("tcp://its-scheduler:8786")`` is enough.


def start_cluster():
    return LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0")


# %%
# The input: random peptides of 8 to 25 residues. For real work it is a folder that other programs wrote.


def write_peptides(folder):
    rng = np.random.default_rng(0)
    for part, ids in enumerate(np.array_split(np.arange(PEPTIDES), PARTS)):
        residues = rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), (len(ids), 25))
        lengths = rng.integers(8, 26, len(ids))
        sequences = ["".join(row[:length]) for row, length in zip(residues, lengths, strict=True)]
        frame = pd.DataFrame({"id": ids, "sequence": sequences})
        frame.to_parquet(folder / f"part-{part:03}.parquet")


# %%
# ``map_partitions`` runs ``embed_partition`` on each file. ``meta`` has the columns and types of the
# result for Dask, and ``schema`` those of the new files. ``client.compute`` returns at once.


def start_embedding(client, peptides, vectors, embed):
    frame = dd.read_parquet(peptides)
    options = {"column": "sequence", "estimator": embed}
    embedded = frame.map_partitions(embed_partition, **options, meta=partition_meta(frame, **options))
    given = parquet.read_schema(peptides / "part-000.parquet")
    schema = partition_meta(given.empty_table(), **options).schema
    written = embedded.to_parquet(vectors, schema=schema, write_index=False, compute=False)
    return client.compute(written)


# %%
# After a quarter of the files, the system ends one worker at once, as it does when memory runs out.
# Dask starts another one and computes again what the killed one had done.


def kill_a_worker(workers, vectors):
    while len(list(vectors.glob("*.parquet"))) < PARTS // 4:
        time.sleep(0.05)
    os.kill(workers[0], getattr(signal, "SIGKILL", signal.SIGTERM))
    done = len(list(vectors.glob("*.parquet")))
    print(f"killed      worker {workers[0]} after {done} partitions")


# %%
# All ids are there once, and a sample of vectors equals what ``transform`` returns here.


def check(peptides, vectors, embed):
    frame = pd.read_parquet(vectors).sort_values("id")
    assert frame["id"].tolist() == list(range(PEPTIDES))
    print(f"written     {len(frame):,} vectors, each id once")
    given = pd.read_parquet(peptides).sort_values("id")
    assert frame["sequence"].tolist() == given["sequence"].tolist()

    sample = frame.sample(500, random_state=0)
    difference = np.stack(sample["embedding"].tolist()) - embed.transform(sample["sequence"])
    print(f"checked     largest difference of 500 from transform: {np.abs(difference).max():.1e}")


def main():
    with (
        tempfile.TemporaryDirectory() as folder,
        start_cluster() as cluster,
        Client(cluster) as client,
    ):
        peptides, vectors = Path(folder, "peptides"), Path(folder, "vectors")
        peptides.mkdir()
        write_peptides(peptides)
        # fitted here, so that a worker refuses other weights than those of this machine
        embed = ESMEmbeddingTransformer(MODEL).fit(["MKTAYIAKQR"])
        print(f"started     {PEPTIDES:,} peptides in {PARTS} partitions, {len(client.ncores())} workers")

        workers = list(client.run(os.getpid).values())
        started = time.perf_counter()
        result = start_embedding(client, peptides, vectors, embed)
        kill_a_worker(workers, vectors)
        result.result()
        print(f"embedded    {time.perf_counter() - started:.0f} s")
        check(peptides, vectors, embed)


# %%
# Dask starts its workers by importing this script anew, which must not start another cluster.

if __name__ == "__main__":
    main()
