"""8-bit integers in the linear layers: exact products, rows of any kind, and near to float32."""

import re

import numpy as np
import pytest
import torch
from fair_esm_oracle import FAMILIES
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm._checkpoints._reader import read_checkpoint
from sklearn_esm._engine import PackedModel, _linear
from sklearn_esm._engine._linear import Int8Linear, quantise
from sklearn_esm.datasets import load_peptides

SEQUENCES = ["MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPIL", "A", "KA<mask>ISQ", "GLDALQITV", "QITVGLDAL"]


def embed(path, sequences=SEQUENCES, **parameters):
    return ESMEmbeddingTransformer(path, **{"cache": None, **parameters}).fit_transform(sequences)


def random_layer(outputs=48, inputs=40):
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(outputs, inputs)).astype(np.float32)
    weight[3] = 0  # an output that is its bias alone
    bias = rng.normal(size=outputs).astype(np.float32)
    return Int8Linear(torch.from_numpy(weight), torch.from_numpy(bias)), weight, bias


def in_integers(prepared, weight, bias):
    """The product written out: integers of both sides, their exact sums, and then the scales."""
    scales = np.maximum(np.abs(weight).max(1), 1e-30) / 127  # (outputs,)
    integers = np.rint(weight / scales[:, None]).astype(np.int64)  # (outputs, inputs)
    assert np.abs(integers).max() == 127
    steps = prepared.steps.numpy().astype(np.int64)  # (rows, inputs)
    scale, low = (one.numpy().astype(np.float64) for one in (prepared.scale, prepared.low))
    sums = scale * (steps @ integers.T) + low * integers.sum(1)  # (rows, outputs)
    return sums * scales + bias


# the product


def test_the_product_is_that_of_the_integers():
    layer, weight, bias = random_layer()
    x = torch.from_numpy(np.random.default_rng(1).normal(1, 3, size=(9, 40)).astype(np.float32))
    prepared = layer.prepare(x)
    expected = in_integers(prepared, weight, bias)
    out, residual = torch.empty(9, 48), torch.ones(9, 48)
    layer.into(prepared, out)
    layer.add_to(residual, prepared)
    assert_allclose(out, expected, rtol=1e-5, atol=1e-5)
    assert_allclose(residual, expected + 1, rtol=1e-5, atol=1e-5)
    # and the integers are near to what they stand for
    exact = x.numpy() @ weight.T + bias
    assert np.linalg.norm(out.numpy() - exact) < 0.02 * np.linalg.norm(exact)


def test_the_greatest_sums_do_not_saturate():
    # two products of u8 and s8 overflow 16 bits on processors without VNNI, unless u8 stays below 128
    layer = Int8Linear(torch.tensor([[3.0], [-3.0]]).expand(2, 5120).contiguous(), torch.zeros(2))
    x = torch.ones(1, 5120)
    x[0, 0] = 0
    out = torch.empty(1, 2)
    layer.into(layer.prepare(x), out)
    assert_allclose(out, [[3 * 5119, -3 * 5119]], rtol=1e-6)


ROWS = {
    "constant": np.full(64, 7.3),
    "constant below zero": np.full(64, -7.3),
    "zero": np.zeros(64),
    "a huge outlier": np.append(np.linspace(-1, 1, 63), 1e6),
    "a huge outlier below zero": np.append(np.linspace(-1, 1, 63), -1e6),
    "a span lost in its size": 1e4 + np.linspace(0, 2e-3, 64),
    "immense": np.linspace(-1e37, 1e38, 64),
    "minute": np.linspace(-1e-38, 1e-38, 64),
}


@pytest.mark.parametrize("kind", ROWS)
def test_a_row_is_within_half_a_step_of_its_integers(kind):
    row = ROWS[kind].astype(np.float32)[None]  # (1, inputs)
    steps, scale, low = (one.numpy().astype(np.float64) for one in quantise(torch.from_numpy(row)))
    assert steps.max() <= 127
    span = float(row.max()) - float(row.min())
    assert scale <= max(span / 127, np.abs(row).max() * 2.0**-19, 1e-29)
    assert np.abs(steps * scale + low - row).max() <= 0.51 * scale


@pytest.mark.parametrize("kind", ["constant", "constant below zero", "zero"])
def test_a_row_of_equal_numbers_is_exact(kind):
    row = torch.from_numpy(ROWS[kind].astype(np.float32))[None]
    steps, scale, low = quantise(row)
    assert_array_equal(steps * scale + low, row)


