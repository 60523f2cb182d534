"""The batches and passes planned for a GPU: full, and no more than its kernels accept."""

import math
from collections import deque

import numpy as np
import pytest
import torch

from sklearn_esm._engine import _variable_length_attention as varlen
from sklearn_esm._execution._outputs import pooled_states
from sklearn_esm._execution._pieces import Item, cut, plan_batches, take_pass, tokens_of
from sklearn_esm._execution._request import Request

BUDGET = 32_768
RNG = np.random.default_rng(0)
WORKLOADS = {
    # lengths spread as in a proteome
    "proteins": np.clip(RNG.lognormal(5.6, 0.6, 1104), 30, 1022).astype(int).tolist(),
    "peptides": RNG.integers(10, 41, 20_000).tolist(),
    "single residues": [1] * 30_000,
}


def request(device, dtype="float32", batch_tokens=None):
    output = pooled_states([6], ["mean"], 320)
    return Request("model", "fingerprint", output, device, dtype, None, batch_tokens, 320)


@pytest.mark.parametrize(
    ("device", "tokens"), [("cpu", 512), ("mps", 8192), ("cuda", BUDGET), ("cuda:1", BUDGET)]
)
def test_each_device_has_its_number_of_tokens(device, tokens):
    assert request(device).tokens_per_batch() == tokens
    assert request(device, batch_tokens=100).tokens_per_batch() == 100


@pytest.mark.parametrize(
    ("cuda", "dtype", "tokens"),
    [(True, "float32", BUDGET), (False, "float32", 512), (True, "int8", 512)],
)
def test_without_a_device_it_is_that_of_the_best_one(monkeypatch, cuda, dtype, tokens):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert request(None, dtype).tokens_per_batch() == tokens


@pytest.mark.parametrize("name", WORKLOADS)
def test_batches_are_full_and_one_pass_each(name):
    items = [Item("A" * length) for length in WORKLOADS[name]]
    batches = plan_batches(items, BUDGET, None)
    assert sorted(row for batch in batches for row in batch.rows) == list(range(len(items)))
    sizes = []
    for batch in batches:
        pieces = deque(cut(batch, None))
        sizes.append(tokens_of(take_pass(pieces, BUDGET)))
        assert not pieces
        assert len(batch.rows) <= varlen._MOST_SEQUENCES
        lengths = [len(item.sequence) for item in batch.items]
        assert lengths == sorted(lengths, reverse=True)
    tokens = sum(len(item.sequence) + 2 for item in items)
    assert sum(sizes) == tokens
    assert max(sizes) <= BUDGET
    # a batch is short of the budget by less than the next sequence
    assert len(batches) == pytest.approx(math.ceil(tokens / BUDGET), rel=0.03)


def test_masked_copies_of_a_protein_fill_passes():
    (batch,) = plan_batches([Item("A" * 500, tuple(range(500)))], BUDGET, None)
    pieces, passes = deque(cut(batch, None)), []
    while pieces:
        passes.append(len(take_pass(pieces, BUDGET)))
    assert passes == [65] * 7 + [45]  # 65 x 502 tokens are the most below the budget


def test_a_sequence_longer_than_the_budget_is_alone():
    batches = plan_batches([Item("A" * length) for length in (34_350, 30, 20)], BUDGET, None)
    assert [batch.rows for batch in batches] == [(0,), (1, 2)]
