"""All sequences of a batch attended in one call, as on a GPU: the same numbers as run by run.

Neither kernel runs on a processor. What they compute is written out here, with what they ask of their
arguments, and takes their place; that torch takes the arguments is tested on tensors without data.
"""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fair_esm_oracle import (
    FAMILIES,
    LAYERS,
    assert_faithful,
    fair_esm_states,
    save_random_checkpoint,
)

from sklearn_esm._checkpoints._reader import read_checkpoint
from sklearn_esm._engine import PackedModel, _model, hidden_states
from sklearn_esm._engine import _variable_length_attention as varlen
from sklearn_esm._engine._attention import Runs
from sklearn_esm._engine._tokens import tokenise
from sklearn_esm._engine._variable_length_attention import Together, find_kernel
from sklearn_esm._sequences import clean_sequences

BATCHES = {
    "equal lengths among mixed ones": [
        "MKTAYI",
        "KA<mask>ISQ",
        "GLDALQITV",
        "A",
        "MKTQ",
        "W",
        "LAGV",
        "Y",
    ],
    "all of one length": ["MKTAYI", "QITVGL", "ACDEFG"],
    "no two of one length": ["MKT", "A", "LAGVSERTIDPKQNFYMHWC<mask>LAGV<mask>SERT", "GLDALQITV"],
    "one sequence": ["MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPIL"],
    "one residue": ["M"],
}


class Kernel:
    """In place of a kernel: its numbers, a check of what it asks for, and a count of its calls."""

    def __init__(self):
        self.calls = 0

    def __call__(self, q, k, v, starts, key_starts, longest, longest_keys):
        self.calls += 1
        assert len(q) == starts[-1]
        assert len(k) == len(v) == key_starts[-1]
        assert starts[0] == key_starts[0] == 0
        assert (longest, longest_keys) == (starts.diff().max(), key_starts.diff().max())
        assert type(longest) is type(longest_keys) is int
        for numbers in (starts, key_starts):
            assert numbers.dtype == torch.int32
            assert numbers.is_contiguous()
        for tensor in (q, k, v):
            sixteen_bytes = 16 // tensor.element_size()
            assert tensor.stride(2) == 1
            assert tensor.stride(0) % sixteen_bytes == tensor.stride(1) % sixteen_bytes == 0
            assert tensor.data_ptr() % 16 == 0
        mixed = torch.empty_like(q)
        for i in range(len(starts) - 1):
            own, keys = slice(*starts[i : i + 2]), slice(*key_starts[i : i + 2])
            parts = (part.transpose(0, 1) for part in (q[own], k[keys], v[keys]))
            mixed[own] = F.scaled_dot_product_attention(*parts).transpose(0, 1)
        return mixed


@pytest.fixture
def kernel(monkeypatch):
    """Attention in one call, on the processor, too."""
    kernel = Kernel()
    monkeypatch.setattr(_model, "find_kernel", lambda *_: kernel)
    return kernel


def states(checkpoint, sequences, layer=LAYERS, dtype="float32"):
    """Hidden states of each sequence, all of them in one batch."""
    model = PackedModel(read_checkpoint(checkpoint.path), "cpu", dtype)
    clean = clean_sequences(sequences, invalid="error", missing="error")
    order = sorted(range(len(clean)), key=lambda row: -len(clean[row]))
    groups = hidden_states(model, [clean[row] for row in order], [layer])
    found = [one.copy() for _, _, group in groups for one in group]
    return [found[order.index(row)] for row in range(len(clean))]


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("family", FAMILIES)
def test_one_call_gives_the_numbers_of_fair_esm(checkpoints, family, batch, kernel):
    for layer in (1, LAYERS):
        actual = states(checkpoints[family], BATCHES[batch], layer)
        expected = fair_esm_states(checkpoints[family], BATCHES[batch], layer)
        for one, other in zip(actual, expected, strict=True):
            assert_faithful(one, other)
    assert kernel.calls == 1 + LAYERS


@pytest.mark.parametrize("head_dim", [16, 24, 32, 64])
@pytest.mark.parametrize("family", ["esm2", "esm1"])
def test_the_published_widths_of_heads_equal_fair_esm(tmp_path, family, head_dim, kernel):
    checkpoint = save_random_checkpoint(tmp_path / "wide.pt", family, width=2 * head_dim, heads=2)
    sequences = BATCHES["equal lengths among mixed ones"]
    expected = fair_esm_states(checkpoint, sequences, LAYERS)
    for one, other in zip(states(checkpoint, sequences), expected, strict=True):
        assert_faithful(one, other)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_stays_near_fair_esm(checkpoints, family, dtype, kernel):
    sequences = BATCHES["equal lengths among mixed ones"]
    expected = fair_esm_states(checkpoints[family], sequences, LAYERS)
    actual = states(checkpoints[family], sequences, dtype=dtype)
    for one, other in zip(actual, expected, strict=True):
        distance = np.linalg.norm(one - other, axis=-1)
        assert (distance <= 2e-2 * np.linalg.norm(other, axis=-1)).all()


