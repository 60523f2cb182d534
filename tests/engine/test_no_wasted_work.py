"""Work that is not asked for is not done: operations are counted, not seconds.

What keeps the package quick is easily lost without a wrong number: a padded batch, a block run for
nothing, a loop over sequences. Each shows in the counts.
"""

import sys
from collections import Counter

import numpy as np
import pytest
import torch
from fair_esm_oracle import HEADS, LAYERS, WIDTH
from torch.utils._python_dispatch import TorchDispatchMode

from sklearn_esm import ESMEmbeddingTransformer

RESIDUES = np.array(list("ACDEFGHIKLMNPQRSTVWY"))


class Operations(TorchDispatchMode):
    """Counts what torch is told to do: multiplications of products and attention, and calls."""

    def __init__(self):
        super().__init__()
        self.multiplications = Counter()
        self.calls = 0

    def __torch_dispatch__(self, operation, types, arguments=(), settings=None):
        self.calls += 1
        name = operation.overloadpacket.__name__
        shapes = [tuple(a.shape) for a in arguments if isinstance(a, torch.Tensor)]
        if name.strip("_") in ("mm", "addmm"):
            (rows, inner), (_, columns) = shapes[-2:]
            self.multiplications["products"] += rows * inner * columns
        elif "attention" in name:
            sequences, heads, queries, head_dim = shapes[0]
            keys = shapes[1][2]
            self.multiplications["attention"] += 2 * sequences * heads * queries * keys * head_dim
        return operation(*arguments, **(settings or {}))


pytestmark = pytest.mark.usefixtures("in_this_thread")  # where operations are counted


def proteins(lengths, seed=0):
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(RESIDUES, length)) for length in lengths]


def fitted(checkpoint, **parameters):
    embed = ESMEmbeddingTransformer(checkpoint.path, cache=None, device="cpu", **parameters)
    embed.fit_transform(["MKT"])  # loads the model
    return embed


def operations(embed, sequences):
    with Operations() as counted:
        embed.transform(sequences)
    return counted


@pytest.mark.parametrize("layer", [0, 1, LAYERS])
def test_multiplications_are_those_of_the_bare_tokens(checkpoint, layer):
    sequences = proteins([3, 5, 5, 8, 20, 20, 20, 33, 90, 150, 700])
    counted = operations(fitted(checkpoint, layer=layer), sequences)
    lengths = np.array([len(sequence) + 2 for sequence in sequences])
    # Q, K, V, out: one square each; up and down: four each
    assert counted.multiplications["products"] == layer * 12 * WIDTH**2 * lengths.sum()
    # scores and mixing, for all heads together
    assert counted.multiplications["attention"] == layer * 2 * WIDTH * (lengths**2).sum()


def test_several_layers_and_poolings_cost_one_pass(checkpoint):
    sequences = proteins([5, 9, 40])
    once = operations(fitted(checkpoint), sequences)
    many = operations(fitted(checkpoint, layer="all", pooling=["mean", "max", "std"]), sequences)
    assert many.multiplications == once.multiplications


def test_repeated_sequences_are_run_once(checkpoint):
    embed, sequences = fitted(checkpoint), proteins([5, 9, 40])
    once = operations(embed, sequences)
    assert operations(embed, 5 * sequences).multiplications == once.multiplications


def test_operations_do_not_grow_with_the_sequences_of_a_batch(checkpoint):
    embed = fitted(checkpoint)
    few, many = (operations(embed, proteins([10] * count)) for count in (2, 40))
    assert many.calls == few.calls
    assert few.calls < 40 * LAYERS + 40


def test_attention_runs_once_for_each_length_and_layer(checkpoint):
    embed = fitted(checkpoint)
    seen = []
    attention = torch.nn.functional.scaled_dot_product_attention
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            torch.nn.functional,
            "scaled_dot_product_attention",
            lambda q, *rest: seen.append(q.shape) or attention(q, *rest),
        )
        embed.transform(proteins([30, 7, 7, 30, 7, 12]))
    by_length = [(2, HEADS, 32, WIDTH // HEADS), (1, HEADS, 14, WIDTH // HEADS)]
    by_length.append((3, HEADS, 9, WIDTH // HEADS))
    assert seen == by_length * LAYERS


def test_python_calls_for_each_sequence_are_few(checkpoint):
    embed = fitted(checkpoint)

    def calls(count):
        counted = Counter()
        sequences = proteins([10] * count)
        sys.setprofile(lambda frame, event, _: counted.update([event]))
        try:
            embed.transform(sequences)
        finally:
            sys.setprofile(None)
        return counted

    few, many = calls(100), calls(1100)  # batches of 42 sequences
    # about 30 and 36 when this was written: checking, the cache's key, its share of a batch
    assert (many["call"] - few["call"]) / 1000 < 40
    assert (many["c_call"] - few["c_call"]) / 1000 < 50
