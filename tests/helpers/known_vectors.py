"""Vectors that can be told from their keys, and processes that keep them in a folder.

Run as a script it forks such processes, where no model and no thread is in the way.
"""

import os
import signal
import subprocess
import sys
import time
import warnings
from contextlib import contextmanager

import numpy as np
from numpy.testing import assert_array_equal

from sklearn_esm._cache import Key, open_cache

FINGERPRINT = "0f3a"
PROCESSES = 8  # that begin together
EACH = 10  # vectors of each of them
NUMBERS = 200  # that those write who are killed
DATABASE = f"{FINGERPRINT}.v3.sqlite"


def key(number):
    return Key(FINGERPRINT, "float32", 6, "mean", 0, f"{number:04d}")


def known(numbers, width=16):
    """A vector for each number, by its key."""
    return {
        key(number): np.random.default_rng(number).standard_normal(width, dtype=np.float32)
        for number in numbers
    }


def missing(cache, vectors):
    """Those of the vectors that the cache does not have; the others must be right."""
    found = dict(zip(vectors, cache.get(list(vectors)), strict=True))
    for wanted, vector in found.items():
        if vector is not None:
            assert_array_equal(vector, vectors[wanted])
    return {wanted: vectors[wanted] for wanted, vector in found.items() if vector is None}


VECTORS = known(range(12))


def put(folder, vectors, fingerprint=FINGERPRINT):
    with open_cache(folder, fingerprint) as cache:
        cache.put(vectors)


def lost(folder, vectors=VECTORS):
    """Those of the vectors that are not in the folder; the others must be right."""
    with open_cache(folder, FINGERPRINT) as cache:
        return missing(cache, vectors)


@contextmanager
def processes():
    """A function that has processes do a task in a folder, and returns their exit codes."""
    command = [sys.executable, __file__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as helper:

        def start(task, folder, fingerprint, *arguments):
            print(task, folder, fingerprint, *arguments, file=helper.stdin, flush=True)
            return [int(code) for code in helper.stdout.readline().split()]

        yield start


def _write_and_be_killed(folder, fingerprint, seconds, first):
    children = [_fork(_write_for_ever, folder, fingerprint, int(first), seed) for seed in range(2)]
    time.sleep(float(seconds))
    for child in children:
        os.kill(child, signal.SIGKILL)
    return children


def _write_for_ever(folder, fingerprint, first, seed):
    vectors = known(range(first, first + NUMBERS))
    keys = list(vectors)
    rng = np.random.default_rng([seed, time.time_ns()])
    while True:
        with open_cache(folder, fingerprint) as cache:  # to close it merges the log: a moment to be hit
            for _ in range(rng.integers(1, 10)):
                part = [keys[number] for number in rng.integers(0, NUMBERS, size=rng.integers(1, 40))]
                claims = cache.claim(part)
                mine = [wanted for wanted, granted in zip(part, claims, strict=True) if granted]
                missing(cache, {wanted: vectors[wanted] for wanted in part})
                cache.put({wanted: vectors[wanted] for wanted in mine})
                cache.release(mine)


def _begin_together(folder, fingerprint):
    ready, start = os.pipe()
    children = [
        _fork(_write_once, folder, fingerprint, number, ready, start) for number in range(PROCESSES)
    ]
    os.close(ready)
    time.sleep(0.05)
    os.close(start)
    return children


def _write_once(folder, fingerprint, number, ready, start):
    os.close(start)
    os.read(ready, 1)  # nothing comes, but it ends for all at once
    vectors = known(range(EACH * number, EACH * (number + 1)))
    with open_cache(folder, fingerprint) as cache:
        assert all(cache.claim(list(vectors)))
        cache.put(vectors)
        cache.release(list(vectors))
        assert missing(cache, vectors) == {}


def _fork(work, *arguments):
    child = os.fork()
    if child:
        return child
    try:
        work(*arguments)
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    warnings.simplefilter("error")
    tasks = {"write-and-be-killed": _write_and_be_killed, "begin-together": _begin_together}
    for line in sys.stdin:
        task, *arguments = line.split()
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in tasks[task](*arguments)]
        print(*codes, flush=True)
