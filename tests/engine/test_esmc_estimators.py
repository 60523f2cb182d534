"""The estimators on ESM C: pooling, windows, residues, likelihoods and scores of variants."""

from functools import cache

import numpy as np
import pytest
from esmc_oracle import (
    LAYERS,
    TOKENS,
    WIDTH,
    esmc_log_probabilities,
    esmc_residues,
    esmc_states,
    save_random_esmc,
)
from fair_esm_oracle import assert_faithful, residues_of
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_esm import ESMEmbeddingTransformer, ESMLikelihoodTransformer

PROTEIN = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQVKVKALP"
SEQUENCES = [PROTEIN[:37], "ACDEFGHIKLMNPQRSTVWYBUZOX", "KA<mask>ISQ", "A", "GLDALQITV", "QITVGLDAL"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_random_esmc(tmp_path_factory.mktemp("esmc"))


def embed(saved, sequences=SEQUENCES, **parameters):
    parameters = {"cache": None, **parameters}
    return ESMEmbeddingTransformer(saved.file, **parameters).fit_transform(sequences)


# embeddings

POOLINGS = {
    "mean": lambda states: states[1:-1].mean(0),
    "max": lambda states: states[1:-1].max(0),
    "min": lambda states: states[1:-1].min(0),
    "sum": lambda states: states[1:-1].sum(0),
    "std": lambda states: states[1:-1].std(0),
    "bos": lambda states: states[0],
    "eos": lambda states: states[-1],
}


@pytest.mark.parametrize("layer", [0, -2, LAYERS])
def test_every_pooling_equals_transformers(saved, layer):
    actual = embed(saved, layer=layer, pooling=list(POOLINGS))  # (sequences, poolings x width)
    number = layer % (LAYERS + 1)
    for row, states in zip(actual, esmc_states(saved, SEQUENCES, number), strict=True):
        for part, pool in zip(row.reshape(len(POOLINGS), WIDTH), POOLINGS.values(), strict=True):
            expected = pool(states.astype(np.float64))
            # relative to the row, as `assert_faithful`; and a deviation of equal numbers is rounding
            assert_allclose(part, expected, rtol=0, atol=1e-5 * np.abs(expected).max() + 2e-5)


def test_all_layers_side_by_side_equal_transformers(saved):
    actual = embed(saved, layer="all").reshape(len(SEQUENCES), LAYERS + 1, WIDTH)
    for layer in range(LAYERS + 1):
        expected = [states.mean(0) for states in esmc_residues(saved, SEQUENCES, layer)]
        assert_faithful(actual[:, layer], np.stack(expected))


def test_residues_equal_transformers(saved):
    for actual, expected in zip(
        embed(saved, pooling=None, layer=2), esmc_residues(saved, SEQUENCES, 2), strict=True
    ):
        assert_faithful(actual, expected)


def test_windows_equal_transformers(saved):
    window, length = 20, len(PROTEIN)
    starts = [*range(0, length - window, window // 2), length - window]
    parts = esmc_residues(saved, [PROTEIN[start : start + window] for start in starts], LAYERS)
    residues = []
    for position in range(length):
        # how far the nearest end of a window is; the first of equals
        distances = [min(position - start, start + window - 1 - position) for start in starts]
        best = int(np.argmax(distances))
        residues.append(parts[best][position - starts[best]])
    (actual,) = embed(saved, [PROTEIN], overlong="window", max_length=window, pooling=None)
    assert_faithful(actual, np.stack(residues))


def test_no_length_is_too_long(saved):
    assert embed(saved, [PROTEIN * 40]).shape == (1, WIDTH)


def test_a_second_transform_comes_from_the_cache(saved, tmp_path):
    first = embed(saved, cache=tmp_path)
    estimator = ESMEmbeddingTransformer(saved.file, cache=tmp_path)
    misses = estimator.cache_info().misses
    assert_array_equal(estimator.fit_transform(SEQUENCES), first)
    assert estimator.cache_info().misses == misses


# likelihoods


@cache
def log_probability(saved, sequence, position, residue, masked):
    residues = residues_of(sequence)
    if masked:
        residues[position] = "<mask>"
    table = esmc_log_probabilities(saved, "".join(residues))
    return float(table[1 + position, TOKENS.index(residue)])


def terms(saved, sequence, masked):
    return np.array(
        [
            log_probability(saved, sequence, position, residue, masked)
            for position, residue in enumerate(residues_of(sequence))
            if residue != "<mask>"
        ]
    )


def test_likelihoods_equal_transformers(saved):
    methods = ["log-likelihood", "pseudo-log-likelihood", "pseudo-perplexity"]
    score = ESMLikelihoodTransformer(saved.file, method=methods, cache=None)
    expected = [
        [
            terms(saved, one, False).sum(),
            terms(saved, one, True).sum(),
            np.exp(-terms(saved, one, True).mean()),
        ]
        for one in SEQUENCES
    ]
    assert_allclose(score.fit_transform(SEQUENCES), expected, rtol=1e-5)


@pytest.mark.parametrize("method", ["masked-marginals", "wt-marginals"])
def test_scores_of_variants_equal_transformers(saved, method):
    reference = "MKTAYIAKQRQISFVKSH"
    variants = [reference, "MKTAYIAKQRQISFVKSW", "AKTAYIWKQGQISFVKSW", "MKTAYIXKQRQISFVKSH"]
    masked = method == "masked-marginals"
    expected = [
        sum(
            log_probability(saved, reference, i, new, masked)
            - log_probability(saved, reference, i, old, masked)
            for i, (old, new) in enumerate(zip(reference, variant, strict=True))
            if old != new
        )
        for variant in variants
    ]
    score = ESMLikelihoodTransformer(saved.file, method=method, reference=reference, cache=None)
    assert_allclose(score.fit_transform(variants)[:, 0], expected, rtol=1e-5, atol=1e-5)
