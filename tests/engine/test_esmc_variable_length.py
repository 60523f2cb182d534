"""ESM C with all sequences attended in one call, as on a GPU: the numbers of transformers."""

import numpy as np
import pytest
import torch
from esmc_oracle import HEADS, LAYERS, WIDTH, esmc_states, save_random_esmc
from fair_esm_oracle import assert_faithful
from test_esmc import load, states
from test_variable_length_attention import BATCHES, Kernel

from sklearn_esm._engine import _model
from sklearn_esm._engine import _variable_length_attention as varlen
from sklearn_esm._engine._blocks import GatedBlock
from sklearn_esm._engine._linear import HalfLinear
from sklearn_esm._engine._variable_length_attention import Together
from sklearn_esm._engine._weights import Norm


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_random_esmc(tmp_path_factory.mktemp("esmc"))


@pytest.fixture
def kernel(monkeypatch):
    kernel = Kernel()
    monkeypatch.setattr(_model, "find_kernel", lambda *_: kernel)
    return kernel


@pytest.mark.parametrize("batch", BATCHES)
def test_one_call_gives_the_numbers_of_transformers(saved, batch, kernel):
    found = states(load(saved), BATCHES[batch], [1, LAYERS])
    assert kernel.calls == LAYERS
    for layer, actual in found.items():
        for one, expected in zip(actual, esmc_states(saved, BATCHES[batch], layer), strict=True):
            assert_faithful(one, expected)


@pytest.mark.parametrize(("dtype", "tolerance"), [("bfloat16", 2e-2), ("float16", 2e-3)])
def test_half_precision_stays_near_transformers(saved, dtype, tolerance, kernel):
    sequences = BATCHES["equal lengths among mixed ones"]
    (actual,) = states(load(saved, dtype), sequences, [LAYERS]).values()
    for one, expected in zip(actual, esmc_states(saved, sequences, LAYERS), strict=True):
        assert np.linalg.norm(one - expected) <= tolerance * np.linalg.norm(expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_block_accepts_tensors_without_data_and_nobody_waits(saved, dtype, monkeypatch):
    # a tensor on "meta" has a shape and no data: reading a number from it is an error, and so is a norm
    # whose weights have another dtype than its input, as on a GPU
    block = load(saved, {torch.bfloat16: "bfloat16", torch.float16: "float16"}[dtype])._blocks[0]
    assert isinstance(block, GatedBlock)
    called = Norm.__call__

    def checked(norm, x):
        assert norm.weight.dtype == x.dtype
        return called(norm, x)

    monkeypatch.setattr(Norm, "__call__", checked)
    for part in (*block.qkv, block.out, block.gate, block.up, block.down):
        assert isinstance(part, HalfLinear)
        part.weight = part.weight.to("meta")
    for norm in (block.norm_attention, block.norm_feed, *block.norms_of_qk):
        norm.weight = norm.weight.to("meta")
        norm.bias = None if norm.bias is None else norm.bias.to("meta")

    def tensor(*shape, dtype=dtype):
        return torch.empty(shape, dtype=dtype, device="meta")

    starts = tensor(4, dtype=torch.int32)
    rotation = (tensor(12, WIDTH // HEADS), tensor(12, WIDTH // HEADS))
    with torch.inference_mode():
        groups = Together(varlen.flash, starts, 12, 7, rotation)
        block.forward(tensor(12, WIDTH, dtype=torch.float32), groups, tensor(12 * block.scratch_width))
