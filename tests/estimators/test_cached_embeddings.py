"""Through the estimator, in memory and in a folder: each sequence once, and never a stale vector."""

import os
import shutil
from itertools import pairwise

import numpy as np
import pytest
from fair_esm_oracle import LAYERS, assert_faithful, fair_esm_residues, save_random_checkpoint
from numpy.testing import assert_array_equal
from sklearn.base import clone

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm._cache import MEMORY_CACHE

pytestmark = pytest.mark.no_cover

SEQUENCES = ["MKTAYIAKQRQIS", "GLDALQITV", "A", "GIGKFLHSAKKFGKAFV"]


@pytest.fixture
def embed(cache):
    """The matrix of some sequences, from a new estimator with the cache in turn."""

    def embed(path, sequences=SEQUENCES, **parameters):
        return ESMEmbeddingTransformer(path, cache=cache, **parameters).fit_transform(sequences)

    return embed


def fresh(path, sequences=SEQUENCES, **parameters):
    """The matrix of some sequences, computed now."""
    return ESMEmbeddingTransformer(path, cache=None, **parameters).fit_transform(sequences)


def fair_esm_means(checkpoint):
    return np.stack([states.mean(0) for states in fair_esm_residues(checkpoint, SEQUENCES, LAYERS)])


# Each sequence once


def test_a_sequence_is_embedded_once_whoever_asks(checkpoints, embed, cache, embedded):
    path = checkpoints["esm2"].path
    first = embed(path)
    transformer = ESMEmbeddingTransformer(path, cache=cache).fit(SEQUENCES)
    for again in (transformer, clone(transformer).fit(["A"])):
        assert_array_equal(again.transform(SEQUENCES[::-1]), first[::-1])
    assert sorted(embedded) == sorted(SEQUENCES)


def test_cached_vectors_are_fair_esms(checkpoints, embed, embedded):
    for _ in range(2):
        assert_faithful(embed(checkpoints["esm2"].path), fair_esm_means(checkpoints["esm2"]))
    assert sorted(embedded) == sorted(SEQUENCES)


def test_repeated_sequences_are_embedded_once(checkpoints, embed, embedded):
    embed(checkpoints["esm2"].path, ["MKT", "A", "mkt ", "MKT"])
    assert sorted(embedded) == ["A", "MKT"]


def test_repeated_sequences_are_embedded_once_without_a_cache(checkpoints, embedded):
    fresh(checkpoints["esm2"].path, ["MKT", "A", "mkt ", "MKT"])
    assert sorted(embedded) == ["A", "MKT"]


def test_only_what_is_missing_is_embedded(checkpoints, embed, embedded):
    path = checkpoints["esm2"].path
    embed(path, SEQUENCES[:2])
    embedded.clear()
    actual = embed(path)
    assert sorted(embedded) == sorted(SEQUENCES[2:])
    assert_faithful(actual, fresh(path))


def test_no_cache_embeds_again(checkpoints, embedded):
    for _ in range(2):
        fresh(checkpoints["esm2"].path)
    assert sorted(embedded) == sorted(2 * SEQUENCES)
    assert MEMORY_CACHE.bytes == 0


def test_a_folder_leaves_the_memory_cache_empty(checkpoints, tmp_path):
    transformer = ESMEmbeddingTransformer(checkpoints["esm2"].path, cache=tmp_path / "cache")
    transformer.fit_transform(SEQUENCES)
    assert MEMORY_CACHE.bytes == 0


def test_batch_size_does_not_enter_the_key(checkpoints, embed, embedded):
    path = checkpoints["esm2"].path
    assert_array_equal(embed(path, batch_tokens=7), embed(path, batch_tokens=500))
    assert sorted(embedded) == sorted(SEQUENCES)


def test_the_same_weights_under_another_name_are_recognised(checkpoints, tmp_path, embed, embedded):
    copy = shutil.copy(checkpoints["esm2"].path, tmp_path / "copy.pt")
    assert_array_equal(embed(checkpoints["esm2"].path), embed(copy))
    assert sorted(embedded) == sorted(SEQUENCES)


def test_a_truncated_sequence_shares_the_entry_of_the_shorter_one(checkpoints, embed, embedded):
    path = checkpoints["esm2"].path
    shorter = embed(path, [sequence[:5] for sequence in SEQUENCES])
    embedded.clear()
    assert_array_equal(embed(path, overlong="truncate", max_length=5), shorter)
    assert embedded == []


