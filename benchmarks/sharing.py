"""Memory of two worker processes beside one: do they share the weights?

Usage: ``python benchmarks/sharing.py [--shape 150M] [--folder]``, on Linux.
``cross_val_score(n_jobs=2)`` runs on joblib's loky backend with random weights of the shape, in
fair-esm's format or as a folder of transformers. The proportional set sizes of its workers are summed
while they run: a page that two processes share counts half for each. Beside it one worker does the same
alone.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from joblib.externals.loky import get_reusable_executor
from shapes import SHAPES, file_name, save_random
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from sklearn_esm import ESMEmbeddingTransformer

MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="150M")
    parser.add_argument("--folder", action="store_true", help="safetensors, as transformers saves it")
    parser.add_argument("--workers", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--checkpoint", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.workers:
        print(peak_of_workers(options.checkpoint, options.workers))
        return
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / file_name(options.shape, folder=options.folder)
        save_random(checkpoint, options.shape)
        size = checkpoint.stat().st_size / MIB
        print(f"{options.shape} shape, float32, {checkpoint.name} of {size:.0f} MiB")
        peaks = {}
        for workers in (1, 2):
            command = [sys.executable, __file__, "--checkpoint", checkpoint, "--workers", str(workers)]
            run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            peaks[workers] = int(run.stdout)
            print(f"{workers} worker{'s' * (workers > 1)}: {peaks[workers] / MIB:5.0f} MiB at the peak")
        print(f"ratio: {peaks[2] / peaks[1]:.2f}")


def peak_of_workers(checkpoint: Path, workers: int) -> int:
    """The largest sum of the workers' proportional set sizes during a cross-validation, in bytes."""
    os.environ["OMP_NUM_THREADS"] = "1"  # as joblib sets it for two workers on two cores
    done = threading.Event()
    peak = 0

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.1):
            peak = max(peak, sum(map(proportional_set_size, children())))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        if workers == 1:
            get_reusable_executor(max_workers=1).submit(cross_validate, checkpoint, None).result()
        else:
            cross_validate(checkpoint, workers)
        time.sleep(0.3)
    finally:
        done.set()
        watching.join()
    return peak


def cross_validate(checkpoint: Path, n_jobs: int | None) -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(50, 150, size=40)
    sequences = ["".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), length)) for length in lengths]
    model = make_pipeline(ESMEmbeddingTransformer(checkpoint), Ridge())
    cross_val_score(model, sequences, rng.standard_normal(40), cv=2, n_jobs=n_jobs, error_score="raise")


def children() -> list[str]:
    return [
        process
        for thread in Path("/proc/self/task").iterdir()
        for process in (thread / "children").read_text().split()
    ]


def proportional_set_size(process: str) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


if __name__ == "__main__":
    main()
