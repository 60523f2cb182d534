"""Jobs that keep vectors in a folder or write them to a file, each in a process that may be killed.

Run as a script it imports everything once, then forks a process for each job that it reads.
"""

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from contextlib import contextmanager, suppress
from importlib import import_module

import numpy as np
import torch

from sklearn_esm import ESMContactTransformer, ESMEmbeddingTransformer, ESMLikelihoodTransformer

ESTIMATORS = {
    "embedding": ESMEmbeddingTransformer,
    "likelihood": ESMLikelihoodTransformer,
    "contacts": ESMContactTransformer,
}


def results_of(job, cache):
    """What the estimator of a job gives, one row for each sequence, or maps one after the other."""
    output = estimator_of(job, cache).fit_transform(job["sequences"])
    return np.concatenate([one.ravel() for one in output]) if output.dtype == object else output


def estimator_of(job, cache):
    return ESTIMATORS[job["kind"]](job["model"], device="cpu", cache=cache, **job["parameters"])


@contextmanager
def processes():
    """Functions to start jobs, kill them and wait for them.

    ``run(jobs, kills, limit)`` starts a process for each job, kills number i after ``kills[i]``
    seconds unless that is None, and returns their exit codes. Where ``kills[i]`` is a pair of seconds
    and a folder, they count from the moment when something is written in there. Whoever is not done
    within ``limit`` seconds is killed as well, and None stands for its code.
    """
    command = [sys.executable, __file__]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as helper:

        def run(jobs, kills, limit):
            print(json.dumps([jobs, kills, limit]), file=helper.stdin, flush=True)
            return json.loads(helper.stdout.readline())

        yield run


def _do(job):
    from sklearn_esm import cli

    torch.set_num_threads(job["threads"])
    if "output" not in job:
        results = results_of(job, job["cache"])
        if "results" in job:
            estimator = estimator_of(job, job["cache"])
            misses = estimator.cache_info().misses
            np.testing.assert_array_equal(results_of(job, job["cache"]), results)
            assert estimator.cache_info().misses == misses  # all of it is kept
            np.savez(job["results"], results=results)
        return
    options = job["parameters"] | {"model": job["model"], "device": "cpu"}
    if job["cache"]:
        options["cache"] = job["cache"]
    words = []
    for name, value in options.items():
        several = ",".join(value) if isinstance(value, list) else str(value)
        words += [f"--{name.replace('_', '-')}", several]
    sys.argv = ["sklearn-esm", "embed", job["fasta"], "-o", job["output"], "--quiet", *words]
    cli.main()


def _fork(job):
    child = os.fork()
    if child:
        return child
    try:
        warnings.simplefilter("error")
        _do(job)
    except SystemExit as end:
        os._exit(end.code or 0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


def _run(jobs, kills, limit):
    kills = [_Kill(kill) for kill in kills]
    began = time.monotonic()
    children = [_fork(job) for job in jobs]
    codes = [None] * len(jobs)
    waiting = set(range(len(jobs)))
    while waiting:
        for number in sorted(waiting):
            # reaped at once: a dead process that nobody waits for counts as living
            child, status = os.waitpid(children[number], os.WNOHANG)
            if child:
                codes[number] = os.waitstatus_to_exitcode(status)
                waiting.discard(number)
            elif time.monotonic() - began > limit:
                os.kill(children[number], signal.SIGKILL)
                os.waitpid(children[number], 0)
                waiting.discard(number)
            elif kills[number].is_due():
                os.kill(children[number], signal.SIGKILL)
        time.sleep(0.0005)
    return codes


class _Kill:
    def __init__(self, kill):
        self._seconds, self._folder = kill if isinstance(kill, list) else (kill, None)
        self._former = self._files()
        self._began = time.monotonic() if self._folder is None else None

    def is_due(self):
        if self._began is None and self._files() - self._former:
            self._began = time.monotonic()
        if self._seconds is None or self._began is None:
            return False
        return time.monotonic() - self._began >= self._seconds

    def _files(self):
        """The files of the folder that hold anything, with their sizes."""
        found = set()
        for entry in os.scandir(self._folder) if self._folder else ():
            with suppress(FileNotFoundError):
                if size := entry.stat().st_size:
                    found.add((entry.name, size))
        return found


def read_output(path):
    """Names and vectors of a file that the command wrote."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return arrays["names"].tolist(), arrays["embeddings"]
    if path.suffix == ".h5":
        import h5py

        with h5py.File(path) as file:
            return list(file["names"].asstr()), file["embeddings"][:]
    from pyarrow import parquet

    table = parquet.read_table(path)
    return table["name"].to_pylist(), np.array(table["embedding"].to_pylist(), dtype=np.float32)


if __name__ == "__main__":
    for name in ("h5py", "pyarrow.parquet", "sklearn_esm.cli._app", "sklearn_esm._engine"):
        import_module(name)  # before the forks, each of which would take its time for it
    for line in sys.stdin:
        print(json.dumps(_run(*json.loads(line))), flush=True)
