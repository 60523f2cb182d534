"""The memory cache by itself: it may forget, and never be wrong."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sklearn_esm._cache import MEMORY_CACHE, Key, open_cache
from sklearn_esm._cache._interface import NoCache
from sklearn_esm._cache._memory import MemoryCache

KEY = Key("0f3a", "float32", 6, "mean", 0, "MKT")


def key(number):
    return KEY._replace(sequence=f"{number:04d}")


def vector(value, width=100):
    return np.full(width, value, dtype=np.float32)


def get(cache, key):
    (found,) = cache.get([key])
    return found


def size_of_one():
    cache = MemoryCache(10**6)
    cache.put({key(0): vector(0)})
    return cache.bytes


def test_a_vector_comes_back_as_it_was_put():
    cache = MemoryCache(10**6)
    cache.put({key(1): vector(0.1)})
    assert_array_equal(get(cache, key(1)), vector(0.1))


def test_what_was_never_put_is_not_there():
    assert get(MemoryCache(10**6), key(1)) is None


@pytest.mark.parametrize(
    "change",
    [
        {"fingerprint": "0f3b"},
        {"dtype": "float16"},
        {"layer": 5},
        {"pooling": "max"},
        {"window": 40},
        {"sequence": "MKTA"},
        {"masked": (1,)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_keys_that_differ_in_one_field_are_different(change):
    cache = MemoryCache(10**6)
    cache.put({KEY: vector(1)})
    assert set(change) <= set(Key._fields)
    assert get(cache, KEY._replace(**change)) is None


def test_every_field_of_the_key_is_tried_above():
    assert Key._fields == ("fingerprint", "dtype", "layer", "pooling", "window", "sequence", "masked")


def test_a_second_vector_under_a_key_replaces_the_first():
    cache = MemoryCache(10**6)
    cache.put({key(1): vector(1)})
    cache.put({key(1): vector(2)})
    assert_array_equal(get(cache, key(1)), vector(2))
    assert cache.bytes == size_of_one()


def test_the_least_recently_used_is_forgotten_first():
    cache = MemoryCache(3 * size_of_one())
    for number in (0, 1, 2):
        cache.put({key(number): vector(number)})
    get(cache, key(0))
    cache.put({key(1): vector(1)})
    cache.put({key(3): vector(3)})  # the one too many
    assert [number for number in range(4) if get(cache, key(number)) is None] == [2]


def test_the_bound_is_in_bytes_and_counts_vectors_and_sequences():
    cache = MemoryCache(50_000)
    for number in range(200):
        cache.put({KEY._replace(sequence="A" * number): vector(number)})
        assert cache.bytes <= 50_000
    held = [
        number for number in range(200) if get(cache, KEY._replace(sequence="A" * number)) is not None
    ]
    assert held == list(range(200 - len(held), 200))  # the latest
    data = sum(4 * 100 + number for number in held)
    assert data < 50_000 < data + (len(held) + 1) * 1000
    assert cache.bytes > data


def test_a_vector_larger_than_the_bound_is_not_kept():
    cache = MemoryCache(1000)
    cache.put({key(1): vector(1, width=1000)})
    assert get(cache, key(1)) is None
    assert cache.bytes == 0


def test_a_vector_larger_than_the_bound_displaces_no_other():
    cache = MemoryCache(2 * size_of_one())
    cache.put({key(1): vector(1)})
    cache.put({key(2): vector(2, width=10_000)})
    assert_array_equal(get(cache, key(1)), vector(1))


def use(cache, numbers):
    """Do as a transform does: look everything up, and put what is missing. Return how much that is."""
    with cache.call() as call:
        found = call.get([key(number) for number in numbers])
        missing = [number for number, vector in zip(numbers, found, strict=True) if vector is None]
        for number in missing:
            call.put({key(number): vector(number)})
    return len(missing)


def test_a_call_that_needs_more_than_the_bound_keeps_what_it_stored_first():
    cache = MemoryCache(70 * size_of_one())
    assert use(cache, range(100)) == 100
    assert use(cache, range(100)) == use(cache, range(99, -1, -1)) == 30
    held = [number for number in range(100) if get(cache, key(number)) is not None]
    assert held == list(range(70))
    assert cache.bytes == 70 * size_of_one()


def test_a_call_displaces_what_earlier_calls_used():
    cache = MemoryCache(70 * size_of_one())
    use(cache, range(70))
    assert use(cache, range(30)) == 0
    assert use(cache, range(100, 140)) == 40
    held = [number for number in range(140) if get(cache, key(number)) is not None]
    assert held == [*range(30), *range(100, 140)]


def test_a_call_displaces_nothing_that_another_running_call_uses():
    cache = MemoryCache(3 * size_of_one())
    with cache.call() as first:
        first.put({key(1): vector(1), key(2): vector(2)})
        assert use(cache, [3, 4]) == 2
        assert first.get([key(4)]) == [None]
        assert_array_equal(first.get([key(1), key(2)]), [vector(1), vector(2)])
    assert use(cache, [3, 4]) == 1
    assert use(cache, [1, 2]) == 1  # the first call has ended


def test_a_call_that_was_running_at_a_fork_does_not_fill_the_cache_for_ever(monkeypatch):
    cache = MemoryCache(2 * size_of_one())
    with cache.call() as call:
        call.put({key(1): vector(1), key(2): vector(2)})
        parent = os.getpid()
        monkeypatch.setattr(os, "getpid", lambda: parent + 1)  # as in the child
        assert use(cache, [3, 4]) == 2
        assert use(cache, [3, 4]) == 0


def test_pruning_to_nothing_forgets_everything():
    cache = MemoryCache(10**6)
    cache.put({key(1): vector(1)})
    cache.prune(0)
    assert get(cache, key(1)) is None
    assert cache.bytes == 0


def test_an_entry_is_not_changed_by_what_happens_to_the_batch():
    cache = MemoryCache(10**6)
    batch = np.ones((1000, 100), dtype=np.float32)
    cache.put({key(1): batch[3]})
    batch[:] = 2
    assert_array_equal(get(cache, key(1)), vector(1))


def test_an_entry_does_not_keep_its_batch_alive():
    cache = MemoryCache(10**6)
    cache.put({key(1): np.ones((1000, 100), dtype=np.float32)[3]})
    assert get(cache, key(1)).base is None


def test_an_entry_cannot_be_written_to():
    cache = MemoryCache(10**6)
    cache.put({key(1): vector(1)})
    with pytest.raises(ValueError, match="read-only"):
        get(cache, key(1))[0] = 2


def test_what_was_put_can_still_be_written_to():
    mine = vector(1)
    MemoryCache(10**6).put({key(1): mine})
    mine[0] = 2
    assert mine[0] == 2


def test_threads_lose_no_byte_of_the_account():
    cache = MemoryCache(20 * size_of_one())

    def work(seed):
        for number in np.random.default_rng(seed).integers(0, 40, size=2000):
            found = get(cache, key(number))
            assert found is None or (found == number).all()
            cache.put({key(number): vector(number)})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    held = [number for number in range(40) if get(cache, key(number)) is not None]
    assert cache.bytes == len(held) * size_of_one()
    assert len(held) == 20


def test_no_cache_remembers_nothing():
    cache = NoCache()
    cache.put({KEY: vector(1)})
    assert get(cache, KEY) is None


def test_the_parameter_names_the_cache():
    with open_cache("memory", "0f3a") as memory, open_cache(None, "0f3a") as nothing:
        memory.put({KEY: vector(1)})
        assert_array_equal(get(MEMORY_CACHE, KEY), vector(1))
        assert isinstance(nothing, NoCache)
