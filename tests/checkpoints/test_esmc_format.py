"""ESM C in its three layouts: the same tensors by canonical names, or an error that names one."""

import json
import re
from pathlib import Path

import pytest
import torch
from esmc_oracle import (
    FEED_FORWARD,
    HEADS,
    LAYERS,
    LAYOUTS,
    WIDTH,
    save_random_esmc,
)
from safetensors.torch import load_file
from transformers import (
    EsmcConfig,
    EsmcForSequenceClassification,
    EsmcForTokenClassification,
    EsmcModel,
    EsmConfig,
    EsmForMaskedLM,
)

from sklearn_esm._checkpoints._architecture import Architecture
from sklearn_esm._checkpoints._esmc_format import esmc_architecture, esmc_checkpoint, is_esmc
from sklearn_esm._checkpoints._reader import read_checkpoint
from sklearn_esm._engine import PackedModel

PATH = Path("folder") / "model.safetensors"
ARCHITECTURE = Architecture("esmc", LAYERS, WIDTH, HEADS, token_dropout=False, max_length=None)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_random_esmc(tmp_path_factory.mktemp("esmc"))


@pytest.fixture(params=LAYOUTS)
def tensors(request, saved):
    """The content of a file in each of the layouts in turn."""
    return LAYOUTS[request.param](saved.tensors())


@pytest.fixture
def config(saved):
    return json.loads((saved.folder / "config.json").read_text())


def canonical(name):
    """The canonical name of a tensor of transformers, by hand."""
    changes = {
        "esmc.norm.": "emb_layer_norm_after.",
        "esmc.": "",
        "input_layernorm": "self_attn_layer_norm",
        "post_attention_layernorm": "final_layer_norm",
        "o_proj": "out_proj",
    }
    for old, new in changes.items():
        name = name.replace(old, new)
    return name


# what is read


def test_every_layout_gives_the_tensors_of_transformers(saved, tensors):
    checkpoint = esmc_checkpoint(PATH, tensors)
    expected = {canonical(name): tensor for name, tensor in saved.tensors().items()}
    assert checkpoint.weights.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(checkpoint.weights[name], tensor), name
    assert checkpoint.architecture == ARCHITECTURE
    assert checkpoint.path == PATH


def test_no_tensor_is_copied(tensors):
    ranges = [(t.data_ptr(), t.data_ptr() + t.nbytes) for t in tensors.values()]
    for name, tensor in esmc_checkpoint(PATH, tensors).weights.items():
        assert tensor.is_contiguous(), name
        start, end = tensor.data_ptr(), tensor.data_ptr() + tensor.nbytes
        assert any(first <= start and end <= last for first, last in ranges), name


@pytest.mark.parametrize("bare", ["prefix", "no prefix"])
def test_a_model_without_a_head_has_states_and_no_log_probabilities(tmp_path, saved, bare):
    kept = {n: t for n, t in saved.tensors().items() if not n.startswith("lm_head.")}
    if bare == "no prefix":
        EsmcModel.from_pretrained(saved.folder).save_pretrained(tmp_path)
        kept = load_file(tmp_path / "model.safetensors")
        assert "embed_tokens.weight" in kept
    checkpoint = esmc_checkpoint(PATH, kept)
    expected = saved.tensors()["esmc.embed_tokens.weight"]
    assert torch.equal(checkpoint.weights["embed_tokens.weight"], expected)
    model = PackedModel(checkpoint, "cpu", "float32")
    with pytest.raises(
        ValueError, match=r"must have a language-model head; .* 'lm_head\.decoder\.weight'"
    ):
        _ = model.head


@pytest.mark.parametrize("kind", [EsmcForSequenceClassification, EsmcForTokenClassification])
def test_the_head_of_a_classifier_is_ignored(tmp_path, saved, kind, config):
    kind(EsmcConfig.from_pretrained(saved.folder)).save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    assert any(name.startswith(("classifier.", "score.")) for name in tensors)
    weights = esmc_checkpoint(PATH, tensors, config).weights
    assert weights.keys() == {canonical(n) for n in saved.tensors() if not n.startswith("lm_head.")}


def test_heads_of_another_width_need_the_config(tmp_path):
    saved = save_random_esmc(tmp_path, width=96, heads=3)
    config = json.loads((tmp_path / "config.json").read_text())
    assert esmc_checkpoint(PATH, saved.tensors(), config).architecture.heads == 3
    with pytest.raises(ValueError, match=r"multiple of 64, .* got 96\. Put its config\.json beside it"):
        esmc_checkpoint(PATH, saved.tensors())


# what is refused


def refusal(tensors, config=None):
    with pytest.raises(ValueError, match=re.escape(str(PATH))) as error:
        esmc_checkpoint(PATH, tensors, config)
    return str(error.value)


def checked(tensors):
    """The names of all tensors that must be there."""
    return [name for name in tensors if not name.endswith("_extra_state")]


def test_each_missing_tensor_is_named(tensors):
    for name in checked(tensors):
        rest = {other: tensor for other, tensor in tensors.items() if other != name}
        assert f"1 of its tensors are missing ({name})." in refusal(rest)


