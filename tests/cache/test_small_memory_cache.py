"""Transforms whose vectors exceed the memory cache: a warning, and as few passes as its size allows."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from sklearn_esm import ESMEmbeddingTransformer, ESMLikelihoodTransformer
from sklearn_esm._cache import MEMORY_CACHE, cache_info

SEQUENCES = ["A" * number for number in range(1, 41)]
MESSAGE = (
    r"The vectors of this call need {:,.1f} MiB, and the memory cache keeps {:,.1f} MiB, so some are "
    r"computed again the next time. Set cache to a folder, or use fewer sequences, layers or poolings."
)


@pytest.fixture
def needed(checkpoint, monkeypatch):
    """Make the memory cache a byte smaller than the vectors need, and return what they need."""
    ESMEmbeddingTransformer(checkpoint.path).fit_transform(SEQUENCES)
    needed = MEMORY_CACHE.bytes
    MEMORY_CACHE.prune(0)
    monkeypatch.setattr(MEMORY_CACHE, "max_bytes", needed - 1)
    return needed


def misses_of(call):
    before = cache_info("memory").misses
    call()
    return cache_info("memory").misses - before


def warnings_of(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return caught


def test_every_transform_warns_once_with_both_sizes_at_the_line_of_the_user(checkpoint, needed):
    embed = ESMEmbeddingTransformer(checkpoint.path).fit(SEQUENCES)
    model = make_pipeline(embed, Ridge())
    calls = [
        lambda: embed.transform(SEQUENCES),
        lambda: embed.fit_transform(SEQUENCES * 2),
        lambda: embed.precompute(SEQUENCES, layers=[-1]),
        lambda: model.fit(SEQUENCES, np.arange(40)),
        lambda: model.predict(SEQUENCES),
    ]
    for call in calls:
        (warned,) = warnings_of(call)
        assert warned.category is UserWarning
        assert str(warned.message) == MESSAGE.format(needed / 2**20, (needed - 1) / 2**20)
        assert Path(warned.filename) == Path(__file__)
        assert warned.lineno == call.__code__.co_firstlineno


def test_what_fits_does_not_warn(checkpoint, needed):
    embed = ESMEmbeddingTransformer(checkpoint.path).fit(SEQUENCES)
    assert warnings_of(lambda: embed.transform(SEQUENCES[1:])) == []
    assert warnings_of(lambda: embed.set_params(cache=None).transform(SEQUENCES)) == []
    embed.set_params(pooling=lambda residues: residues.mean(axis=0)[:3], cache="memory")
    assert warnings_of(lambda: embed.fit_transform(SEQUENCES * 2)) == []  # is not cached


def test_log_probabilities_are_counted_as_they_are_kept(checkpoint, monkeypatch):
    likelihood = ESMLikelihoodTransformer(checkpoint.path)
    likelihood.fit_transform(SEQUENCES)
    needed = MEMORY_CACHE.bytes
    monkeypatch.setattr(MEMORY_CACHE, "max_bytes", needed)
    assert warnings_of(lambda: likelihood.transform(SEQUENCES)) == []
    monkeypatch.setattr(MEMORY_CACHE, "max_bytes", needed - 1)
    assert len(warnings_of(lambda: likelihood.transform(SEQUENCES))) == 1


@pytest.mark.filterwarnings("ignore:The vectors of this call")
def test_a_second_transform_runs_only_what_was_not_kept(checkpoint, needed, monkeypatch):
    embed = ESMEmbeddingTransformer(checkpoint.path).fit(SEQUENCES)
    monkeypatch.setattr(MEMORY_CACHE, "max_bytes", needed // 2)
    assert misses_of(lambda: embed.transform(SEQUENCES)) == 40
    kept = cache_info("memory").vectors
    assert 18 <= kept <= 20
    for order in (1, -1):
        assert misses_of(lambda order=order: embed.transform(SEQUENCES[::order])) == 40 - kept
        assert cache_info("memory").vectors >= kept - 1
