"""When a folder's cache commits, and what a kill or another process sees until then."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from known_vectors import FINGERPRINT, key, known, lost, missing

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm._cache import _folder, open_cache
from sklearn_esm._execution import _claims
from sklearn_esm._execution._outputs import PooledStates

SEQUENCES = ["A" * number for number in range(1, 101)]


@pytest.fixture
def clock(monkeypatch):
    """A clock of the commits and claims that a test sets."""
    clock = SimpleNamespace(now=1000.0)
    for module in (_folder, _claims):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@pytest.fixture
def transactions(monkeypatch):
    """The transactions of this process, a list that grows: ``"commit"`` or ``"claim"``."""
    seen = []

    def counted(function, name):
        def run(*arguments, **options):
            seen.append(name)
            return function(*arguments, **options)

        return run

    monkeypatch.setattr(_folder, "transaction", counted(_folder.transaction, "commit"))
    monkeypatch.setattr(_folder._claims, "claim", counted(_folder._claims.claim, "claim"))
    return seen


@pytest.fixture
def other(folder):
    """The cache as another process has it open."""
    with open_cache(folder, FINGERPRINT) as other:
        yield other


def bytes_written():
    try:
        with open("/proc/self/io") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith("wchar"))
    except OSError:
        pytest.skip("this system does not count the bytes that a process writes")


def test_vectors_are_committed_once_a_second(opened, clock, transactions):
    for number in range(100):
        opened.claim([key(number)])
        opened.put(known([number]), [key(number)])
        clock.now += 0.125
    assert transactions.count("commit") == 13
    opened.close()
    assert transactions.count("commit") == 14


def test_a_vector_that_takes_a_second_is_committed_at_once(opened, other, clock):
    for number in range(3):
        clock.now += 1
        opened.put(known([number]))
        assert missing(other, known([number])) == {}


def test_many_vectors_are_committed_before_a_second(opened, clock, transactions, monkeypatch):
    monkeypatch.setattr(_folder, "_COMMIT_BYTES", 10 * 64)
    for number in range(100):
        opened.put(known([number]))
    assert transactions.count("commit") == 10  # the first vector at once, and then ten at a time


def test_a_vector_that_waits_for_a_commit_is_found(opened, other, clock):
    opened.put(known([0]))
    opened.put(known([1, 2]))
    assert missing(opened, known(range(3))) == {}
    assert missing(other, known(range(3))).keys() == {key(1), key(2)}


def test_a_claim_ends_with_the_commit_of_its_vector(opened, other, clock):
    opened.claim([key(0), key(1), key(2)])
    opened.put(known([0]), [key(0)])
    opened.put(known([1]), [key(1)])
    assert missing(other, known(range(3))).keys() == {key(1), key(2)}
    assert other.claim([key(0), key(1), key(2)]) == [True, False, False]
    clock.now += 1
    opened.put(known([3]))
    assert missing(other, known(range(4))).keys() == {key(2)}
    assert other.claim([key(1), key(2)]) == [True, False]


def test_everything_is_committed_before_a_claim_is_given_up(opened, other, clock):
    opened.put(known([0]))
    with _claims.claims_on(opened) as claims:
        claims.take([key(1), key(2), key(3)])
        claims.store(known([1]), [key(1)])
        assert missing(other, known([1])).keys() == {key(1)}
        claims.release([key(2)])
        assert missing(other, known([1])) == {}
        assert other.claim([key(1), key(2), key(3)]) == [True, True, False]
        claims.store(known([3]), [key(3)])
    # no claim is left, but the caller may wait for another process, and that one for the vector
    assert missing(other, known([3])) == {}
    assert other.claim([key(3)]) == [True]


def test_a_claim_taken_again_before_the_commit_is_kept(opened, other, clock):
    opened.put(known([0]))
    opened.claim([key(1)])
    opened.put(known([1]), [key(1)])
    assert opened.claim([key(1)]) == [True]
    clock.now += 1
    opened.put(known([2]))
    assert missing(other, known([1, 2])) == {}
    assert other.claim([key(1)]) == [False]


def test_a_kill_loses_what_was_not_committed_and_nothing_else(opened, folder, clock, tmp_path):
    for number in range(20):
        opened.put(known([number]))
        clock.now += 0.25
    shutil.copytree(folder, tmp_path / "killed")  # as a killed process leaves it
    assert lost(tmp_path / "killed", known(range(20))).keys() == {key(17), key(18), key(19)}


def test_at_most_four_bytes_are_written_for_one_of_a_vector(folder):
    matrix = np.random.default_rng(0).standard_normal((20_000, 320), dtype=np.float32)
    before = bytes_written()
    with open_cache(folder, FINGERPRINT) as cache:
        for start in range(0, len(matrix), 10):
            keys = [key(number) for number in range(start, start + 10)]
            cache.claim(keys) if start % 1000 == 0 else None
            cache.put(dict(zip(keys, matrix[start:], strict=False)), keys)
    assert bytes_written() - before < 4 * matrix.nbytes


def test_a_transform_claims_many_short_batches_at_once(
    checkpoint, folder, clock, transactions, embedded
):
    embed = ESMEmbeddingTransformer(checkpoint.path, cache=folder, batch_tokens=1)
    embed.fit_transform(SEQUENCES)
    assert sorted(embedded) == sorted(SEQUENCES)
    assert transactions.count("claim") == 7  # 1, 2, 4, ..., 64 batches
    assert transactions.count("commit") == 2  # the first batch, and the others at the end


def test_a_failure_keeps_what_was_computed(checkpoint, folder, clock, embedded, monkeypatch):
    embed = ESMEmbeddingTransformer(checkpoint.path, cache=folder, batch_tokens=1)
    run, calls = PooledStates.run, []

    def failing(*arguments):
        calls.append(1)
        if len(calls) == 50:
            raise RuntimeError("broken")
        return run(*arguments)

    monkeypatch.setattr(PooledStates, "run", failing)
    with pytest.raises(RuntimeError, match="broken"):
        embed.fit_transform(SEQUENCES)
    embed.transform(SEQUENCES)
    assert sorted(embedded) == sorted(SEQUENCES)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, [1, 2, 4, 8, 16, 32, 37]),
        (0.125, [1, 2, 4, *[8] * 11, 5]),
        (2, [1] * 100),
    ],
)
def test_about_a_second_of_batches_is_claimed_at_once(clock, seconds, expected):
    claimed = []
    for batches in _claims.claimed_together(range(100)):
        claimed.append(len(batches))
        clock.now += seconds * len(batches)
    assert claimed == expected
