"""ESM C: the numbers of transformers, at every layer and in every dtype, and no work beyond them."""

import numpy as np
import pytest
import torch
from esmc_oracle import (
    FEED_FORWARD,
    LAYERS,
    LAYOUTS,
    TOKENS,
    WIDTH,
    esmc_log_probabilities,
    esmc_states,
    save_random_esmc,
    token_ids,
)
from fair_esm_oracle import assert_faithful, residues_of
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_esm._checkpoints._esmc_format import esmc_architecture, esmc_checkpoint
from sklearn_esm._engine import PackedModel, hidden_states, log_probabilities
from sklearn_esm._engine._tokens import residue_tokens, tokenise
from sklearn_esm._sequences import MASK, RESIDUES, clean_sequences

SEQUENCES = [
    "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPIL",
    "ACDEFGHIKLMNPQRSTVWYBUZOX",
    "KA<mask>ISQ",
    "A",
    "GLDALQITV",
    "QITVGLDAL",
    "<mask>W<mask>",
]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_random_esmc(tmp_path_factory.mktemp("esmc"))


def load(saved, dtype="float32", layout="transformers"):
    tensors = LAYOUTS[layout](saved.tensors())
    return PackedModel(esmc_checkpoint(saved.file, tensors), "cpu", dtype)


def states(model, sequences, layers):
    """Hidden states of each sequence by layer, all of them in one batch: ``(tokens, width)`` each."""
    clean = clean_sequences(sequences, invalid="error", missing="error")
    order = sorted(range(len(clean)), key=lambda row: -len(clean[row]))
    found = {layer: [None] * len(clean) for layer in layers}
    for layer, first, group in hidden_states(model, [clean[row] for row in order], layers):
        for number, one in enumerate(group, start=first):
            found[layer][order[number]] = one.copy()
    return found


# states


def test_every_layer_equals_transformers(saved):
    found = states(load(saved), SEQUENCES, range(LAYERS + 1))
    for layer, actual in found.items():
        for one, expected in zip(actual, esmc_states(saved, SEQUENCES, layer), strict=True):
            assert_faithful(one, expected)


def test_a_sequence_alone_equals_that_of_a_batch(saved):
    model = load(saved)
    together = states(model, SEQUENCES, [1, LAYERS])
    for row, sequence in enumerate(SEQUENCES):
        alone = states(model, [sequence], [1, LAYERS])
        for layer in (1, LAYERS):
            assert_faithful(alone[layer][0], together[layer][row])


@pytest.mark.parametrize(
    "shape",
    [
        {"layers": 1},
        {"layers": 2, "width": 64, "heads": 1},
        {"layers": 4, "width": 192, "heads": 3, "feed_forward": 512},
        {"layers": 40, "width": 64, "heads": 1, "feed_forward": 64},  # residuals scaled down
    ],
    ids=str,
)
def test_other_shapes_equal_transformers(tmp_path, shape):
    saved = save_random_esmc(tmp_path, **shape, seed=1)
    model = load(saved)
    for layer in {1, shape["layers"]}:
        actual = states(model, SEQUENCES[:4], [layer])[layer]
        for one, expected in zip(actual, esmc_states(saved, SEQUENCES[:4], layer), strict=True):
            assert_faithful(one, expected)


def test_a_long_sequence_equals_transformers(saved):
    # rotary frequencies rounded as in ESM-2 would be off by more with every position
    sequence = "".join(np.random.default_rng(0).choice(list("ACDEFGHIKLMNPQRSTVWY"), 700))
    ((actual,),) = states(load(saved), [sequence], [LAYERS]).values()
    assert_faithful(actual, esmc_states(saved, [sequence], LAYERS)[0])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_layouts_give_identical_bits(saved, dtype, layout):
    expected = states(load(saved, dtype), SEQUENCES, range(LAYERS + 1))
    actual = states(load(saved, dtype, layout), SEQUENCES, range(LAYERS + 1))
    for layer in expected:
        for one, other in zip(actual[layer], expected[layer], strict=True):
            assert_array_equal(one, other)


