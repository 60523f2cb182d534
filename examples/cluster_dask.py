"""
A grid search on a Dask cluster
===============================

Layers and poolings searched by Dask's workers, after one pass of the model whose units of work went
to the same workers: two of them on this machine, or as many as a cluster lends.

Run it with another model: ``python examples/cluster_dask.py --model esm2_t6_8M_UR50D``.
"""

# %%
# The bundled model needs no download and is for trying out; any ESM name or checkpoint path works.

import argparse
import pickle
import tempfile
import time

from dask.distributed import Client, LocalCluster
from joblib import parallel_config
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm.datasets import load_peptides

POOLINGS = ["mean", "max"]

# %%
# Two worker processes of one thread each; a worker runs one forward pass at a time. On a cluster only
# this function changes. With SLURM and the package dask-jobqueue::
#
#     from dask_jobqueue import SLURMCluster
#
#     cluster = SLURMCluster(cores=4, processes=1, memory="16GB", walltime="01:00:00")
#     cluster.scale(jobs=8)
#
# and with a cluster that is running already, ``Client("tcp://its-scheduler:8786")`` alone.


def start_cluster():
    return LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)


# %%
# The cache is a folder, which all these processes share because they are on one machine. Machines
# cannot share one. With several, either leave the search to this machine, once the cluster has
# precomputed, or let every machine fill a folder of its own, such as ``/scratch/vectors``.


def build(model, folder):
    return make_pipeline(
        ESMEmbeddingTransformer(model, cache=folder),
        StandardScaler(),
        LogisticRegression(C=0.1, max_iter=1000),
    )


# %%
# First every layer and pooling, each sequence once through the model: the workers compute, and this
# process alone writes to the cache.


def precompute(embed, sequences):
    started = time.perf_counter()
    embed.precompute(sequences, layers="all", poolings=POOLINGS)
    return time.perf_counter() - started


# %%
# Then the search, whose tasks find every vector in the folder. Dask's backend takes all of its
# workers, whatever ``n_jobs`` says. The folds are random, so relatives of a peptide help to classify
# it: the quick start shows how to keep families apart.


def search(pipeline, sequences, y):
    layers = range(pipeline[0].fit(sequences).n_layers_ + 1)
    grid = {
        "esmembeddingtransformer__layer": layers,
        "esmembeddingtransformer__pooling": POOLINGS,
    }
    started = time.perf_counter()
    found = GridSearchCV(pipeline, grid, scoring="roc_auc", cv=5).fit(sequences, y)
    return found, time.perf_counter() - started


# %%
# A task of the search carries the pipeline, the sequences and their labels, and no weights: a worker
# finds these by the model's name. The seconds of the first step include torch's start in each worker.


def main():
    parser = argparse.ArgumentParser(description="A grid search over layers and poolings, on Dask.")
    parser.add_argument("--model", default="esm2_t6_1M_bundled", help="model name or checkpoint path")
    options = parser.parse_args()

    sequences, y = load_peptides(return_X_y=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        start_cluster() as cluster,
        Client(cluster) as client,
        parallel_config("dask"),
    ):
        pipeline = build(options.model, folder)
        embed = pipeline[0]
        seconds = precompute(embed, sequences)
        info = embed.cache_info()
        print(f"{len(sequences)} peptides, {len(client.ncores())} workers")
        print(f"precompute: {info.misses} runs of the model, {info.vectors} vectors, {seconds:.1f} s")

        found, seconds = search(pipeline, sequences, y)
        runs = sum(info.misses for info in client.run(embed.cache_info).values())
        tasks = found.n_splits_ * len(found.cv_results_["params"])
        print(f"search:     {runs} runs of the model, {tasks} tasks, {seconds:.1f} s")

    for name, sent in {"pipeline": pipeline, "sequences": sequences, "labels": y}.items():
        print(f"shipped:    {len(pickle.dumps(sent)) / 1000:.1f} kB of {name}")
    best = {name.split("__")[1]: value for name, value in found.best_params_.items()}
    print(f"best:       {best}, ROC AUC {found.best_score_:.3f}")


# %%
# Dask starts its workers by importing this script anew, which must not start another cluster.

if __name__ == "__main__":
    main()
