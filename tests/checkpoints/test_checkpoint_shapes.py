"""Every tensor that the engine reads is checked when a checkpoint is opened: type, shape, memory."""

import re

import numpy as np
import pytest
import torch
from fair_esm_oracle import FAMILIES, save_random_checkpoint

from sklearn_esm import ESMContactTransformer, ESMEmbeddingTransformer, ESMLikelihoodTransformer
from sklearn_esm._checkpoints._reader import read_checkpoint

ESTIMATORS = [ESMEmbeddingTransformer, ESMLikelihoodTransformer, ESMContactTransformer]
WIDTH, HEADS, MAX_LENGTH = 8, 2, 6


def tensors_of(family):
    """The names of the tensors that the engine reads from a file of one block, by hand."""
    parts = ["self_attn_layer_norm", "final_layer_norm", "fc1", "fc2"]
    parts += [f"self_attn.{name}_proj" for name in ("q", "k", "v", "out")]
    parts = [f"layers.0.{part}" for part in parts]
    if family != "esm1":
        parts += ["emb_layer_norm_after", "lm_head.dense", "lm_head.layer_norm"]
    if family == "esm1b":
        parts.append("emb_layer_norm_before")
    alone = {
        "esm2": ["layers.0.self_attn.rot_emb.inv_freq", "lm_head.weight", "lm_head.bias"],
        "esm1b": ["embed_positions.weight", "lm_head.weight", "lm_head.bias"],
        "esm1v": ["embed_positions.weight", "lm_head.weight", "lm_head.bias"],
        "esm1": [f"layers.0.self_attn.bias_{name}" for name in "kv"] + ["embed_out", "embed_out_bias"],
    }[family]
    pairs = [f"{part}.{kind}" for part in parts for kind in ("weight", "bias")]
    return ["embed_tokens.weight", *pairs, *alone]


SOME = [
    ("esm2", "embed_tokens.weight"),
    ("esm2", "layers.0.self_attn.rot_emb.inv_freq"),
    ("esm1b", "emb_layer_norm_before.weight"),
    ("esm1", "layers.0.self_attn.bias_k"),
]
OTHER_SHAPES = {
    "0-d": lambda t: torch.zeros(()),
    "one number": lambda t: torch.zeros(1),
    "one dimension more": lambda t: t[None].clone(),
    "one row less": lambda t: t[:-1].clone(),
    "one row more": lambda t: torch.cat((t, t[:1])),
    "none": lambda t: t[:0].clone(),
}
# what becomes of a tensor, and how the message describes it
OTHER_KINDS = {
    "text": (lambda t: "text", "str"),
    "None": (lambda t: None, "NoneType"),
    "list": (lambda t: t.tolist(), "list"),
    "meta": (lambda t: t.to("meta"), "meta"),
    "sparse": (lambda t: t.to_sparse(), "sparse_coo"),
    "complex": (lambda t: t.to(torch.complex64), "complex64"),
    "boolean": (lambda t: t > 0, "bool"),
    "integer": (lambda t: t.to(torch.int64), "int64"),
}


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    """A function that gives what a small file of a family holds, to be spoilt."""
    folder = tmp_path_factory.mktemp("good")
    shape = {"layers": 1, "width": WIDTH, "heads": HEADS, "max_length": MAX_LENGTH}
    paths = {
        family: save_random_checkpoint(folder / f"{family}.pt", family, **shape).path
        for family in FAMILIES
    }
    return lambda family: torch.load(paths[family], weights_only=False)


def spoil(path, contents, tensor, change):
    """Save the contents with another tensor in place of one; return the shape of the old one."""
    (name,) = (name for name in contents["model"] if re.fullmatch(rf"([a-z_]+\.)*?{tensor}", name))
    old = contents["model"][name]
    contents["model"][name] = change(old)
    torch.save(contents, path)
    return tuple(old.shape)


def refusal(path):
    """The message with which every estimator refuses the file when it is fitted."""
    messages = set()
    for estimator in ESTIMATORS:
        with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: ") as error:
            estimator(path, cache=None).fit(["MKT"])
        messages.add(str(error.value))
    (message,) = messages
    assert message.endswith("Download or copy the file again.")
    return message


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.no_cover
def test_another_shape_of_any_tensor_is_refused(tmp_path, contents, family):
    for number, tensor in enumerate(tensors_of(family)):
        path = tmp_path / f"{number}.pt"
        expected = spoil(path, contents(family), tensor, lambda t: torch.zeros(5, 7))
        message = f"{path}: {tensor} must have shape {expected}; got (5, 7). "
        with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
            read_checkpoint(path)


@pytest.mark.parametrize("change", OTHER_SHAPES)
def test_every_other_shape_of_a_tensor_is_refused(tmp_path, contents, change):
    path, data, tensor = tmp_path / "model.pt", contents("esm2"), "layers.0.fc1.bias"
    got = []
    expected = spoil(path, data, tensor, lambda t: got.append(OTHER_SHAPES[change](t)) or got[0])
    shape = tuple(got[0].shape)
    assert f"{path}: {tensor} must have shape {expected}; got {shape}. " in refusal(path)


