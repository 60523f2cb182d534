"""Loaded models are shared by the process, few are kept, and none is ever randomly initialised."""

import gc
import shutil
import time
import weakref
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
import torch
from esm.model import esm1, esm2
from fair_esm_oracle import FAMILIES, assert_faithful, fair_esm_residues, save_random_checkpoint
from sklearn.base import clone

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm._checkpoints._fingerprint import identify
from sklearn_esm._execution import _models
from sklearn_esm._execution._models import MAX_MODELS, loaded_model, resolve_device


def load(path, device, dtype):
    return loaded_model(identify(path), device, dtype)


@pytest.fixture(autouse=True)
def empty_registry(monkeypatch):
    models = OrderedDict()
    monkeypatch.setattr(_models, "_models", models)
    return models


@pytest.fixture
def reads(monkeypatch):
    """The paths that were read, in their order."""
    paths = []
    read = _models.read_checkpoint

    def reading(path):
        paths.append(path)
        time.sleep(0.05)  # long enough for every thread to arrive
        return read(path)

    monkeypatch.setattr(_models, "read_checkpoint", reading)
    return paths


def test_a_model_is_read_once(checkpoints, reads):
    path = checkpoints["esm2"].path
    assert load(path, "cpu", "float32") is load(path, "cpu", "float32")
    assert reads == [path]


def test_two_names_of_a_file_share_a_model(checkpoints, tmp_path):
    first = load(checkpoints["esm2"].path, "cpu", "float32")
    (tmp_path / "soft.pt").symlink_to(checkpoints["esm2"].path)
    assert load(tmp_path / "soft.pt", "cpu", "float32") is first


def test_a_copy_has_a_model_of_its_own(checkpoints, tmp_path):
    # mapped from one file, a model must not be served for another: the first may be overwritten
    copy = Path(shutil.copy(checkpoints["esm2"].path, tmp_path / "copy.pt"))
    first = load(checkpoints["esm2"].path, "cpu", "float32")
    second = load(copy, "cpu", "float32")
    assert second is not first
    assert torch.equal(second._embed._table, first._embed._table)


def test_each_dtype_has_its_own_model(checkpoints):
    path = checkpoints["esm2"].path
    dtypes = [load(path, "cpu", dtype).dtype for dtype in ("float32", "bfloat16")]
    assert dtypes == [torch.float32, torch.bfloat16]


def test_replaced_weights_are_read_again(tmp_path):
    path = tmp_path / "a.pt"
    save_random_checkpoint(path, "esm2", layers=1)
    assert identify(path).architecture.layers == 1
    before = load(path, "cpu", "float32")
    path.unlink()  # the old one is mapped still
    save_random_checkpoint(path, "esm2", layers=2)
    assert identify(path).architecture.layers == 2
    assert load(path, "cpu", "float32") is not before


def test_only_the_latest_models_are_kept(checkpoints, empty_registry):
    paths = [checkpoints[family].path for family in FAMILIES[: MAX_MODELS + 1]]
    models = [weakref.ref(load(path, "cpu", "float32")) for path in paths]
    gc.collect()
    assert [model() is None for model in models] == [True] + [False] * MAX_MODELS
    assert len(empty_registry) == MAX_MODELS


def test_the_model_used_last_is_kept(checkpoints, reads):
    first, second, third = (checkpoints[family].path for family in FAMILIES[:3])
    for path in (first, second, first, third, first):
        load(path, "cpu", "float32")
    assert reads == [first, second, third]


def test_threads_that_ask_at_once_load_once(checkpoints, reads):
    threads = 8
    barrier = Barrier(threads)

    def ask(_):
        barrier.wait()
        return load(checkpoints["esm1b"].path, "cpu", "float32")

    with ThreadPoolExecutor(threads) as pool:
        models = list(pool.map(ask, range(threads)))
    assert len({id(model) for model in models}) == 1
    assert len(reads) == 1


def test_threads_that_embed_side_by_side_get_their_own_rows(checkpoints):
    transformer = ESMEmbeddingTransformer(checkpoints["esm2"].path, cache=None).fit(["A"])
    sequences = ["MKTAYIAKQR", "GLDALQITV", "LAGVSERTIDPK", "GIGKFLHSAKKF"]
    alone = [transformer.transform([sequence]) for sequence in sequences]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda sequence: transformer.transform([sequence]), sequences * 5))
    for actual, expected in zip(together, alone * 5, strict=True):
        assert np.array_equal(actual, expected)