def test_every_block_takes_one_call_whatever_the_lengths(checkpoint, kernel):
    for lengths in (1, 2, 30):
        kernel.calls = 0
        states(checkpoint, ["A" * length for length in range(1, lengths + 1)])
        assert kernel.calls == LAYERS


# The choice --------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["cpu", "mps"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_there_is_no_such_kernel_but_on_cuda(device, dtype):
    assert find_kernel(torch.device(device), dtype, head_dim=64, sequences=100) is None


def test_a_processor_attends_run_by_run(checkpoint):
    model = PackedModel(read_checkpoint(checkpoint.path), "cpu", "float32")
    assert isinstance(model._group(tokenise(["MKT", "A"], model.architecture)), Runs)


@pytest.fixture
def gpu(monkeypatch):
    """A device that calls itself a GPU and has both kernels: a set of names, to take them away from."""
    kernels = {"flash", "efficient"}
    monkeypatch.setattr(varlen, "can_use_flash_attention", lambda _: "flash" in kernels)
    monkeypatch.setattr(varlen, "can_use_efficient_attention", lambda _: "efficient" in kernels)
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *size, device, dtype: empty(*size, dtype=dtype))
    return kernels


def test_a_gpu_takes_the_best_kernel_it_has(gpu):
    arguments = (torch.device("cuda"), torch.float32, 64, 65_535)
    assert find_kernel(*arguments) is varlen.flash
    gpu.remove("flash")
    assert find_kernel(*arguments) is varlen.memory_efficient
    gpu.remove("efficient")
    assert find_kernel(*arguments) is None


def test_the_kernels_of_the_models_own_gpu_count(gpu, monkeypatch):
    # torch answers for its current GPU, and the model may be on another one
    current = ["old"]

    @contextmanager
    def device_of(tensor):
        current.append("new")
        yield
        current.pop()

    monkeypatch.setattr(torch.cuda, "device_of", device_of)
    monkeypatch.setattr(varlen, "can_use_flash_attention", lambda _: current[-1] == "new")
    assert find_kernel(torch.device("cuda:1"), torch.bfloat16, 64, 100) is varlen.flash
    assert current == ["old"]


@pytest.mark.parametrize(("head_dim", "sequences"), [(20, 100), (64, 65_536)])
def test_what_the_kernels_cannot_do_goes_run_by_run(gpu, head_dim, sequences):
    assert find_kernel(torch.device("cuda"), torch.float32, head_dim, sequences) is None


def test_a_gpu_of_amd_goes_run_by_run(gpu, monkeypatch):
    # torch calls it "cuda", too
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert find_kernel(torch.device("cuda"), torch.float32, 64, 100) is None


# The kernels themselves --------------------------------------------------------------------------


@pytest.mark.parametrize("extra", [False, True])
@pytest.mark.parametrize("head_dim", [16, 24, 128])
@pytest.mark.parametrize(
    ("kernel", "dtype"),
    [
        (varlen.flash, torch.bfloat16),
        (varlen.flash, torch.float16),
        (varlen.memory_efficient, torch.float32),
        (varlen.memory_efficient, torch.float16),
    ],
)
def test_torch_takes_the_arguments_and_nobody_waits(kernel, dtype, head_dim, extra):
    # a tensor on "meta" has a shape and no data: to read a number from it, for which the host would
    # have to wait for a GPU, is an error
    def tensor(*shape):
        return torch.empty(shape, dtype=dtype, device="meta")

    def checked(*arguments):
        mixed = kernel(*arguments)
        assert mixed.shape == (12, 2, head_dim)
        assert mixed.dtype == dtype
        return mixed

    starts = torch.empty(4, dtype=torch.int32, device="meta")
    together = Together(checked, starts, 12, 7, (tensor(12, head_dim), tensor(12, head_dim)))
    more = tensor(2, 2, head_dim) if extra else None
    with torch.inference_mode():
        together.attend(tensor(3, 12, 2, head_dim), more, tensor(12, 2, head_dim))
