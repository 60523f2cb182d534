"""The memory cache by itself, and through the estimator: it may forget, and never be wrong."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from fair_esm_oracle import assert_faithful, save_random_checkpoint
from numpy.testing import assert_array_equal
from sklearn.base import clone

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm._cache import MEMORY_CACHE, Key, open_cache
from sklearn_esm._cache._interface import NoCache
from sklearn_esm._cache._memory import MemoryCache

SEQUENCES = ["MKTAYIAKQRQIS", "GLDALQITV", "A", "GIGKFLHSAKKFGKAFV"]
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


# the cache by itself


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
    ],
    ids=lambda change: next(iter(change)),
)
def test_keys_that_differ_in_one_field_are_different(change):
    cache = MemoryCache(10**6)
    cache.put({KEY: vector(1)})
    assert set(change) <= set(Key._fields)
    assert get(cache, KEY._replace(**change)) is None


def test_every_field_of_the_key_is_tried_above():
    assert Key._fields == ("fingerprint", "dtype", "layer", "pooling", "window", "sequence")


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
        assert memory is MEMORY_CACHE
        assert isinstance(nothing, NoCache)


# through the estimator


@pytest.fixture
def second(tmp_path):
    return save_random_checkpoint(tmp_path / "second.pt", "esm1b", seed=1).path


def embed(path, sequences=SEQUENCES, **parameters):
    return ESMEmbeddingTransformer(path, **parameters).fit_transform(sequences)


def test_a_sequence_is_embedded_once_whoever_asks(checkpoints, embedded):
    path = checkpoints["esm2"].path
    first = embed(path)
    transformer = ESMEmbeddingTransformer(path).fit(SEQUENCES)
    for again in (transformer, clone(transformer).fit(["A"])):
        assert_array_equal(again.transform(SEQUENCES[::-1]), first[::-1])
    assert sorted(embedded) == sorted(SEQUENCES)


def test_repeated_sequences_are_embedded_once(checkpoints, embedded):
    embed(checkpoints["esm2"].path, ["MKT", "A", "mkt ", "MKT"], cache=None)
    assert sorted(embedded) == ["A", "MKT"]


def test_only_what_is_missing_is_embedded(checkpoints, embedded):
    path = checkpoints["esm2"].path
    embed(path, SEQUENCES[:2])
    embedded.clear()
    actual = embed(path)
    assert sorted(embedded) == sorted(SEQUENCES[2:])
    assert_faithful(actual, embed(path, cache=None))


def test_no_cache_embeds_again(checkpoints, embedded):
    for _ in range(2):
        embed(checkpoints["esm2"].path, cache=None)
    assert sorted(embedded) == sorted(2 * SEQUENCES)
    assert MEMORY_CACHE.bytes == 0


def test_batch_size_does_not_enter_the_key(checkpoints, embedded):
    path = checkpoints["esm2"].path
    assert_array_equal(embed(path, batch_tokens=7), embed(path, batch_tokens=500))
    assert sorted(embedded) == sorted(SEQUENCES)


def test_the_same_weights_under_another_name_are_recognised(checkpoints, tmp_path, embedded):
    copy = shutil.copy(checkpoints["esm2"].path, tmp_path / "copy.pt")
    assert_array_equal(embed(checkpoints["esm2"].path), embed(copy))
    assert sorted(embedded) == sorted(SEQUENCES)


def test_a_changed_matrix_does_not_change_the_cache(checkpoints):
    path = checkpoints["esm2"].path
    first = embed(path)
    before = first.copy()
    first[:] = 0
    assert_array_equal(embed(path), before)


@pytest.mark.parametrize(
    "sequence_of_parameters",
    [
        [{"layer": layer} for layer in (-1, 0, 2, [1, 3], "all")],
        [
            {"pooling": pooling}
            for pooling in ("mean", "max", ["min", "mean"], "std", "bos", "eos", "sum")
        ],
        [{"dtype": dtype} for dtype in ("float32", "bfloat16", "float16")],
        [{"overlong": "truncate", "max_length": limit} for limit in (None, 5, 10)]
        + [{"overlong": "window", "max_length": limit} for limit in (5, 10, None)]
        + [{"overlong": "error"}],
        [{"invalid": policy} for policy in ("mask", "unknown", "drop")],
        [{"layer": 1, "pooling": "max"}, {"layer": 2, "pooling": "mean"}, {"layer": [1, 2]}],
    ],
    ids=["layer", "pooling", "dtype", "overlong", "invalid", "layer and pooling"],
)
def test_no_change_of_parameters_gives_a_stale_vector(checkpoints, sequence_of_parameters):
    path = checkpoints["esm1b"].path
    sequences = ["MK*TAY", "GLDA-L", "JA"] if "invalid" in sequence_of_parameters[0] else SEQUENCES
    # once up and once down, so that every setting follows and precedes others
    for parameters in sequence_of_parameters + sequence_of_parameters[::-1]:
        fresh = embed(path, sequences, cache=None, **parameters)
        assert_faithful(embed(path, sequences, **parameters), fresh)


def test_every_such_change_changes_the_values(checkpoints):
    # the counter-check: where values were equal, a stale vector would not show
    path = checkpoints["esm1b"].path
    for changes in (
        [{"overlong": "truncate", "max_length": limit} for limit in (5, 10)]
        + [{"overlong": "window", "max_length": limit} for limit in (5, 10, None)],
        [{"dtype": dtype} for dtype in ("float32", "bfloat16", "float16")],
    ):
        matrices = [embed(path, cache=None, **change) for change in changes]
        assert all(np.abs(a - b).max() > 1e-4 for a, b in pairwise(matrices))


def test_another_model_does_not_give_a_stale_vector(checkpoints, second):
    for path in (checkpoints["esm1b"].path, second, checkpoints["esm1b"].path):
        assert_faithful(embed(path), embed(path, cache=None))
    assert np.abs(embed(second) - embed(checkpoints["esm1b"].path)).max() > 0.1


def test_a_function_is_never_taken_from_the_cache(checkpoints):
    path = checkpoints["esm2"].path
    matrices = []
    for scale in (1, 2):

        def scaled(residues, scale=scale):
            return scale * residues.mean(0)

        matrices.append(embed(path, pooling=scaled))
    assert_array_equal(matrices[1], 2 * matrices[0])


def test_a_truncated_sequence_shares_the_entry_of_the_shorter_one(checkpoints, embedded):
    path = checkpoints["esm2"].path
    shorter = embed(path, [sequence[:5] for sequence in SEQUENCES])
    embedded.clear()
    assert_array_equal(embed(path, overlong="truncate", max_length=5), shorter)
    assert embedded == []


def test_a_sequence_that_fits_into_a_window_shares_the_entry_of_the_whole(checkpoints, embedded):
    path = checkpoints["esm2"].path
    embed(path)
    embedded.clear()
    embed(path, overlong="window", max_length=13)
    assert embedded == ["GIGKFLHSAKKFGKAFV"]


def test_a_search_after_precompute_does_not_run_the_model(checkpoints, embedded):
    path = checkpoints["esm2"].path
    ESMEmbeddingTransformer(path).precompute(SEQUENCES, poolings=["mean", "max"])
    embedded.clear()
    for layer in range(-1, 4):
        for pooling in ("mean", "max"):
            actual = embed(path, layer=layer, pooling=pooling)
            assert embedded == []
            fresh = embed(path, layer=layer, pooling=pooling, cache=None)
            embedded.clear()
            assert_faithful(actual, fresh)
