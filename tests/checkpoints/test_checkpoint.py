"""Checkpoints: which file is found, what is read from it, and what is refused."""

import argparse
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
import torch
from fair_esm_oracle import FAMILIES, HEADS, LAYERS, WIDTH, save_random_checkpoint

import sklearn_esm
from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm._checkpoints._architecture import Architecture
from sklearn_esm._checkpoints._catalog import ALIASES, BUNDLED_MODEL, CATALOG
from sklearn_esm._checkpoints._locate import find_checkpoint, is_path
from sklearn_esm._checkpoints._reader import read_checkpoint
from sklearn_esm._engine import PackedModel

ARCHITECTURES = {
    "esm2": Architecture("esm2", LAYERS, WIDTH, HEADS, token_dropout=True, max_length=None),
    "esm1b": Architecture("esm1b", LAYERS, WIDTH, HEADS, token_dropout=True, max_length=40),
    "esm1v": Architecture("esm1b", LAYERS, WIDTH, HEADS, token_dropout=True, max_length=40),
    "esm1": Architecture("esm1", LAYERS, WIDTH, HEADS, token_dropout=False, max_length=None),
}


def embed(path):
    return ESMEmbeddingTransformer(path, cache=None).fit_transform(["MKTAYIAKQR", "<mask>LAGV"])


# which file


def test_the_bundled_model_is_found_in_the_package():
    path = find_checkpoint(BUNDLED_MODEL)
    assert path == Path(sklearn_esm.__file__).parent / "bundled" / f"{BUNDLED_MODEL}.pt"


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_leads_to_its_file(checkpoints, kind):
    assert find_checkpoint(kind(checkpoints["esm2"].path)) == checkpoints["esm2"].path


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "mine.pt").touch()
    assert find_checkpoint("~/mine.pt") == tmp_path / "mine.pt"


@pytest.mark.parametrize("given", ["mine.pt", "./mine.pt", "sub/../mine.pt"])
def test_a_relative_path_stays_valid_after_a_change_of_folder(tmp_path, monkeypatch, given):
    (tmp_path / "sub").mkdir()
    (tmp_path / "mine.pt").write_bytes(b"here")
    monkeypatch.chdir(tmp_path)
    found = find_checkpoint(given)
    monkeypatch.chdir(tmp_path / "sub")
    assert found.is_absolute()
    assert found.read_bytes() == b"here"


def test_a_path_with_a_folder_needs_no_suffix(tmp_path):
    (tmp_path / "weights.bin").touch()
    assert find_checkpoint(tmp_path / "weights.bin") == tmp_path / "weights.bin"


@pytest.mark.parametrize("name", ["absent.pt", "absent/esm2.pt"])
def test_a_path_that_leads_to_no_file_is_named(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="must be the path of an existing file; got ") as error:
        find_checkpoint(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)
    assert "Pass the path of a .pt file" in str(error.value)