def test_a_failed_load_leaves_nothing_behind(checkpoints, monkeypatch, empty_registry):
    path = checkpoints["esm2"].path
    with monkeypatch.context() as broken:
        broken.setattr(_models, "read_checkpoint", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            load(path, "cpu", "float32")
    assert not empty_registry
    assert load(path, "cpu", "float32").architecture.layers == 3


@pytest.mark.parametrize("family", FAMILIES)
def test_loading_never_initialises_at_random(checkpoints, monkeypatch, family):
    expected = fair_esm_residues(checkpoints[family], ["MKTAYI"], 3)  # before esm is made to fail

    def refuse(*_, **__):
        raise AssertionError("weights were initialised only to be overwritten")

    for name in dir(torch.nn.init):
        if name.endswith("_") and not name.startswith("_"):
            monkeypatch.setattr(torch.nn.init, name, refuse)
    for kind in (esm2.ESM2, esm1.ProteinBertModel, torch.nn.Module):
        monkeypatch.setattr(kind, "__init__", refuse)
    transformer = ESMEmbeddingTransformer(checkpoints[family].path, cache=None, pooling=None)
    (actual,) = transformer.fit_transform(["MKTAYI"])
    assert_faithful(actual, expected[0])


# devices


def test_the_processor_is_always_there():
    assert resolve_device("cpu", "float32") == "cpu"


@pytest.mark.parametrize(("cuda", "mps", "best"), [(1, 0, "cuda"), (0, 1, "mps"), (0, 0, "cpu")])
def test_no_device_is_the_best_one_present(monkeypatch, cuda, mps, best):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(cuda))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: bool(mps))
    assert resolve_device(None, "float32") == best


def test_no_device_is_the_processor_for_int8(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device(None, "int8") == "cpu"


@pytest.mark.parametrize(
    ("device", "cuda", "found"),
    [
        ("cuda", 0, "0 CUDA devices and no MPS device"),
        ("cuda:1", 1, "1 CUDA devices and no MPS device"),
        ("mps", 2, "2 CUDA devices and no MPS device"),
    ],
)
def test_a_device_that_is_not_present_is_refused(monkeypatch, device, cuda, found):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(
        ValueError, match=f"device must be present on this machine; got '{device}'"
    ) as error:
        resolve_device(device, "float32")
    assert found in str(error.value)
    assert "Set device=None" in str(error.value)


@pytest.mark.parametrize(("device", "count"), [("cuda", 1), ("cuda:1", 2)])
def test_a_device_that_is_present_is_taken(monkeypatch, device, count):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    assert resolve_device(device, "float32") == device


def test_the_estimator_refuses_an_absent_device(checkpoints, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    transformer = ESMEmbeddingTransformer(checkpoints["esm2"].path, device="cuda")
    with pytest.raises(ValueError, match="device must be present on this machine; got 'cuda'"):
        transformer.fit_transform(["MKT"])


def test_an_absent_device_is_refused_when_the_model_is_about_to_run(checkpoints, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    on_cpu = ESMEmbeddingTransformer(checkpoints["esm2"].path, device="cpu", missing="nan")
    expected = on_cpu.fit_transform(["MKT", None])
    on_gpu = clone(on_cpu).set_params(device="cuda").fit(["GIG"])
    np.testing.assert_array_equal(on_gpu.transform(["MKT", None]), expected)
    on_gpu.precompute(["MKT"], layers=-1)
    assert np.isnan(on_gpu.transform([None])).all()
    assert len(on_gpu.transform([])) == 0
    for embed in (on_gpu.transform, on_gpu.precompute):
        with pytest.raises(ValueError, match="device must be present on this machine; got 'cuda'"):
            embed(["MKT", "GIG"])
    for pooling in (None, lambda residues: residues[0]):
        refused = clone(on_gpu).set_params(pooling=pooling)
        with pytest.raises(ValueError, match="device must be present on this machine; got 'cuda'"):
            refused.fit(["MKT"]).transform(["MKT"])
