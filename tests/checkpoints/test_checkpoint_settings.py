"""The settings in a checkpoint: named as fair-esm names them, and agreeing with the tensors."""

import argparse
import re

import numpy as np
import pytest
import torch
from fair_esm_oracle import (
    LAYERS,
    assert_faithful,
    fair_esm_residues,
    save_random_checkpoint,
)

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm._checkpoints._reader import read_checkpoint

SEQUENCES = ["MKTAYIAKQR", "MK<mask>AYI", "GG"]


@pytest.fixture
def resaved(tmp_path):
    """A function that saves a random model with other settings; those that are None are left out."""

    def resave(family, name="resaved.pt", last=None, **changes):
        checkpoint = save_random_checkpoint(tmp_path / name, family, seed=7)
        contents = torch.load(checkpoint.path, weights_only=False)
        old = contents["cfg"]["model"] if family == "esm2" else contents["args"]
        settings = {name: value for name, value in vars(old).items() if name not in changes}
        settings.update({name: value for name, value in changes.items() if value is not None})
        settings.update(last or {})
        new = argparse.Namespace(**settings)
        contents.update({"cfg": {"model": new}} if family == "esm2" else {"args": new})
        checkpoint.path.unlink()  # its tensors may be mapped
        torch.save(contents, checkpoint.path)
        return checkpoint

    return resave


def assert_equal_to_fair_esm(checkpoint):
    states = ESMEmbeddingTransformer(checkpoint.path, layer=[0, -1], pooling=None, cache=None)
    layers = [fair_esm_residues(checkpoint, SEQUENCES, layer) for layer in (0, LAYERS)]
    actual = states.fit_transform(SEQUENCES)
    for one, lowest, highest in zip(actual, *layers, strict=True):
        assert_faithful(one, np.concatenate([lowest, highest], axis=1))


def refusal(checkpoint):
    with pytest.raises(ValueError, match=f"^{re.escape(str(checkpoint.path))}[: ]") as error:
        read_checkpoint(checkpoint.path)
    with pytest.raises(ValueError, match=re.escape(str(error.value))):
        ESMEmbeddingTransformer(checkpoint.path).fit(["MKT"])
    return str(error.value)


# names


@pytest.mark.parametrize(
    ("family", "name", "value"),
    [
        ("esm1b", "token_dropout", True),
        ("esm1b", "encoder_token_dropout", True),
        ("esm1b", "encoder_token_dropout", False),
        ("esm1v", "sentence_encoder_token_dropout", True),
        ("esm1v", "sentence_encoder_token_dropout", False),
        ("esm1", "token_dropout", True),
        ("esm1", "decoder_token_dropout", True),
        ("esm1", "decoder_token_dropout", False),
    ],
)
@pytest.mark.no_cover
def test_token_dropout_under_any_name_equals_fair_esm(resaved, family, name, value):
    assert_equal_to_fair_esm(resaved(family, token_dropout=None, last={name: value}))


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize(
    ("family", "names"),
    [
        ("esm1b", ("token_dropout", "_token_dropout")),
        ("esm1b", ("_token_dropout", "token_dropout")),
        ("esm1", ("token_dropout", "_token_dropout")),
    ],
)
@pytest.mark.no_cover
def test_the_last_of_two_names_counts_as_with_fair_esm(resaved, family, names, last):
    side = "decoder" if family == "esm1" else "encoder"
    first, second = (f"{side}{name}" if name.startswith("_") else name for name in names)
    checkpoint = resaved(family, token_dropout=None, last={first: not last, second: last})
    assert read_checkpoint(checkpoint.path).architecture.token_dropout is last
    assert_equal_to_fair_esm(checkpoint)


@pytest.mark.parametrize(
    ("family", "name"), [("esm1b", "decoder_token_dropout"), ("esm1", "encoder_token_dropout")]
)
def test_a_name_of_the_other_side_is_none(resaved, family, name):
    checkpoint = resaved(family, token_dropout=False, last={name: True})
    assert not read_checkpoint(checkpoint.path).architecture.token_dropout
    assert_equal_to_fair_esm(checkpoint)


@pytest.mark.parametrize("family", ["esm1b", "esm1v", "esm1"])
@pytest.mark.no_cover
def test_names_without_a_side_are_read(resaved, family):
    side = "decoder" if family == "esm1" else "encoder"
    shape = {"layers": LAYERS, "embed_dim": 32, "attention_heads": 4, "ffn_embed_dim": 128}
    gone = {f"{side}_{name}": None for name in shape}
    assert_equal_to_fair_esm(resaved(family, **gone, last=shape))


@pytest.mark.parametrize("value", [True, False])
def test_esm2_has_its_token_dropout_under_one_name(resaved, value):
    checkpoint = resaved("esm2", token_dropout=value, last={"encoder_token_dropout": not value})
    assert read_checkpoint(checkpoint.path).architecture.token_dropout is value
    assert_equal_to_fair_esm(checkpoint)


def test_esm2_without_that_name_is_refused_as_by_fair_esm(resaved):
    checkpoint = resaved("esm2", token_dropout=None, last={"encoder_token_dropout": True})
    assert "'token_dropout' is missing. Download or copy the file again." in refusal(checkpoint)