def test_a_published_name_is_found_in_torch_home_and_used(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    saved = save_random_checkpoint(folder / "esm2_t6_8M_UR50D.pt", "esm2", seed=3)
    assert find_checkpoint("esm2_t6_8M_UR50D") == saved.path
    assert np.array_equal(embed("esm2_t6_8M_UR50D"), embed(saved.path))


def test_a_published_name_that_is_not_there_names_file_and_address(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    with pytest.raises(FileNotFoundError, match="SKLEARN_ESM_OFFLINE forbids the download") as error:
        find_checkpoint("esm2_t6_8M_UR50D")
    assert str(tmp_path / "hub" / "checkpoints" / "esm2_t6_8M_UR50D.pt") in str(error.value)
    assert "/models/esm2_t6_8M_UR50D.pt" in str(error.value)


@pytest.mark.parametrize("name", [*CATALOG, *ALIASES, BUNDLED_MODEL])
def test_a_file_named_like_a_published_model_does_not_hide_it(tmp_path, monkeypatch, name):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    published = folder / f"{ALIASES.get(name, name)}.pt"
    published.touch()
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(b"another")
    for model in (name, Path(name)):
        assert not is_path(model)
        found = find_checkpoint(model)
        assert found.parent.name == "bundled" if name == BUNDLED_MODEL else found == published
    # it is given by its path
    for model in (f"./{name}", tmp_path / name):
        assert is_path(model)
        assert find_checkpoint(model).read_bytes() == b"another"


def test_a_file_of_any_other_name_is_found_without_a_suffix(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "esm2_of_mine").write_bytes(b"mine")
    assert is_path("esm2_of_mine")
    assert find_checkpoint("esm2_of_mine").read_bytes() == b"mine"


# texts that can be the path of no file, and why
UNUSABLE = {
    "~nobody_of_this_name/x": "Could not determine home directory",
    "a\0b": "embedded null",
    "\ud800": "surrogates not allowed",
    "x" * 5000: "File name too long",
    "x/" * 5000 + "x": "File name too long",
}


@pytest.mark.parametrize(
    "find", [find_checkpoint, lambda model: ESMEmbeddingTransformer(model).fit(["M"])]
)
@pytest.mark.parametrize(("text", "reason"), UNUSABLE.items(), ids=lambda text: repr(text[:20]))
def test_a_path_that_no_file_can_have_is_named(text, reason, find):
    model = f"{text}.pt"
    with pytest.raises(FileNotFoundError) as error:
        find(model)
    message = str(error.value)
    assert message.startswith(f"model must be the path of an existing file; got {model!r} (")
    assert reason in message
    assert message.endswith("or the name of a published model, such as 'esm2_t6_8M_UR50D'.")


@pytest.mark.parametrize("text", UNUSABLE, ids=lambda text: repr(text[:20]))
def test_such_a_text_without_the_suffix_is_no_published_name(text):
    assert not is_path(text)
    with pytest.raises(ValueError, match="name of a published ESM model or the path") as error:
        find_checkpoint(text)
    assert f"got {text!r}. " in str(error.value)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("esm_msa1b_t12_100M_UR50S", "an MSA Transformer, which needs alignments"),
        ("esm_if1_gvp4_t16_142M_UR50", "an ESM-IF model, which needs structures"),
        ("esmfold_v1", "an ESMFold model, which predicts structures"),
        ("esm2_t6_8M_UR50", "got 'esm2_t6_8M_UR50'. Did you mean 'esm2_t6_8M_UR50D'"),
    ],
)
def test_a_name_that_is_no_sequence_model_is_refused_with_the_reason(name, reason):
    with pytest.raises(ValueError, match=name) as error:
        find_checkpoint(name)
    assert reason in str(error.value)


# what is in it


@pytest.mark.parametrize("family", FAMILIES)
def test_the_architecture_of_each_family(checkpoints, family):
    architecture = read_checkpoint(checkpoints[family].path).architecture
    assert architecture == ARCHITECTURES[family]
    assert architecture.has_eos == checkpoints[family].has_eos
    assert architecture.alphabet == ("ESM-1" if family == "esm1" else "ESM-1b")


@pytest.mark.parametrize(("dtype", "legacy"), [(torch.float16, False), (torch.float32, True)])
@pytest.mark.parametrize("family", FAMILIES)
def test_both_containers_and_both_dtypes_are_read(tmp_path, family, dtype, legacy):
    saved = save_random_checkpoint(tmp_path / "a.pt", family, dtype=dtype, legacy=legacy)
    checkpoint = read_checkpoint(saved.path)
    assert checkpoint.architecture == ARCHITECTURES[family]
    (written,) = (
        tensor
        for name, tensor in torch.load(saved.path, weights_only=False)["model"].items()
        if name.endswith("layers.1.fc1.weight")
    )
    assert checkpoint.weights["layers.1.fc1.weight"].dtype == dtype
    assert torch.equal(checkpoint.weights["layers.1.fc1.weight"], written)


