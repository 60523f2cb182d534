"""One forward pass for each distinct sequence, where workers fail, are killed, or start side by side."""

import itertools
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from fair_esm_oracle import LAYERS, assert_faithful
from hundred_sequences import MANY_UNITS, POOLINGS, SEQUENCES, fair_esm_pooled, new_estimator
from joblib import parallel_config
from numpy.testing import assert_array_equal

from sklearn_esm import _engine
from sklearn_esm._cache import Key, open_cache
from sklearn_esm._checkpoints._fingerprint import identify
from sklearn_esm._execution import _results

# Failures


@pytest.fixture
def fail_at(monkeypatch, embedded):
    """Have the model fail at a unit, by its number; ``embedded`` holds what finished before."""

    def fail_at(number, error):
        units = itertools.count()
        hidden_states = _engine.hidden_states

        def failing(*arguments):
            if next(units) == number:
                monkeypatch.setattr(_engine, "hidden_states", hidden_states)
                raise error
            return hidden_states(*arguments)

        monkeypatch.setattr(_engine, "hidden_states", failing)

    return fail_at


@pytest.fixture
def no_waiting(monkeypatch):
    """Fail where the vectors of another worker are waited for."""

    def refuse(_):
        raise AssertionError("waits for a claim that nobody holds")

    monkeypatch.setattr(_results, "time", SimpleNamespace(sleep=refuse))


@pytest.mark.parametrize("error", [RuntimeError("broken"), MemoryError(), KeyboardInterrupt()], ids=repr)
def test_after_a_failure_only_the_rest_is_run(checkpoint, cache, embedded, fail_at, no_waiting, error):
    fail_at(20, error)
    with pytest.raises(type(error)):
        new_estimator(checkpoint, cache, batch_tokens=MANY_UNITS).fit_transform(SEQUENCES)
    assert 20 <= len(embedded) <= 40
    actual = new_estimator(checkpoint, cache, batch_tokens=MANY_UNITS).fit_transform(SEQUENCES)
    assert sorted(embedded) == sorted(SEQUENCES)  # those before the failure, and then the others
    assert_faithful(actual, fair_esm_pooled(checkpoint))


def test_a_precompute_goes_on_where_it_failed(checkpoint, cache, embedded, fail_at, no_waiting):
    embed = new_estimator(checkpoint, cache, batch_tokens=MANY_UNITS)
    fail_at(20, RuntimeError("broken"))
    with pytest.raises(RuntimeError, match="broken"):
        embed.precompute(SEQUENCES, poolings=list(POOLINGS))
    embed.precompute(SEQUENCES, poolings=list(POOLINGS))
    assert sorted(embedded) == sorted(SEQUENCES)


def test_a_failure_within_a_unit_keeps_nothing_of_it(
    checkpoint, cache, embedded, monkeypatch, no_waiting
):
    with monkeypatch.context() as failing:
        hidden_states = _engine.hidden_states

        def first_block(*arguments):
            yield next(hidden_states(*arguments))
            raise RuntimeError("broken")

        failing.setattr(_engine, "hidden_states", first_block)
        with pytest.raises(RuntimeError, match="broken"):
            new_estimator(checkpoint, cache).fit_transform(SEQUENCES)
    embedded.clear()
    actual = new_estimator(checkpoint, cache).fit_transform(SEQUENCES)
    assert sorted(embedded) == sorted(SEQUENCES)
    assert_faithful(actual, fair_esm_pooled(checkpoint))


def test_an_interrupt_between_claim_and_pass_makes_nobody_wait(
    checkpoint, cache, monkeypatch, no_waiting
):
    look_up = _results._look_up
    calls = itertools.count()

    def interrupted(*arguments):
        if next(calls) == 1:  # the first one is before the claim
            raise KeyboardInterrupt
        return look_up(*arguments)

    monkeypatch.setattr(_results, "_look_up", interrupted)
    with pytest.raises(KeyboardInterrupt):
        new_estimator(checkpoint, cache).fit_transform(SEQUENCES)
    actual = new_estimator(checkpoint, cache).fit_transform(SEQUENCES)
    assert_faithful(actual, fair_esm_pooled(checkpoint))