@pytest.mark.parametrize(("dtype", "tolerance"), [("bfloat16", 2e-2), ("float16", 2e-3), ("int8", 8e-2)])
def test_other_dtypes_are_near_float32(saved, dtype, tolerance):
    found = states(load(saved, dtype), SEQUENCES, range(LAYERS + 1))
    for layer, actual in found.items():
        for one, expected in zip(actual, esmc_states(saved, SEQUENCES, layer), strict=True):
            difference = np.linalg.norm(one - expected) / np.linalg.norm(expected)
            assert difference < tolerance
            assert layer == 0 or difference > 1e-5  # or else it was float32 after all


# tokens


def test_tokens_are_those_of_esmc():
    architecture = esmc_architecture({})
    assert len(TOKENS) == 33
    assert_array_equal(residue_tokens(RESIDUES, architecture), [TOKENS.index(r) for r in RESIDUES])
    for sequence in SEQUENCES:
        clean = sequence.replace("<mask>", MASK)
        assert torch.equal(tokenise([clean], architecture).ids, token_ids(sequence)[0])


def test_the_tokenizer_of_transformers_gives_the_same_ids():
    from transformers import EsmcTokenizer

    tokenizer = EsmcTokenizer()
    for sequence in SEQUENCES:
        assert tokenizer(sequence)["input_ids"] == token_ids(sequence)[0].tolist()


def test_a_chain_break_is_not_a_residue():
    with pytest.raises(ValueError, match=r"has '\|' at position 4"):
        clean_sequences(["MKT|AYI"], invalid="error", missing="error")


# log-probabilities


def test_log_probabilities_equal_transformers_over_all_64(saved):
    clean = [sequence.replace("<mask>", MASK) for sequence in SEQUENCES]
    positions = [range(len(sequence)) for sequence in clean]
    actual = log_probabilities(load(saved), clean, positions)  # (residues, 25)
    columns = [TOKENS.index(residue) for residue in RESIDUES]
    tables = [esmc_log_probabilities(saved, sequence) for sequence in SEQUENCES]
    expected = np.concatenate([table[1:-1, columns] for table in tables])
    assert expected.shape == (sum(len(residues_of(one)) for one in SEQUENCES), 25)
    assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
    # the unused rows take their share
    assert all(np.exp(table[:, 33:]).sum(1).min() > 0.01 for table in tables)


# no work beyond it


@pytest.mark.parametrize("layout", LAYOUTS)
def test_float32_computes_from_the_tensors_of_the_file(saved, layout):
    tensors = LAYOUTS[layout](saved.tensors())
    model = PackedModel(esmc_checkpoint(saved.file, tensors), "cpu", "float32")
    ranges = [(t.data_ptr(), t.data_ptr() + t.nbytes) for t in tensors.values()]
    for block in model._blocks:
        for linear in (*block.qkv, block.out, block.gate, block.up, block.down):
            assert any(start <= linear.weight.data_ptr() < end for start, end in ranges)


def test_multiplications_are_those_of_the_bare_tokens(saved, monkeypatch):
    from test_no_wasted_work import Operations

    model = load(saved)
    clean = ["M" * length for length in (40, 7, 7, 3)]
    with Operations() as counted:
        list(hidden_states(model, clean, [2]))
    lengths = np.array([len(one) + 2 for one in clean])
    products = 4 * WIDTH**2 + 3 * WIDTH * FEED_FORWARD
    assert counted.multiplications["products"] == 2 * products * lengths.sum()
    assert counted.multiplications["attention"] == 2 * 2 * WIDTH * (lengths**2).sum()


def test_attention_maps_are_those_of_transformers(saved):
    from transformers import EsmcForMaskedLM

    theirs = EsmcForMaskedLM.from_pretrained(saved.folder, attn_implementation="eager").eval()
    with torch.no_grad():
        expected = theirs(token_ids(SEQUENCES[0]), output_attentions=True).attentions
    model, seen = load(saved), []
    model.observe_attention(
        tokenise([SEQUENCES[0]], model.architecture), lambda m: seen.append(m.clone())
    )
    assert_allclose(torch.cat(seen), torch.cat(expected).flatten(0, 1), rtol=1e-4, atol=1e-6)