@pytest.mark.parametrize("change", OTHER_KINDS)
def test_another_kind_of_tensor_is_refused(tmp_path, contents, change):
    path, tensor = tmp_path / "model.pt", "layers.0.fc1.bias"
    spoilt, found = OTHER_KINDS[change]
    expected = spoil(path, contents("esm2"), tensor, spoilt)
    message = refusal(path)
    assert (
        f"{path}: {tensor} must be a dense floating-point CPU tensor of shape {expected}; got "
        in message
    )
    assert found in message


@pytest.mark.parametrize(("family", "tensor"), SOME)
def test_one_number_for_a_whole_tensor_is_refused(tmp_path, contents, family, tensor):
    path = tmp_path / "model.pt"
    expected = spoil(path, contents(family), tensor, lambda t: torch.zeros(1).expand(t.shape))
    message = refusal(path)
    assert f"{path}: {tensor} must be a dense floating-point CPU tensor of shape {expected}; " in message
    assert f"got shape {expected} with strides ({', '.join('0' * len(expected))}" in message


@pytest.mark.parametrize("family", ["esm1b", "esm2"])
def test_rows_that_overlap_are_refused(tmp_path, contents, family):
    path = tmp_path / "model.pt"
    spoil(
        path,
        contents(family),
        "layers.0.fc2.weight",
        lambda t: torch.zeros(39).as_strided(t.shape, (1, 1)),
    )
    assert "layers.0.fc2.weight must be a dense" in refusal(path)
    assert "got shape (8, 32) with strides (1, 1)" in refusal(path)


def test_tensors_that_share_memory_in_part_are_refused(tmp_path, contents):
    # each alone is dense; together they claim more numbers than there are
    data, path = contents("esm2"), tmp_path / "model.pt"
    shared = torch.zeros(400)
    for start, (name, tensor) in enumerate(data["model"].items()):
        data["model"][name] = shared[start : start + tensor.numel()].view(tensor.shape)
    torch.save(data, path)
    assert "its tensors must not overlap" in refusal(path)


@pytest.mark.parametrize("norm", ["weight", "bias"])
def test_half_a_norm_before_the_blocks_is_refused(tmp_path, contents, norm):
    data, path = contents("esm1b"), tmp_path / "model.pt"
    del data["model"][f"encoder.sentence_encoder.emb_layer_norm_before.{norm}"]
    torch.save(data, path)
    with pytest.raises(
        ValueError, match=rf"1 of its tensors are missing \(emb_layer_norm_before.{norm}\)"
    ):
        read_checkpoint(path)


def test_a_bias_of_the_output_that_the_settings_promise_is_missed(tmp_path, contents):
    data, path = contents("esm1"), tmp_path / "model.pt"
    del data["model"]["decoder.embed_out_bias"]
    torch.save(data, path)
    with pytest.raises(ValueError, match=r"1 of its tensors are missing \(embed_out_bias\)"):
        read_checkpoint(path)


# what is as good as before


def vectors(path):
    sequences = ["MKTA", "MK<mask>A"]
    return np.hstack(
        [
            ESMEmbeddingTransformer(path, layer="all", cache=None).fit_transform(sequences),
            ESMLikelihoodTransformer(path, cache=None).fit_transform(["MKTA", "MKAA"]),
        ]
    )


@pytest.mark.parametrize("family", ["esm2", "esm1"])
@pytest.mark.no_cover
def test_columns_stored_first_and_parameters_are_read(tmp_path, contents, family):
    data = contents(family)
    torch.save(data, tmp_path / "plain.pt")
    for name, tensor in data["model"].items():
        if "fc1.weight" in name:
            data["model"][name] = tensor.t().contiguous().t()
        elif "fc2" in name:
            data["model"][name] = torch.nn.Parameter(tensor)
    torch.save(data, tmp_path / "other.pt")
    assert np.array_equal(vectors(tmp_path / "other.pt"), vectors(tmp_path / "plain.pt"))


@pytest.mark.parametrize("family", ["esm2", "esm1"])
@pytest.mark.no_cover
def test_tensors_that_nothing_reads_may_be_anything(tmp_path, contents, family):
    data = contents(family)
    torch.save(data, tmp_path / "plain.pt")
    data["model"].update(
        {
            "contact_head.regression.weight": torch.zeros(5, 7),
            "layers.0.notes": "text",
            "version": torch.zeros(1).expand(1000, 1000),
            "sparse": torch.eye(3).to_sparse(),
        }
    )
    data["optimizer"] = [{"state": {0: torch.ones(3, dtype=torch.int64), 1: torch.zeros(2).to("meta")}}]
    data["rng"] = bytearray(b"12")
    torch.save(data, tmp_path / "other.pt")
    assert np.array_equal(vectors(tmp_path / "other.pt"), vectors(tmp_path / "plain.pt"))
