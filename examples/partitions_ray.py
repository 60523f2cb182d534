"""
Are all vectors written if a Ray worker is killed?
==================================================

This script embeds 200,000 peptides in 40 parquet files, and one worker is killed while it runs. It then
compares all ids and a sample of 500 vectors with what they should be.
"""

# %%
# The bundled model needs no download and is for trying out. Any other name works here. ``pip install
# "ray[data]"`` installs Ray Data.

MODEL = "esm2_t6_1M_bundled"
PEPTIDES = 200_000
PARTS = 40

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
# ``map_batches`` runs ``embed_partition`` on tables of pyarrow. For this example only, the worker that
# has the peptide in the middle is killed, as the system does if memory runs out. Ray starts another one
# and runs the task again.

import os
import signal

import ray

from sklearn_esm.distributed import embed_partition


def embed_batch(batch, estimator, marker):
    if PEPTIDES // 2 in batch["id"].to_pylist() and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
    return embed_partition(batch, column="sequence", estimator=estimator)


def embed_folder(peptides, vectors, embed, marker):
    # else Ray would read files as small as these in one task
    dataset = ray.data.read_parquet(str(peptides), override_num_blocks=PARTS).map_batches(
        embed_batch,
        fn_kwargs={"estimator": embed, "marker": marker},
        batch_format="pyarrow",
        batch_size=None,  # a block at a time
    )
    dataset.write_parquet(str(vectors))


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
# Two worker processes run on this machine. On a cluster, write ``ray.init("auto")``. The estimator is
# fitted here, so that a worker refuses other weights than those of this machine.

import tempfile
import time
from pathlib import Path

from sklearn_esm import ESMEmbeddingTransformer


def main():
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        with tempfile.TemporaryDirectory() as folder:
            peptides, vectors = Path(folder, "peptides"), Path(folder, "vectors")
            peptides.mkdir()
            write_peptides(peptides)
            embed = ESMEmbeddingTransformer(MODEL).fit(["MKTAYIAKQR"])
            print(f"started     {PEPTIDES:,} peptides in {PARTS} partitions")

            started = time.perf_counter()
            marker = Path(folder, "killed")
            embed_folder(peptides, vectors, embed, marker)
            print(
                f"embedded    {time.perf_counter() - started:.0f} s, a worker killed: {marker.exists()}"
            )
            check(peptides, vectors, embed)
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
