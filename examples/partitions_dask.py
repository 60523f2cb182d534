"""
Are all vectors written if a Dask worker is killed?
===================================================

This script embeds 200,000 peptides in 40 parquet files on two workers, and one worker is killed while
it runs. It then compares all ids and a sample of 500 vectors with what they should be. Each worker
reads, embeds and writes one file at a time, so neither the client nor a worker holds the whole data
set.

.. image:: /_static/partitions.png
   :alt: Two files go to two workers. One worker is killed, and a new one embeds its file again.
   :width: 640px

The page is not run with the documentation, because Dask starts processes that import the script. The
output of a run is at the end.
"""

# %%
# The bundled model needs no download and is for trying out. Any other name works here. ``pip install
# "dask[dataframe]"`` installs dask-dataframe.

MODEL = "esm2_t6_1M_bundled"
PEPTIDES = 200_000
PARTS = 40

# sphinx_gallery_thumbnail_path = "_static/partitions.png"

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

from dask.distributed import Client, LocalCluster


def start_cluster():
    return LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0")


# %%
# The input is random peptides of 8 to 25 residues. In real work, other programs wrote this folder.

import numpy as np
import pandas as pd


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

import dask.dataframe as dd
import pyarrow.parquet as parquet

from sklearn_esm.distributed import embed_partition, partition_meta


def start_embedding(client, peptides, vectors, embed):
    frame = dd.read_parquet(peptides)
    options = {"column": "sequence", "estimator": embed}
    embedded = frame.map_partitions(embed_partition, **options, meta=partition_meta(frame, **options))
    given = parquet.read_schema(peptides / "part-000.parquet")
    schema = partition_meta(given.empty_table(), **options).schema
    written = embedded.to_parquet(vectors, schema=schema, write_index=False, compute=False)
    return client.compute(written)


# %%
# After a quarter of the files, one worker is killed, as the system does if memory runs out. Dask starts
# another one and computes again what the killed one had done.

import os
import signal
import time


def kill_a_worker(workers, vectors):
    while len(list(vectors.glob("*.parquet"))) < PARTS // 4:
        time.sleep(0.05)
    os.kill(workers[0], getattr(signal, "SIGKILL", signal.SIGTERM))
    done = len(list(vectors.glob("*.parquet")))
    print(f"killed      worker {workers[0]} after {done} partitions")


# %%
# Each id must be there once, and a sample of vectors must equal what ``transform`` returns here.


def check(peptides, vectors, embed):
    frame = pd.read_parquet(vectors).sort_values("id")
    assert frame["id"].tolist() == list(range(PEPTIDES))
    print(f"written     {len(frame):,} vectors, each id once")
    given = pd.read_parquet(peptides).sort_values("id")
    assert frame["sequence"].tolist() == given["sequence"].tolist()

    sample = frame.sample(500, random_state=0)
    difference = np.stack(sample["embedding"].tolist()) - embed.transform(sample["sequence"])
    print(f"checked     largest difference of 500 from transform: {np.abs(difference).max():.1e}")


# %%
# The estimator is fitted here, so that a worker refuses other weights than those of this machine.

import tempfile
from pathlib import Path

from sklearn_esm import ESMEmbeddingTransformer


def main():
    with (
        tempfile.TemporaryDirectory() as folder,
        start_cluster() as cluster,
        Client(cluster) as client,
    ):
        peptides, vectors = Path(folder, "peptides"), Path(folder, "vectors")
        peptides.mkdir()
        write_peptides(peptides)
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
# Dask starts its workers by importing this script again, which must not start another cluster.

if __name__ == "__main__":
    main()

# %%
# The output of a run on two cores, which other programs used as well::
#
#     started     200,000 peptides in 40 partitions, 2 workers
#     killed      worker 8500 after 10 partitions
#     embedded    174 s
#     written     200,000 vectors, each id once
#     checked     largest difference of 500 from transform: 0.0e+00
#
# So all vectors are written, each once. Dask also logs that it lost finished tasks and computes them
# again.
#
# `A script for Ray Data
# <https://github.com/sklearn-esm/sklearn-esm/blob/main/examples/partitions_ray.py>`__ does the same.
