"""The output is held once: results are written into it as they arrive. Bytes that numpy allocates."""

import tracemalloc

import numpy as np
import pytest
from fair_esm_oracle import LAYERS, WIDTH
from numpy.testing import assert_array_equal

from sklearn_esm import ESMContactTransformer, ESMEmbeddingTransformer

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
ALL_LAYERS = list(range(LAYERS + 1))


def proteins(count, residues):
    """Return distinct sequences."""
    rng = np.random.default_rng(0)
    return ["".join(rng.choice(list(RESIDUES), residues)) for _ in range(count)]


def size_of(rows):
    return sum(row.nbytes for row in rows)


def transform_counted(estimator, sequences):
    """Return the output, and the peak of the bytes allocated for it."""
    estimator.fit(sequences).transform(sequences[:2])  # loads the model
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        rows = estimator.transform(sequences)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return rows, peak - before


ESTIMATORS = {
    "residues": (ESMEmbeddingTransformer, {"pooling": None}, 200),
    "residues of all layers": (ESMEmbeddingTransformer, {"pooling": None, "layer": "all"}, 100),
    "maps": (ESMContactTransformer, {}, 150),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_peak_of_arrays_is_little_more_than_the_output(checkpoint, name):
    kind, parameters, count = ESTIMATORS[name]
    if kind is ESMEmbeddingTransformer:
        parameters = {**parameters, "batch_tokens": 1}  # so that a batch is a small part of the output
    estimator = kind(checkpoint.path, cache=None, **parameters)
    rows, peak = transform_counted(estimator, proteins(count, 150))
    assert size_of(rows) > 3_500_000
    assert peak < 1.1 * size_of(rows)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_repeated_sequences_get_copies_and_no_more(checkpoint, name):
    kind, parameters, count = ESTIMATORS[name]
    estimator = kind(checkpoint.path, cache=None, **parameters)
    few = proteins(5, 150)
    rows, peak = transform_counted(estimator, [few[row % 5] for row in range(count)])
    assert peak < 1.3 * size_of(rows)  # a batch of five sequences is a large part of it
    assert len({row.__array_interface__["data"][0] for row in rows}) == count
    for row in range(count):
        assert_array_equal(rows[row], rows[row % 5])


@pytest.mark.parametrize("repeats", [1, 8])
def test_a_matrix_is_held_once(checkpoint, repeats):
    estimator = ESMEmbeddingTransformer(
        checkpoint.path, layer="all", pooling=["mean", "max", "std"], cache=None, batch_tokens=1
    )
    sequences = proteins(4000 // repeats, 10) * repeats
    rows, peak = transform_counted(estimator, sequences)
    assert rows.nbytes == 4000 * len(ALL_LAYERS) * 3 * WIDTH * 4
    # the rest is a few hundred bytes of Python objects for each sequence
    assert peak < 1.1 * rows.nbytes + 700 * len(set(sequences))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_array_has_memory_of_its_own_that_can_be_written(checkpoint, name):
    kind, parameters, _ = ESTIMATORS[name]
    few = proteins(3, 30)
    rows = kind(checkpoint.path, missing="nan", **parameters).fit_transform([*few, few[1], None])
    for row in rows:
        assert row.flags.owndata
        assert row.flags.writeable
        assert row.flags.c_contiguous
        assert row.dtype == np.float32
