"""The cache in a folder between workers: claims, threads, processes, and processes that are killed."""

import os
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fair_esm_oracle import assert_faithful
from known_vectors import EACH, FINGERPRINT, NUMBERS, PROCESSES, key, known, missing, processes
from numpy.testing import assert_array_equal

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm._cache import _database, open_cache

SEQUENCES = ["MKTAYIAKQRQIS", "GLDALQITV", "A", "GIGKFLHSAKKFGKAFV"]
posix = pytest.mark.skipif(
    os.name == "nt", reason="Windows cannot fork, nor ask whether a process lives"
)


@pytest.fixture(scope="module")
def start():
    with processes() as start:
        yield start


# claims: of several workers that miss a vector, one computes it


@pytest.fixture
def other(folder):
    with open_cache(folder, FINGERPRINT) as other:
        yield other


def test_what_one_has_claimed_is_denied_to_others_until_released(opened, other):
    assert opened.claim([key(1), key(2)]) == [True, True]
    assert other.claim([key(2), key(3)]) == [False, True]
    opened.release([key(1), key(2)])
    assert other.claim([key(1), key(2)]) == [True, True]


def test_who_has_a_claim_may_claim_again(opened):
    assert opened.claim([key(1)]) == opened.claim([key(1)]) == [True]


def test_nobody_releases_the_claims_of_others(opened, other):
    opened.claim([key(1)])
    other.release([key(1)])
    assert other.claim([key(1)]) == [False]


@posix
def test_the_claims_of_a_process_end_with_it(opened, other, monkeypatch):
    process = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    with process, monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: process.pid)
        opened.claim([key(1)])
        assert other.claim([key(1)]) == [False]
        process.kill()
    assert other.claim([key(1)]) == [True]


@pytest.mark.parametrize(("seconds", "granted"), [(100, False), (130, True), (-100_000, True)])
def test_claims_run_out_in_two_minutes_whatever_the_clock_does(
    opened, other, monkeypatch, seconds, granted
):
    opened.claim([key(1)])
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + seconds)
    assert other.claim([key(1)]) == [granted]


# threads and processes


def test_threads_share_a_cache(opened):
    def work(number):
        mine = known(range(10 * number, 10 * number + 10))
        for wanted, vector in mine.items():
            opened.claim([wanted])
            opened.put({wanted: vector})
            opened.release([wanted])
        assert missing(opened, mine) == {}

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))
    assert missing(opened, known(range(160))) == {}


def test_threads_open_a_folder_at_the_same_moment(folder):
    def work(number):
        with open_cache(folder, FINGERPRINT) as cache:
            cache.put(known([number]))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(32)))
    with open_cache(folder, FINGERPRINT) as cache:
        assert missing(cache, known(range(32))) == {}


@posix
def test_processes_open_a_folder_at_the_same_moment(tmp_path, start):
    for turn in range(5):
        folder = tmp_path / str(turn)
        # a warning is an error there
        assert start("begin-together", folder, FINGERPRINT) == [0] * PROCESSES
        with open_cache(folder, FINGERPRINT) as cache:
            assert missing(cache, known(range(EACH * PROCESSES))) == {}


def test_a_database_that_another_process_is_making_is_waited_for(folder, monkeypatch):
    # by chance it happens above, once in some dozens of times; SQLite itself does not wait then
    connect, codes = _database._connect, iter([sqlite3.SQLITE_BUSY] * 3)

    def busy(*arguments, **options):
        for code in codes:
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = code
            raise error
        return connect(*arguments, **options)

    monkeypatch.setattr(_database, "_connect", busy)
    with open_cache(folder, FINGERPRINT) as cache:
        cache.put(known([1]))
        assert missing(cache, known([1])) == {}


# processes that are killed


def assert_works_at_once(folder, fingerprint, vectors):
    """Return how many of the vectors were there already."""
    began = time.monotonic()
    with open_cache(folder, fingerprint) as cache:
        lost = missing(cache, vectors)
        assert all(cache.claim(list(vectors)))
        cache.put(lost)
        cache.release(list(vectors))
        assert missing(cache, vectors) == {}
    # whoever finds a lock waits for it for a minute
    assert time.monotonic() - began < 10
    return len(vectors) - len(lost)


@posix
def test_processes_that_are_killed_leave_right_vectors_and_no_lock(checkpoints, folder, start):
    path = checkpoints["esm2"].path
    transformer = ESMEmbeddingTransformer(path, cache=folder).fit(SEQUENCES)
    expected = transformer.transform(SEQUENCES)
    (database,) = folder.iterdir()
    fingerprint = database.name.split(".")[0]
    written = 0
    for turn, seconds in enumerate(np.random.default_rng().uniform(0.02, 0.3, size=10)):
        first = NUMBERS * turn
        assert start("write-and-be-killed", folder, fingerprint, seconds, first) == [-9, -9]
        with open_cache(folder, fingerprint) as cache:
            assert missing(cache, known(range(first))) == {}  # of earlier rounds nothing is lost
        written += assert_works_at_once(folder, fingerprint, known(range(first, first + NUMBERS)))
    assert written > 0
    assert_array_equal(transformer.transform(SEQUENCES), expected)
    assert transformer.cache_info().misses == len(SEQUENCES)
    fresh = ESMEmbeddingTransformer(path, cache=None).fit_transform([*SEQUENCES, "MKT"])
    assert_faithful(transformer.transform([*SEQUENCES, "MKT"]), fresh)


@posix
def test_processes_that_are_killed_while_they_make_a_database_leave_one_that_works(tmp_path, start):
    for turn, seconds in enumerate(np.random.default_rng().uniform(0, 0.06, size=10)):
        folder = tmp_path / str(turn)
        assert start("write-and-be-killed", folder, FINGERPRINT, seconds, 0) == [-9, -9]
        assert_works_at_once(folder, FINGERPRINT, known(range(NUMBERS)))
