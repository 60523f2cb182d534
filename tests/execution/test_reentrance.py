"""Pooling functions that transform sequences themselves: from within, from threads, and nested."""

import threading

import numpy as np
import pytest
from fair_esm_oracle import assert_faithful, fair_esm_residues

from sklearn_esm import ESMEmbeddingTransformer

SEQUENCES = ["MKTAYIAKQRQISFVKSHFSRQ", "GIGKFLHSAKKFGKAFVGEIMNS", "DRVYIHPF", "MKTAYIAKQRQISFVK"]


def within(seconds, call):
    """Return what a call returns; fail where it takes longer, as a deadlock would."""
    results = []
    thread = threading.Thread(target=lambda: results.append(call()), daemon=True)
    thread.start()
    thread.join(seconds)
    assert results, f"no result after {seconds} s"
    return results[0]


def means(checkpoint, layer):
    return np.array([s.mean(0) for s in fair_esm_residues(checkpoint, SEQUENCES, layer)])


@pytest.fixture
def inner(checkpoint, cache):
    """An estimator for the functions to use; the same sequences, model and cache."""
    return ESMEmbeddingTransformer(checkpoint.path, cache=cache).fit(SEQUENCES)


def outer(checkpoint, cache, pooling):
    return ESMEmbeddingTransformer(checkpoint.path, layer=[3, 1], pooling=pooling, cache=cache)


def test_a_function_may_transform_the_same_sequences(checkpoint, cache, inner):
    def first_of_all(residues):
        return inner.transform(SEQUENCES)[0]

    embed = outer(checkpoint, cache, first_of_all)
    matrix = within(30, lambda: embed.fit_transform(SEQUENCES))
    expected = np.tile(means(checkpoint, 3)[0], (len(SEQUENCES), 2))
    assert_faithful(matrix, expected)


def test_beside_a_named_pooling_too(checkpoint, cache, inner):
    def second_of_all(residues):
        return inner.transform(SEQUENCES)[1]

    embed = outer(checkpoint, cache, ["mean", second_of_all])
    matrix = within(30, lambda: embed.fit_transform(SEQUENCES))
    assert_faithful(matrix[:, :32], means(checkpoint, 3))
    assert_faithful(matrix[:, 64:96], means(checkpoint, 1))
    assert_faithful(matrix[:, 32:64], np.tile(means(checkpoint, 3)[1], (len(SEQUENCES), 1)))


def test_from_a_thread_of_the_function(checkpoint, cache, inner):
    def in_a_thread(residues):
        return within(20, lambda: inner.transform(SEQUENCES)[2])

    matrix = within(60, lambda: outer(checkpoint, cache, in_a_thread).fit_transform(SEQUENCES))
    assert_faithful(matrix[:, :32], np.tile(means(checkpoint, 3)[2], (len(SEQUENCES), 1)))


def test_a_function_of_a_function(checkpoint, cache, inner):
    def deepest(residues):
        return inner.transform(SEQUENCES[:1])[0]

    middle = ESMEmbeddingTransformer(checkpoint.path, pooling=deepest, cache=cache).fit(SEQUENCES)

    def outermost(residues):
        return middle.transform(SEQUENCES[:1])[0]

    matrix = within(60, lambda: outer(checkpoint, cache, outermost).fit_transform(SEQUENCES))
    assert_faithful(matrix[:, :32], np.tile(means(checkpoint, 3)[0], (len(SEQUENCES), 1)))


def test_with_workers_in_threads(checkpoint, cache, inner):
    from joblib import parallel_config

    def first_of_all(residues):
        return inner.transform(SEQUENCES)[0]

    embed = outer(checkpoint, cache, first_of_all).set_params(n_jobs=2, batch_tokens=30)
    with parallel_config("threading"):
        matrix = embed.fit_transform(SEQUENCES)
    assert_faithful(matrix[:, :32], np.tile(means(checkpoint, 3)[0], (len(SEQUENCES), 1)))