def test_each_renamed_tensor_is_named(tensors):
    for name in checked(tensors):
        renamed = {other + "s" * (other == name): tensor for other, tensor in tensors.items()}
        message = refusal(renamed)
        assert f"1 of its tensors are missing ({name})," in message
        assert f"1 of its tensors are unexpected ({name}s)." in message


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t[:-1].clone(),
        lambda t: torch.cat((t, t[:1])),
        lambda t: t[None].clone(),
        lambda t: t.new_zeros(()),
        lambda t: t[:0].clone(),
        lambda t: t[..., :-1].clone(),
        lambda t: t.to(torch.int64),
        lambda t: t.to("meta"),
        lambda t: t[:1].expand(t.shape),
        lambda t: t.tolist(),
    ],
    ids=[
        "a row less",
        "a row more",
        "3-d",
        "0-d",
        "none",
        "narrower",
        "int",
        "meta",
        "expanded",
        "list",
    ],
)
def test_each_tensor_of_another_kind_is_named(tensors, config, change):
    for name in checked(tensors):
        for given in (None, config):
            assert f"{name} must" in refusal({**tensors, name: change(tensors[name])}, given)


@pytest.mark.parametrize(
    "name", ["esmc.layers.0.mlp.gate_proj.bias", "pooler.dense.weight", "lm_head.weight", "a" * 300]
)
def test_a_surplus_tensor_is_named(tensors, name):
    message = refusal({**tensors, name: torch.zeros(3)})
    assert f"1 of its tensors are unexpected ({name[:100]})." in message


def test_a_missing_block_is_named(saved):
    tensors = {name: t for name, t in saved.tensors().items() if ".layers.1." not in name}
    assert "the tensors of block 1 are missing." in refusal(tensors)
    kept = {name: t for name, t in saved.tensors().items() if ".layers." not in name}
    assert "the tensors of block 0 are missing." in refusal(kept)


def test_a_missing_last_block_is_known_from_the_config(saved, config):
    tensors = {name: t for name, t in saved.tensors().items() if ".layers.2." not in name}
    assert "must have the num_hidden_layers of its config.json, 3; got tensors with 2." in refusal(
        tensors, config
    )


def test_an_immense_number_of_a_block_is_refused(saved):
    tensors = {**saved.tensors(), f"esmc.layers.{'9' * 5000}.mlp.up_proj.weight": torch.zeros(1)}
    assert f"the tensors of block {LAYERS} are missing." in refusal(tensors)


@pytest.mark.parametrize(("name", "value"), [("hidden_size", 256), ("intermediate_size", 321)])
def test_a_config_of_another_model_is_refused(saved, config, name, value):
    config = {**config, name: value, "head_dim": None}
    actual = {"hidden_size": WIDTH, "intermediate_size": FEED_FORWARD}[name]
    message = refusal(saved.tensors(), config)
    assert f"must have the {name} of its config.json, {value}; got tensors with {actual}." in message


def test_esm3_is_refused_by_name(saved):
    tensors = LAYOUTS["pth"](saved.tensors())
    for name in ("encoder.sequence_embed.weight", "transformer.blocks.0.geom_attn.proj.weight"):
        assert is_esmc([*tensors, name])
        assert "got ESM3" in refusal({**tensors, name: torch.zeros(1)})


# which files are ESM C's


def test_names_are_known_without_any_one_of_them(tensors):
    for name in tensors:
        assert is_esmc(tensors.keys() - {name})


def test_other_models_are_not_esmc(tmp_path, checkpoints):
    for checkpoint in checkpoints.values():
        assert not is_esmc(read_checkpoint(checkpoint.path).weights)
        assert not is_esmc(torch.load(checkpoint.path, weights_only=False)["model"])
    shape = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1}
    model = EsmForMaskedLM(EsmConfig(vocab_size=33, pad_token_id=1, mask_token_id=32, **shape))
    assert not is_esmc(model.state_dict())
    assert not is_esmc(["model.layers.0.self_attn.q_norm.weight"])  # Qwen3
    assert not is_esmc([])


# config.json


def test_a_config_of_transformers_gives_the_architecture(config):
    assert esmc_architecture(config) == ARCHITECTURE


def test_missing_entries_are_read_as_transformers_reads_them():
    theirs = EsmcConfig()
    expected = (theirs.num_hidden_layers, theirs.hidden_size, theirs.num_attention_heads)
    ours = esmc_architecture({"model_type": "esmc"})
    assert (ours.layers, ours.width, ours.heads) == expected


def test_names_of_esmcs_own_package_are_read():
    ours = esmc_architecture({"d_model": 960, "n_layers": 30, "n_heads": 15})
    assert (ours.layers, ours.width, ours.heads) == (30, 960, 15)


@pytest.mark.parametrize("value", [0, -1, 2.0, "64", None, True, [1] * 100])
@pytest.mark.parametrize("name", ["hidden_size", "num_hidden_layers", "num_attention_heads"])
def test_a_size_that_is_no_positive_integer_is_refused(config, name, value):
    with pytest.raises(ValueError, match=f"{name} in config.json must be a positive integer; got "):
        esmc_architecture({**config, name: value})


@pytest.mark.parametrize("heads", [3, 128, 256])
def test_heads_that_do_not_divide_the_width_are_refused(config, heads):
    with pytest.raises(ValueError, match=f"even multiple of num_attention_heads; got 128 and {heads}"):
        esmc_architecture({**config, "num_attention_heads": heads})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("vocab_size", 33),
        ("hidden_act", "gelu"),
        ("attention_bias", True),
        ("mlp_bias", True),
        ("num_key_value_heads", 1),
        ("head_dim", 32),
        ("rope_theta", 500000.0),
        ("rope_type", "linear"),
    ],
)
def test_what_no_published_model_has_is_refused(config, name, value):
    change = {name: value}
    if name.startswith("rope"):
        change = {"rope_parameters": {**config["rope_parameters"], **change}}
    with pytest.raises(ValueError, match=rf"^{name} in config\.json must be .*; got {value!r}\. Pass"):
        esmc_architecture({**config, **change})