def test_rows_are_quantised_by_themselves():
    x = torch.from_numpy(np.stack([*ROWS.values()]).astype(np.float32))
    for row, one in enumerate(x.split(1)):
        for together, alone in zip(quantise(x), quantise(one), strict=True):
            assert_array_equal(together[row], alone[0])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_so(bad):
    layer, *_ = random_layer()
    x, out = torch.ones(2, 40), torch.empty(2, 48)
    x[1, 5] = bad
    layer.into(layer.prepare(x), out)
    assert torch.isfinite(out[0]).all()
    assert not torch.isfinite(out[1]).any()


# the model


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_near_float32(checkpoints, family):
    exact = embed(checkpoints[family].path, layer="all")
    actual = embed(checkpoints[family].path, layer="all", dtype="int8")
    assert actual.dtype == np.float32
    difference = np.linalg.norm(actual - exact, axis=1) / np.linalg.norm(exact, axis=1)
    assert (difference < 5e-2).all()
    assert (difference > 1e-4).all()  # or else it was float32 after all


def test_the_bundled_model_keeps_its_means():
    peptides = load_peptides().data[::3]
    exact = embed("esm2_t6_1M_bundled", peptides).astype(np.float64)
    actual = embed("esm2_t6_1M_bundled", peptides, dtype="int8")
    lengths = np.linalg.norm(exact, axis=1) * np.linalg.norm(actual, axis=1)
    cosines = (exact * actual).sum(1) / lengths
    assert cosines.mean() >= 0.9999
    assert cosines.min() >= 0.999


@pytest.mark.parametrize("family", FAMILIES)
def test_a_row_does_not_depend_on_its_batch(checkpoints, family):
    path = checkpoints[family].path
    alone = np.vstack([embed(path, [sequence], layer="all", dtype="int8") for sequence in SEQUENCES])
    for batch_tokens in (None, 20):
        together = embed(path, layer="all", dtype="int8", batch_tokens=batch_tokens)
        difference = np.linalg.norm(together - alone, axis=1)
        assert (difference <= 1e-5 * np.linalg.norm(alone, axis=1)).all()


def test_the_cache_keeps_int8_and_float32_apart(checkpoints, cache):
    path = checkpoints["esm2"].path
    fresh = {dtype: embed(path, dtype=dtype) for dtype in ("float32", "int8")}
    assert (fresh["int8"] != fresh["float32"]).any(1).all()
    for _ in range(2):
        for dtype, expected in fresh.items():
            assert_array_equal(embed(path, dtype=dtype, cache=cache), expected)


# where it cannot be had


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "mps"])
def test_other_devices_are_refused_when_fitting(checkpoints, device):
    transformer = ESMEmbeddingTransformer(checkpoints["esm2"].path, dtype="int8", device=device)
    with pytest.raises(ValueError, match="dtype='int8' runs on CPUs only") as error:
        transformer.fit(["MKT"])
    assert f"got device={device!r}. Pass device='cpu'" in str(error.value)


@pytest.mark.parametrize("error", [AttributeError, NotImplementedError, RuntimeError])
@pytest.mark.parametrize("function", ["pack", "multiply"])
def test_a_torch_without_the_product_is_refused(checkpoints, monkeypatch, function, error):
    def missing(*_):
        raise error("'_OpNamespace' 'onednn' object has no attribute 'qlinear_prepack'")

    monkeypatch.setattr(_linear, function, missing)
    message = f"got 'int8'. torch {torch.__version__} has no 8-bit products for this CPU. "
    with pytest.raises(ValueError, match=re.escape(message + "Pass dtype='float32'.")):
        PackedModel(read_checkpoint(checkpoints["esm2"].path), "cpu", "int8")


def test_a_product_that_saturates_is_refused(checkpoints, monkeypatch):
    multiply = _linear.multiply
    monkeypatch.setattr(_linear, "multiply", lambda *a: multiply(*a).clamp(max=2**21))
    with pytest.raises(ValueError, match=r"8-bit products of torch .* are not exact") as error:
        PackedModel(read_checkpoint(checkpoints["esm2"].path), "cpu", "int8")
    assert str(error.value).endswith("on this CPU. Pass dtype='float32'.")


@pytest.mark.parametrize("default", [torch.float64, torch.float16])
def test_the_product_is_exact_under_every_default_dtype(default):
    former = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        _linear.check_product()
    finally:
        torch.set_default_dtype(former)


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_the_product_is_found_under_every_default_device(device):
    with torch.device(device):
        _linear.check_product()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_other_arithmetic_does_not_ask_for_the_product(checkpoints, monkeypatch, dtype):
    monkeypatch.setattr(_linear, "multiply", None)
    PackedModel(read_checkpoint(checkpoints["esm2"].path), "cpu", dtype)
