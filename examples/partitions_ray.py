"""
How do 200,000 sequences get through Ray Data, if a worker is killed?
=====================================================================

A folder of parquet files with sequences becomes a folder of parquet files with vectors. One worker is
killed on the way. At the end, every vector is there, and none is there twice.
"""

# %%
# The bundled model needs no download and is for trying out; any ESM name or checkpoint path works.
# Ray Data is installed by ``pip install "ray[data]"``.

import os
import signal
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import ray

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm.distributed import embed_partition

MODEL = "esm2_t6_1M_bundled"
PEPTIDES = 200_000
PARTS = 40

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
# ``map_batches`` runs ``embed_partition`` on tables of pyarrow. Only for this example, the worker that
# has the peptide in the middle is ended at once, as the system does when memory runs out. Ray starts
# another one and runs the task again.


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


# %%
# Two worker processes on this machine. On a cluster, ``ray.init("auto")``.


def main():
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        with tempfile.TemporaryDirectory() as folder:
            peptides, vectors = Path(folder, "peptides"), Path(folder, "vectors")
            peptides.mkdir()
            write_peptides(peptides)
            # fitted here, so that a worker refuses other weights than those of this machine
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