def test_the_containers_give_the_same_embedding(tmp_path):
    new = save_random_checkpoint(tmp_path / "new.pt", "esm2")
    old = save_random_checkpoint(tmp_path / "old.pt", "esm2", legacy=True)
    assert np.array_equal(embed(new.path), embed(old.path))


@pytest.mark.parametrize(("family", "name"), [("esm2", "foo.pt"), ("esm1", "esm2_x.pt")])
def test_the_family_is_decided_by_content_not_by_file_name(tmp_path, checkpoints, family, name):
    # fair-esm takes every file whose name begins otherwise than "esm2" for an ESM-1b
    saved = save_random_checkpoint(tmp_path / name, family)
    assert read_checkpoint(saved.path).architecture == ARCHITECTURES[family]
    assert np.array_equal(embed(saved.path), embed(checkpoints[family].path))


def test_a_wider_and_longer_model_has_its_own_numbers(tmp_path):
    saved = save_random_checkpoint(tmp_path / "a.pt", "esm1b", layers=2, width=24, heads=3, max_length=9)
    expected = Architecture("esm1b", 2, 24, 3, token_dropout=True, max_length=9)
    assert read_checkpoint(saved.path).architecture == expected


# mapped, not copied


@pytest.fixture
def mapped_ranges():
    """Return the address ranges at which a file is mapped into this process."""
    if not os.path.exists("/proc/self/maps"):
        pytest.skip("needs /proc")

    def ranges(path):
        lines = Path("/proc/self/maps").read_text().splitlines()
        return [
            tuple(int(end, 16) for end in line.split()[0].split("-"))
            for line in lines
            if line.endswith(str(path))
        ]

    return ranges


def inside(tensor, ranges):
    return any(start <= tensor.data_ptr() < end for start, end in ranges)


def test_every_tensor_of_an_opened_checkpoint_lies_in_its_file(tmp_path, mapped_ranges):
    saved = save_random_checkpoint(tmp_path / "mapped.pt", "esm2")
    checkpoint = read_checkpoint(saved.path)
    ranges = mapped_ranges(saved.path)
    assert all(inside(tensor, ranges) for tensor in checkpoint.weights.values())


@pytest.mark.parametrize(("dtype", "mapped"), [("float32", True), ("bfloat16", False)])
def test_a_loaded_model_computes_from_the_mapped_file(tmp_path, mapped_ranges, dtype, mapped):
    saved = save_random_checkpoint(tmp_path / "mapped.pt", "esm2")
    model = PackedModel(read_checkpoint(saved.path), "cpu", dtype)
    ranges = mapped_ranges(saved.path)
    for block in model._blocks:
        for linear in (block.up, block.down, block.out, *block.qkv):
            assert inside(linear.weight, ranges) == mapped


@pytest.mark.parametrize(
    ("value", "mapped"),
    [("0", False), ("false", False), (" No ", False), ("1", True), ("yes", True), ("", True)],
)
def test_a_variable_says_whether_weights_are_mapped(tmp_path, mapped_ranges, monkeypatch, value, mapped):
    monkeypatch.setenv("SKLEARN_ESM_MMAP", value)
    saved = save_random_checkpoint(tmp_path / "mapped.pt", "esm2")
    weights = read_checkpoint(saved.path).weights
    ranges = mapped_ranges(saved.path)
    assert {inside(tensor, ranges) for tensor in weights.values()} == {mapped}


def test_reading_leaves_nothing_more_allowed_in_torch(checkpoints):
    before = set(torch.serialization.get_safe_globals())
    read_checkpoint(checkpoints["esm2"].path)
    assert set(torch.serialization.get_safe_globals()) == before
    assert argparse.Namespace not in before


@pytest.mark.no_cover
def test_threads_that_read_at_once_leave_nothing_more_allowed_in_torch(checkpoints):
    barrier = Barrier(8)

    def read(number):
        barrier.wait()
        for _ in range(3):
            read_checkpoint(checkpoints[FAMILIES[number % len(FAMILIES)]].path)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read, range(8)))
    assert argparse.Namespace not in torch.serialization.get_safe_globals()