def test_a_sequence_that_fits_into_a_window_shares_the_entry_of_the_whole(checkpoints, embed, embedded):
    path = checkpoints["esm2"].path
    embed(path)
    embedded.clear()
    embed(path, overlong="window", max_length=13)
    assert embedded == ["GIGKFLHSAKKFG", "FLHSAKKFGKAFV"]


def test_a_search_after_precompute_does_not_run_the_model(checkpoints, embed, cache, embedded):
    path = checkpoints["esm2"].path
    transformer = ESMEmbeddingTransformer(path, cache=cache)
    transformer.precompute(SEQUENCES, poolings=["mean", "max"])
    embedded.clear()
    for layer in range(-1, 4):
        for pooling in ("mean", "max"):
            actual = embed(path, layer=layer, pooling=pooling)
            assert embedded == []
            expected = fresh(path, layer=layer, pooling=pooling)
            embedded.clear()
            assert_faithful(actual, expected)


# Never a stale vector


def test_a_changed_matrix_does_not_change_the_cache(checkpoints, embed):
    path = checkpoints["esm2"].path
    first = embed(path)
    before = first.copy()
    first[:] = 0
    second = embed(path)
    assert_array_equal(second, before)
    second[:] = 0  # this one came from the cache
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
def test_no_change_of_parameters_gives_a_stale_vector(checkpoints, embed, sequence_of_parameters):
    path = checkpoints["esm1b"].path
    sequences = ["MK*TAY", "GLDA-L", "JA"] if "invalid" in sequence_of_parameters[0] else SEQUENCES
    # once up and once down, so that every setting follows and precedes others
    for parameters in sequence_of_parameters + sequence_of_parameters[::-1]:
        expected = fresh(path, sequences, **parameters)
        assert_faithful(embed(path, sequences, **parameters), expected)


def test_every_such_change_changes_the_values(checkpoints):
    # the counter-check: where values were equal, a stale vector would not show
    path = checkpoints["esm1b"].path
    for changes in (
        [{"overlong": "truncate", "max_length": limit} for limit in (5, 10)]
        + [{"overlong": "window", "max_length": limit} for limit in (5, 10, None)],
        [{"dtype": dtype} for dtype in ("float32", "bfloat16", "float16")],
    ):
        matrices = [fresh(path, **change) for change in changes]
        assert all(np.abs(a - b).max() > 1e-4 for a, b in pairwise(matrices))


def test_another_model_does_not_give_a_stale_vector(checkpoints, tmp_path, embed):
    first = checkpoints["esm1b"].path
    second = save_random_checkpoint(tmp_path / "second.pt", "esm1b", seed=1).path
    for path in (first, second, first):
        assert_faithful(embed(path), fresh(path))
    assert np.abs(embed(second) - embed(first)).max() > 0.1


@pytest.mark.parametrize(
    "times",
    [
        (1, 2, 3),
        pytest.param(
            (1, 1, 1), marks=pytest.mark.skipif(os.name == "nt", reason="needs the inode's change time")
        ),
    ],
    ids=["times differ", "one time"],
)
def test_weights_replaced_in_place_do_not_give_a_stale_vector(tmp_path, embed, times):
    first, second = (
        save_random_checkpoint(tmp_path / f"{seed}.pt", "esm2", seed=seed) for seed in (1, 2)
    )
    path = tmp_path / "mine.pt"
    for checkpoint, seconds in zip((first, second, first), times, strict=True):
        shutil.copyfile(checkpoint.path, path)
        os.utime(path, (seconds, seconds))
        for _ in range(2):
            assert_faithful(embed(path), fair_esm_means(checkpoint))
    assert first.path.stat().st_size == second.path.stat().st_size
    assert np.abs(fair_esm_means(first) - fair_esm_means(second)).max() > 0.1


def test_a_function_is_never_taken_from_the_cache(checkpoints, embed):
    path = checkpoints["esm2"].path
    matrices = []
    for scale in (1, 2):

        def scaled(residues, scale=scale):
            return scale * residues.mean(0)

        matrices.append(embed(path, pooling=scaled))
    assert_array_equal(matrices[1], 2 * matrices[0])


@pytest.mark.parametrize("named_first", [True, False])
def test_a_function_beside_a_name_is_never_taken_from_the_cache(checkpoints, embed, named_first):
    path = checkpoints["esm2"].path
    mean = embed(path)
    for scale in (1, 2):

        def scaled(residues, scale=scale):
            return scale * residues.mean(0)

        expected = [mean, scale * mean] if named_first else [scale * mean, mean]
        actual = embed(path, pooling=["mean", scaled] if named_first else [scaled, "mean"])
        assert_faithful(actual, np.hstack(expected))
