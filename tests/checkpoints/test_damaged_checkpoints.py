"""Files that are not checkpoints: an error names the file and the fix, and nothing in it is run."""

import argparse
import os
import pickle
import re
import zipfile

import pytest
import torch
from fair_esm_oracle import HEADS, save_random_checkpoint

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm._checkpoints._reader import read_checkpoint


@pytest.fixture
def contents(tmp_path):
    """The content of a good ESM-2 checkpoint, to be spoilt."""
    saved = save_random_checkpoint(tmp_path / "good.pt", "esm2", layers=1)
    return torch.load(saved.path, weights_only=False)


def named(path):
    """Return the pattern of a message that begins with the file."""
    return f"^{re.escape(str(path))} "


def refusal(path):
    """Return the message with which a file is refused, by the reader and by the estimator alike."""
    with pytest.raises(ValueError, match=named(path)) as error:
        read_checkpoint(path)
    with pytest.raises(ValueError, match=named(path)) as of_estimator:
        ESMEmbeddingTransformer(path).fit(["MKT"])
    assert str(of_estimator.value) == str(error.value)
    return str(error.value)


def saved(tmp_path, contents, **kwargs):
    path = tmp_path / "spoilt.pt"
    torch.save(contents, path, **kwargs)
    return path


class Hostile:
    """Unpickles by running a command."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("place", ["whole", "args", "cfg", "model", "extra"])
@pytest.mark.parametrize("legacy", [False, True])
def test_a_hostile_file_is_refused_and_does_not_run(tmp_path, contents, legacy, place):
    victim = tmp_path / "victim"
    hostile = Hostile(f'touch "{victim}"')
    spoilt = {
        "whole": hostile,
        "args": {"args": argparse.Namespace(arch=hostile), "model": contents["model"]},
        "cfg": {"cfg": {"model": argparse.Namespace(token_dropout=hostile)}, "model": contents["model"]},
        "model": {**contents, "model": {**contents["model"], "x": hostile}},
        "extra": {**contents, "optimizer": [hostile]},
    }[place]
    path = saved(tmp_path, spoilt, _use_new_zipfile_serialization=not legacy)
    message = refusal(path)
    assert f"got a reference to {os.system.__module__}.system. Nothing in it was run." in message
    assert "Get the file from a source you trust" in message
    assert not victim.exists()


def test_the_hostile_file_would_run_in_an_ordinary_reader(tmp_path):
    # the counter-check: without it the test above could pass by a mistake in the pickle
    victim = tmp_path / "victim"
    path = saved(tmp_path, Hostile(f'touch "{victim}"'))
    torch.load(path, weights_only=False)
    assert victim.exists()


def test_a_plain_pickle_of_a_command_does_not_run(tmp_path):
    victim = tmp_path / "victim"
    path = tmp_path / "plain.pt"
    path.write_bytes(pickle.dumps(Hostile(f'touch "{victim}"')))
    refusal(path)
    assert not victim.exists()


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_cut_short_anywhere_is_refused(tmp_path, legacy):
    whole = save_random_checkpoint(
        tmp_path / "a.pt", "esm2", layers=1, width=8, heads=2, legacy=legacy
    ).path.read_bytes()
    path = tmp_path / "cut.pt"
    # closely at the beginning, where the legacy format's reader fails in the most ways
    for length in {*range(64), *range(64, len(whole), 97), len(whole) - 1}:
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=named(path)):
            read_checkpoint(path)


@pytest.mark.parametrize(
    "content",
    [b"", b">sp|P01308\nMALWMRLLPLLALLALWGPDPAAA\n", b"\x00\x01\x02", b"PK\x03\x04 and no more"],
    ids=["empty", "text", "binary", "half a zip"],
)
def test_another_kind_of_file_is_refused(tmp_path, content):
    path = tmp_path / "other.pt"
    path.write_bytes(content)
    message = refusal(path)
    assert "damaged" in message
    assert "Download or copy the file again." in message or "Get the file from a source" in message


def test_a_web_page_saved_as_a_checkpoint_is_refused(tmp_path):
    # what a proxy or a login page leaves behind
    path = tmp_path / "page.pt"
    path.write_text("<!DOCTYPE html><html><body>403 Forbidden</body></html>")
    message = refusal(path)
    assert "damaged, truncated or different file (its first bytes are not those of " in message
    assert "Download or copy the file again." in message


@pytest.mark.parametrize("names", [[], ["a/version"]])
def test_a_zip_archive_without_a_pickle_is_refused(tmp_path, names):
    path = tmp_path / "other.pt"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"3")
    expected = "a zip archive without data.pkl" if names else "its first bytes are not"
    assert expected in refusal(path)


def test_an_empty_folder_is_no_checkpoint(tmp_path):
    with pytest.raises(ValueError, match=named(tmp_path) + "must have a config.json in it"):
        read_checkpoint(tmp_path)


def test_a_bare_state_dict_is_refused(tmp_path, contents):
    message = refusal(saved(tmp_path, contents["model"]))
    assert "checkpoint in fair-esm's format; got a file without a 'model' dictionary" in message
    assert "Pass a file downloaded from fair-esm or saved the same way." in message


@pytest.mark.parametrize("data", [[1, 2], {}, {"model": None}, torch.zeros(3)])
def test_other_data_saved_by_torch_are_refused(tmp_path, data):
    assert "got a file without a 'model' dictionary" in refusal(saved(tmp_path, data))


@pytest.mark.parametrize(
    ("arch", "reason"),
    [
        ("msa_transformer", "got an MSA Transformer, which needs alignments."),
        ("invariant_gvp", "got an ESM-IF model, which needs structures."),
        (
            "unknown",
            "must be a checkpoint of ESM-2, ESM-1b, ESM-1v or ESM-1; got the architecture 'unknown'.",
        ),
    ],
)
def test_another_architecture_is_refused_with_the_reason(tmp_path, contents, arch, reason):
    spoilt = {"args": argparse.Namespace(arch=arch), "model": contents["model"]}
    assert reason in refusal(saved(tmp_path, spoilt))


@pytest.mark.parametrize(
    "tensor",
    ["layers.0.fc1.weight", "layers.0.self_attn.rot_emb.inv_freq", "emb_layer_norm_after.bias"],
)
def test_a_missing_tensor_is_named(tmp_path, contents, tensor):
    del contents["model"][f"encoder.sentence_encoder.{tensor}"]
    message = refusal(saved(tmp_path, contents))
    assert f"1 of its tensors are missing ({tensor}" in message
    assert "Download or copy the file again." in message


def test_missing_blocks_are_counted(tmp_path):
    checkpoint = save_random_checkpoint(tmp_path / "a.pt", "esm1", layers=2)
    contents = torch.load(checkpoint.path, weights_only=False)
    contents["model"] = {k: v for k, v in contents["model"].items() if "layers.0." not in k}
    assert "18 of its tensors are missing (layers.0.self_attn_layer_norm.weight" in refusal(
        saved(tmp_path, contents)
    )


@pytest.mark.parametrize("kept", [(), ("embed_tokens",), ("embed_tokens", "emb_layer_norm_after")])
def test_a_model_without_blocks_is_refused(tmp_path, contents, kept):
    contents["model"] = {
        name: tensor for name, tensor in contents["model"].items() if name.split(".")[2] in kept
    }
    message = refusal(saved(tmp_path, contents))
    assert "must be a complete checkpoint of an ESM sequence model" in message
    assert "again." in message


def test_a_model_without_its_settings_is_refused(tmp_path, contents):
    del contents["cfg"]
    assert "'args' is missing. Download or copy the file again." in refusal(saved(tmp_path, contents))


@pytest.mark.parametrize(
    "change",
    [
        {"cfg": {"model": {"token_dropout": True}}},  # no Namespace
        {"cfg": {"model": argparse.Namespace(token_dropout=True)}},  # no heads
        {"cfg": {"model": argparse.Namespace(token_dropout=True, encoder_attention_heads=None)}},
        {"model": {7: torch.zeros(2)}},
        {"model": {"embed_tokens.weight": torch.zeros(3)}},
        {"model": {"embed_tokens.weight": 3}},
        {"model": {"embed_tokens.weight": torch.zeros(3, 4), "layers.x.y": 3}},
    ],
    ids=str,
)
def test_settings_and_tensors_of_another_kind_are_refused(tmp_path, contents, change):
    message = refusal(saved(tmp_path, {**contents, **change}))
    assert "must be a complete checkpoint of an ESM sequence model" in message


@pytest.mark.parametrize("heads", [HEADS + 1, 0, -2])
def test_heads_that_do_not_divide_the_width_are_refused(tmp_path, contents, heads):
    contents["cfg"]["model"].encoder_attention_heads = heads
    message = refusal(saved(tmp_path, contents))
    assert f"number of attention heads that divides its width of 32; got {heads}. " in message
    assert "Download or copy the file again." in message