@pytest.mark.parametrize("family", ["esm1b", "esm1"])
@pytest.mark.no_cover
def test_a_feed_forward_network_of_another_width_equals_fair_esm(tmp_path, monkeypatch, family):
    import fair_esm_oracle

    build = fair_esm_oracle.ProteinBertModel
    widened = {}

    def wider(args, alphabet):
        args.ffn_embed_dim = 40
        widened.update(vars(args))
        return build(args, alphabet)

    with monkeypatch.context() as patched:
        patched.setattr(fair_esm_oracle, "ProteinBertModel", wider)
        checkpoint = save_random_checkpoint(tmp_path / "wide.pt", family)
    contents = torch.load(checkpoint.path, weights_only=False)
    vars(contents["args"])[f"{'decoder' if family == 'esm1' else 'encoder'}_ffn_embed_dim"] = 40
    checkpoint.path.unlink()
    torch.save(contents, checkpoint.path)
    assert widened["ffn_embed_dim"] == 40
    assert_equal_to_fair_esm(checkpoint)


# what disagrees with the tensors


@pytest.mark.parametrize(
    ("family", "name", "layers"),
    [
        ("esm2", "encoder_layers", LAYERS - 1),
        ("esm1b", "encoder_layers", LAYERS + 1),
        ("esm1", "decoder_layers", 10**9),
    ],
)
def test_another_number_of_layers_is_refused(resaved, family, name, layers):
    message = refusal(resaved(family, **{name: layers}))
    assert f"its settings have {layers} layers, but its tensors have {LAYERS}. " in message


@pytest.mark.parametrize(
    ("family", "name", "alphabet"),
    [("esm2", "encoder_embed_dim", 33), ("esm1v", "encoder_embed_dim", 33), ("esm1", "embed_dim", 35)],
)
def test_another_width_is_refused(resaved, family, name, alphabet):
    message = refusal(resaved(family, last={name: 64}))
    assert f": embed_tokens.weight must have shape ({alphabet}, 64); got ({alphabet}, 32). " in message


@pytest.mark.parametrize("family", ["esm1b", "esm1v"])
def test_another_number_of_positions_is_refused(resaved, family):
    message = refusal(resaved(family, max_positions=43))
    assert ": embed_positions.weight must have shape (45, 32); got (44, 32). " in message


@pytest.mark.parametrize(
    ("family", "name"), [("esm1b", "encoder_ffn_embed_dim"), ("esm1", "decoder_ffn_embed_dim")]
)
def test_another_width_of_the_feed_forward_network_is_refused(resaved, family, name):
    message = refusal(resaved(family, **{name: 96}))
    assert ": layers.0.fc1.weight must have shape (96, 32); got (128, 32). " in message


@pytest.mark.parametrize(
    ("name", "value"),
    [("layers", "32"), ("layers", True), ("embed_dim", 32.0), ("attention_heads", [32])],
)
def test_a_setting_that_is_no_integer_is_refused(resaved, name, value):
    message = refusal(resaved("esm2", **{f"encoder_{name}": value}))
    assert f"{name} must be an integer; got {value!r}. Download or copy the file again." in message


@pytest.mark.parametrize("family", ["esm2", "esm1b", "esm1"])
def test_settings_that_only_repeat_the_tensors_may_be_missing(resaved, family):
    side = "decoder" if family == "esm1" else "encoder"
    gone = {f"{side}_{name}": None for name in ("layers", "embed_dim", "ffn_embed_dim")}
    whole = resaved(family, "whole.pt")
    bare = resaved(family, "bare.pt", **gone, max_positions=None)
    assert read_checkpoint(bare.path).architecture == read_checkpoint(whole.path).architecture
    vectors = [
        ESMEmbeddingTransformer(checkpoint.path, cache=None).fit_transform(SEQUENCES)
        for checkpoint in (bare, whole)
    ]
    assert np.array_equal(*vectors)


# shapes that no model can have


def test_heads_of_an_odd_width_are_refused_where_they_are_rotated(tmp_path):
    # made by hand: fair-esm's rotation fails with them
    contents = torch.load(
        save_random_checkpoint(tmp_path / "a.pt", "esm2", layers=1).path, weights_only=False
    )
    contents["cfg"]["model"].encoder_attention_heads = 32
    path = tmp_path / "odd.pt"
    torch.save(contents, path)
    with pytest.raises(ValueError, match=r"heads of an even width; got 1\. Download or copy"):
        read_checkpoint(path)


@pytest.mark.parametrize("width", [2, 5])
def test_widths_without_sinusoidal_positions_are_refused(tmp_path, width):
    contents = torch.load(
        save_random_checkpoint(tmp_path / "a.pt", "esm1", layers=1).path, weights_only=False
    )
    contents["args"] = argparse.Namespace(arch="protein_bert_base", decoder_attention_heads=1)
    contents["model"]["decoder.embed_tokens.weight"] = torch.zeros(35, width)
    path = tmp_path / "narrow.pt"
    torch.save(contents, path)
    with pytest.raises(ValueError, match=rf"an even width of 4 or more; got {width}\. Download or copy"):
        read_checkpoint(path)


def test_too_few_positions_for_one_residue_are_refused(tmp_path):
    contents = torch.load(save_random_checkpoint(tmp_path / "a.pt", "esm1b").path, weights_only=False)
    contents["args"].max_positions = 2
    contents["model"]["encoder.sentence_encoder.embed_positions.weight"] = torch.zeros(4, 32)
    path = tmp_path / "short.pt"
    torch.save(contents, path)
    with pytest.raises(ValueError, match=r"embed_positions.weight must have 5 rows or more; got 4\. "):
        read_checkpoint(path)
