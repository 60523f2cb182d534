"""Whole forward passes of the published shapes on a GPU without data, with a full batch of tokens.

What the kernels compute is tested in `test_variable_length_attention.py`. Here torch's own kernels get
the arguments, and everything else of a pass runs as on a GPU: which device each tensor is on, and how
much is sent to it.
"""

import pytest
import torch
from fake_gpu import DTYPES, fake_gpu, fake_model

from sklearn_esm._checkpoints._catalog import CATALOG, ESMC
from sklearn_esm._engine import _variable_length_attention as varlen
from sklearn_esm._engine._tokens import tokenise
from sklearn_esm._execution._request import BATCH_TOKENS
from sklearn_esm._sequences import MASK

PUBLISHED = {**CATALOG, **ESMC}
# one of each shape
NAMES = list({(m.family, m.layers, m.width): name for name, m in PUBLISHED.items()}.values())
BUDGET = BATCH_TOKENS["cuda"]
LENGTHS = [1022] * 20 + [998] * 5 + [*range(300, 309)] * 2 + [30] * 40 + [1] * 40
SEQUENCES = ["A" * length for length in sorted(LENGTHS, reverse=True)]


def test_the_batch_is_nearly_full():
    assert 0.98 * BUDGET <= sum(length + 2 for length in LENGTHS) <= BUDGET


def run(model, layers, sequences=SEQUENCES):
    return [
        (layer, states)
        for layer, states in model.hidden_states(tokenise(sequences, model.architecture), layers)
    ]


def passed_on(kernel, calls):
    """The kernel, which first checks what torch's documentation and its kernels require."""

    def checked(q, k, v, starts, key_starts, longest, longest_keys):
        calls.append((len(q), len(k), longest, longest_keys))
        assert q.shape[1:] == k.shape[1:] == v.shape[1:]
        assert q.dtype == k.dtype == v.dtype
        assert len(k) == len(v)
        for numbers in (starts, key_starts):
            assert numbers.shape == (len(SEQUENCES) + 1,)
            assert numbers.dtype == torch.int32
            assert numbers.is_contiguous()
            assert numbers.device == q.device
        assert type(longest) is type(longest_keys) is int
        for tensor in (q, k, v):
            assert tensor.stride(2) == 1
            for step in (tensor.stride(0), tensor.stride(1), tensor.storage_offset()):
                assert step * tensor.element_size() % 16 == 0
            # offsets in 32 bits are enough, whichever a kernel computes with
            assert len(k) * tensor.stride(0) < 2**31
        mixed = kernel(q, k, v, starts, key_starts, longest, longest_keys)
        assert (mixed.shape, mixed.dtype, mixed.device) == (q.shape, q.dtype, q.device)
        return mixed

    return checked


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_a_full_batch_passes_through_the_published_shape(name, dtype):
    published = PUBLISHED[name]
    calls = []
    kernel = varlen.memory_efficient if dtype == "float32" else varlen.flash
    with fake_gpu(passed_on(kernel, calls)):
        model = fake_model(published, dtype)
        tokens = len(tokenise(SEQUENCES, model.architecture).ids)
        found = run(model, {0, 1, published.layers})
        log_probabilities = model.head(found[-1][1][:5])
    assert [layer for layer, _ in found] == [0, 1, published.layers]
    for _, states in found:
        assert states.shape == (tokens, published.width)
        assert (states.dtype, states.device.type) == (torch.float32, "meta")
    assert log_probabilities.shape[0] == 5
    longest = 1022 + 1 + model.architecture.has_eos
    if published.family == "esm1":  # one additional key for each sequence
        assert calls == [(tokens, tokens + len(SEQUENCES), longest, longest + 1)] * published.layers
    else:
        assert calls == [(tokens, tokens, longest, longest)] * published.layers


@pytest.mark.parametrize("name", NAMES)
def test_only_token_numbers_are_sent_to_the_gpu(name):
    # positions of ESM-1 and ESM-1b were embedded on the host, and 168 MB of states sent with each pass
    with fake_gpu() as watch:
        model = fake_model(PUBLISHED[name], "bfloat16")
        watch.sent = 0
        run(model, {model.architecture.layers})
        tokens = len(tokenise(SEQUENCES, model.architecture).ids)
    ids = positions = 8 * tokens
    starts = 4 * (len(SEQUENCES) + 1)
    assert watch.sent == ids + positions + starts


@pytest.mark.parametrize("name", ["esm2_t33_650M_UR50D", "esm1b_t33_650M_UR50S", "esmc_300m"])
def test_masked_tokens_add_one_number_each(name):
    sequences = [f"MK{MASK}", f"GLDALQIT{MASK}"]
    tokens = sum(map(len, sequences)) + 4
    with fake_gpu() as watch:
        model = fake_model(PUBLISHED[name], "bfloat16")
        watch.sent = 0
        run(model, {1}, sequences)
    shares = 0 if name == "esmc_300m" else 4 * tokens  # of token dropout, which ESM C does not have
    assert watch.sent == 16 * tokens + 4 * 3 + shares


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_tensor_of_a_pass_outlives_it(dtype):
    with fake_gpu() as watch:
        model = fake_model(CATALOG["esm2_t6_8M_UR50D"], dtype)
        weights = watch.held
        run(model, {6})
        assert watch.held == weights
        assert watch.peak > weights


def test_memory_of_a_pass_is_counted_by_hand():
    # states and their norm, float32; queries, keys, values and attention output, later the feed-forward
    # states, bfloat16; the norm once more in bfloat16
    published = CATALOG["esm2_t33_650M_UR50D"]
    tokens = sum(len(sequence) + 2 for sequence in SEQUENCES)
    with fake_gpu() as watch:
        model = fake_model(published, "bfloat16")
        weights, watch.peak = watch.held, 0
        run(model, {published.layers})
    least = tokens * published.width * (4 + 4 * 2 + 4 + 2)
    assert least <= watch.peak - weights <= 1.5 * least
