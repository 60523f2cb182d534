"""The identity of a folder is that of all files that decide its numbers; a change of any is noticed."""

import json
import os
import shutil
import time

import numpy as np
import pytest
from hugging_face_oracle import (
    config_of,
    load,
    save_random_model,
    save_sharded,
    tensors_of,
    transformers_states,
    with_tensors,
)

from sklearn_esm import ESMContactTransformer, ESMEmbeddingTransformer, ESMLikelihoodTransformer
from sklearn_esm._cache import Key, open_cache
from sklearn_esm._checkpoints import _fingerprint
from sklearn_esm._checkpoints._fingerprint import identify

LONG_AGO = 1_000_000_000  # seconds since 1970
SEQUENCES = ["MKTAYIAKQRQISFVKSHFSRQ", "GIGKFLHSAKKFGKAFVGEIMNS", "DRVYIHPF"]


@pytest.fixture(autouse=True)
def first_process(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(_fingerprint, "_known", {})


@pytest.fixture
def model(tmp_path):
    return settled(save_random_model(tmp_path / "mine"))


@pytest.fixture
def sharded(model, tmp_path):
    return settled(save_sharded(model, tmp_path / "sharded"))


@pytest.fixture
def reads(monkeypatch):
    paths = []
    find_out = _fingerprint._find_out

    def reading(state, *rest):
        paths.append(state.path)
        return find_out(state, *rest)

    monkeypatch.setattr(_fingerprint, "_find_out", reading)
    return paths


def settled(folder):
    """The folder with files that were last written to long ago, which are hashed once only."""
    for path in folder.iterdir():
        os.utime(path, (LONG_AGO, LONG_AGO))
    return folder


def means(folder):
    states = [transformers_states(load(folder), sequence)[-1, 1:-1] for sequence in SEQUENCES]
    return np.array([state.mean(0) for state in states])


def test_a_folder_is_hashed_once_by_all_processes(model, reads):
    found_out = identify(model)
    assert identify(model) is found_out
    _fingerprint._known.clear()
    assert identify(model) == found_out
    assert reads == [str(model)]


@pytest.mark.parametrize("layout", ["model", "sharded"])
def test_each_file_that_is_rewritten_is_noticed(layout, request, reads):
    folder = request.getfixturevalue(layout)
    for number, path in enumerate(sorted(folder.iterdir()), start=1):
        former = identify(folder)
        assert len(reads) == number
        time.sleep(0.02)  # the clock of a file system may go in steps of 10 ms
        path.write_bytes(path.read_bytes())
        os.utime(path, (LONG_AGO + 1, LONG_AGO + 1))
        assert identify(folder) == former
        assert len(reads) == number + 1


def test_copies_and_the_file_alone_are_one_model(model, tmp_path):
    copy = shutil.copytree(model, tmp_path / "copy")
    assert identify(copy) == identify(model) == identify(model / "model.safetensors")


def test_a_folder_of_links_is_that_of_their_targets(model, tmp_path):
    # as in the cache of the Hugging Face Hub, whose targets have other names
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshot"
    blobs.mkdir()
    snapshot.mkdir()
    for number, path in enumerate(model.iterdir()):
        shutil.copy(path, blobs / f"{number}")
        (snapshot / path.name).symlink_to(f"../blobs/{number}")
    for path in (snapshot, snapshot / "model.safetensors"):
        assert identify(path) == identify(model)


@pytest.mark.parametrize(
    ("entries", "same"),
    [
        ({"transformers_version": "4.57.0", "architectures": ["EsmModel"], "_name_or_path": "x"}, True),
        ({"id2label": {"0": "yes"}, "use_cache": False, "hidden_dropout_prob": 0.0}, True),
        ({"token_dropout": False}, False),
        ({"num_attention_heads": 2, "contacts": None}, False),
        ({"of_a_later_version": 1}, False),
    ],
)
def test_entries_that_decide_the_numbers_are_in_the_fingerprint(model, tmp_path, entries, same):
    tensors = {
        name: tensor
        for name, tensor in tensors_of(model).items()
        if "inv_freq" not in name and "contact_head" not in name
    }
    plain = with_tensors(model, tmp_path / "plain", tensors)
    changed = with_tensors(model, tmp_path / "changed", tensors, **entries)
    assert (identify(plain).fingerprint == identify(changed).fingerprint) == same


def test_every_tensor_is_in_the_fingerprint(model, tmp_path):
    former = {identify(model).fingerprint}
    for name, tensor in tensors_of(model).items():
        if not name.endswith(("inv_freq", "contact_head.regression.bias")):
            tensors = {**tensors_of(model), name: tensor + 1}
            former.add(identify(with_tensors(model, tmp_path / "other", tensors)).fingerprint)
    assert len(former) == len(tensors_of(model)) - 1


# During a run


@pytest.mark.parametrize("layout", ["model", "sharded"])
def test_a_shard_rewritten_during_a_pass_fills_no_cache(layout, request, tmp_path, cache, during_a_pass):
    folder = request.getfixturevalue(layout)
    other = save_random_model(tmp_path / "other", seed=1)
    if layout == "sharded":
        other = save_sharded(other, tmp_path / "other_sharded")
    shard = sorted(folder.glob("*.safetensors"))[-1]
    fingerprint = identify(folder).fingerprint
    embed = ESMEmbeddingTransformer(folder, cache=cache).fit(SEQUENCES)
    during_a_pass(lambda: shard.write_bytes((other / shard.name).read_bytes()))
    with pytest.raises(ValueError, match="must be those with which this run began"):
        embed.transform(SEQUENCES)
    keys = [Key(fingerprint, "float32", 3, "mean", 0, sequence) for sequence in SEQUENCES]
    with open_cache(cache, fingerprint) as opened:
        assert opened.get(keys) == [None] * 3


def test_settings_rewritten_during_a_pass_fill_no_cache(model, cache, during_a_pass):
    embed = ESMEmbeddingTransformer(model, cache=cache).fit(SEQUENCES)
    config = {**config_of(model), "token_dropout": False}
    during_a_pass(lambda: (model / "config.json").write_text(json.dumps(config)))
    with pytest.raises(ValueError, match="must be those with which this run began"):
        embed.transform(SEQUENCES)
    np.testing.assert_allclose(embed.fit_transform(SEQUENCES), means(model), rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore:The contact regression of")
@pytest.mark.parametrize("layout", ["model", "sharded"])
def test_workers_read_folders(layout, request):
    folder = request.getfixturevalue(layout)
    for kind in (ESMEmbeddingTransformer, ESMContactTransformer, ESMLikelihoodTransformer):
        alone = kind(folder, cache=None).fit_transform(SEQUENCES)
        together = kind(folder, cache=None, n_jobs=2).fit_transform(SEQUENCES)
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