# scikit-learn resets the warning filters of the whole process in each of its threads
@pytest.mark.filterwarnings("ignore")
def test_a_failure_beside_other_workers_makes_nobody_wait(checkpoint, cache, fail_at, no_waiting):
    embed = new_estimator(checkpoint, cache, batch_tokens=MANY_UNITS, n_jobs=2)
    fail_at(20, RuntimeError("broken"))
    with parallel_config("threading"), pytest.raises(RuntimeError, match="broken"):
        embed.fit_transform(SEQUENCES)
    assert_faithful(embed.set_params(n_jobs=1).transform(SEQUENCES), fair_esm_pooled(checkpoint))


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot be asked whether a process lives")
def test_a_worker_that_was_killed_is_not_waited_for(checkpoint, folder, embedded):
    fingerprint = identify(checkpoint.path).fingerprint
    code = """
import sys
from sklearn_esm._cache import Key, open_cache
folder, fingerprint, layer, *sequences = sys.argv[1:]
with open_cache(folder, fingerprint) as cache:
    keys = [Key(fingerprint, "float32", int(layer), "mean", 0, s) for s in sequences]
    print(sum(cache.claim(keys)), flush=True)
    sys.stdin.read()
"""
    command = [sys.executable, "-c", code, folder, fingerprint, str(LAYERS), *SEQUENCES]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as worker:
        try:
            assert worker.stdout.readline() == "100\n"
            with open_cache(folder, fingerprint) as cache:  # the counter-check: alive, it is
                keys = [Key(fingerprint, "float32", LAYERS, "mean", 0, s) for s in SEQUENCES]
                assert cache.claim(keys) == [False] * 100
        finally:
            worker.kill()
    began = time.monotonic()
    actual = new_estimator(checkpoint, folder).fit_transform(SEQUENCES)
    assert time.monotonic() - began < 5
    assert sorted(embedded) == sorted(SEQUENCES)
    assert_faithful(actual, fair_esm_pooled(checkpoint))


# Side by side


def test_threads_that_miss_the_same_run_each_sequence_once(checkpoint, cache, embedded, monkeypatch):
    barrier = threading.Barrier(2)
    plan_batches = _results.plan_batches
    waited = set()

    def both_have_missed_everything(items, *rest):
        if threading.get_ident() not in waited:
            waited.add(threading.get_ident())
            barrier.wait(60)
            assert len(items) == 100
        return plan_batches(items, *rest)

    def embed(_):
        return new_estimator(checkpoint, cache, batch_tokens=MANY_UNITS).fit_transform(SEQUENCES)

    monkeypatch.setattr(_results, "plan_batches", both_have_missed_everything)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(embed, range(2))
    assert sorted(embedded) == sorted(SEQUENCES)
    assert_array_equal(first, second)
    assert_faithful(first, fair_esm_pooled(checkpoint))


def test_processes_that_miss_the_same_run_each_sequence_once(
    checkpoint, folder, embedded, monkeypatch, tmp_path
):
    # neither goes on with its first batch before the other has begun, too
    code = """
import sys, time
from pathlib import Path
import numpy
from sklearn_esm import ESMEmbeddingTransformer, _engine
path, folder, here, *sequences = sys.argv[1:]
here = Path(here)
ran = []
hidden_states = _engine.hidden_states

def beside_the_other(model, sequences, layers):
    (here / "two has begun").touch()
    while not (here / "one has begun").exists():
        time.sleep(0.005)
    ran.extend(sequences)
    return hidden_states(model, sequences, layers)

_engine.hidden_states = beside_the_other
matrix = ESMEmbeddingTransformer(path, cache=folder, batch_tokens=30).fit_transform(sequences)
numpy.save(here / "matrix.npy", matrix)
print(*ran)
"""
    command = [sys.executable, "-c", code, checkpoint.path, folder, tmp_path, *SEQUENCES]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        hidden_states = _engine.hidden_states

        def beside_the_other(*arguments):
            (tmp_path / "one has begun").touch()
            while not (tmp_path / "two has begun").exists():
                assert other.poll() is None
                time.sleep(0.005)
            return hidden_states(*arguments)

        try:
            monkeypatch.setattr(_engine, "hidden_states", beside_the_other)
            matrix = new_estimator(checkpoint, folder, batch_tokens=MANY_UNITS).fit_transform(SEQUENCES)
            output, _ = other.communicate(timeout=120)
        finally:
            other.kill()
    ran_there = output.split()
    assert sorted(embedded + ran_there) == sorted(SEQUENCES)
    assert embedded
    assert ran_there
    assert_array_equal(np.load(tmp_path / "matrix.npy"), matrix)
    assert_faithful(matrix, fair_esm_pooled(checkpoint))
