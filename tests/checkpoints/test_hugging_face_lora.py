"""LoRA adapters of peft: merged as peft merges them, and other adapters refused by name."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from fair_esm_oracle import assert_faithful
from hugging_face_oracle import SEQUENCES, save_random_model, transformers_states
from peft import IA3Config, LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import (
    EsmForMaskedLM,
    EsmForSequenceClassification,
    EsmForTokenClassification,
    EsmModel,
)

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm._checkpoints._fingerprint import identify
from sklearn_esm._checkpoints._reader import read_checkpoint

pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning", "ignore::UserWarning:peft"
)
CONFIGS = {
    "plain": {"r": 4, "lora_alpha": 16, "target_modules": ["query", "value"]},
    "every linear layer of a block": {
        "target_modules": ["query", "key", "value", "dense"],
        "exclude_modules": r".*(classifier|pooler|lm_head).*",
    },
    "rank-stabilised": {"r": 4, "lora_alpha": 3, "use_rslora": True, "target_modules": ["key"]},
    "patterns": {
        "r": 8,
        "target_modules": ["query", "intermediate.dense", "output.dense"],
        "exclude_modules": r".*(classifier|pooler).*",
        "rank_pattern": {"intermediate.dense": 2, r"layer\.1\.attention\.self\.query": 3},
        "alpha_pattern": {r"layer\.[12]\..*dense": 5, "query": 0.5},
    },
    "some layers": {"target_modules": ["value"], "layers_to_transform": [1], "layers_pattern": "layer"},
    "trained norms": {"target_modules": ["value"], "modules_to_save": ["LayerNorm"]},
}
KINDS = {
    EsmModel: "FEATURE_EXTRACTION",
    EsmForMaskedLM: None,
    EsmForSequenceClassification: "SEQ_CLS",
    EsmForTokenClassification: "TOKEN_CLS",
}


def save_adapter(folder, base, kind=EsmForMaskedLM, **config):
    """An adapter as peft saves it, with random factors: B is zero at the start of a training."""
    torch.manual_seed(5)
    model = get_peft_model(
        kind.from_pretrained(base), LoraConfig(task_type=KINDS[kind], **{**CONFIGS["plain"], **config})
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_(0, 0.1)
            elif "modules_to_save" in name:
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
    model.save_pretrained(folder)
    return folder


def merged(folder, base, kind=EsmForMaskedLM):
    return PeftModel.from_pretrained(kind.from_pretrained(base), folder).merge_and_unload().eval()


@pytest.fixture
def base(tmp_path):
    return save_random_model(tmp_path / "base")


@pytest.fixture
def adapter(base, tmp_path):
    return save_adapter(tmp_path / "adapter", base)


def settings_of(adapter):
    return json.loads((adapter / "adapter_config.json").read_text())


def change_settings(adapter, **changes):
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**settings_of(adapter), **changes}))


def change_tensors(adapter, change):
    path = adapter / "adapter_model.safetensors"
    save_file(change(load_file(path)), path)


def assert_merged(adapter, expected):
    embed = ESMEmbeddingTransformer(adapter, layer=-1, pooling=None, cache=None)
    for sequence, actual in zip(SEQUENCES, embed.fit_transform(SEQUENCES), strict=True):
        assert_faithful(actual, transformers_states(expected, sequence)[-1, 1:-1])


@pytest.mark.parametrize("name", CONFIGS)
def test_states_equal_those_of_peft(base, tmp_path, name):
    adapter = save_adapter(tmp_path / "adapter", base, **CONFIGS[name])
    assert_merged(adapter, merged(adapter, base))


@pytest.mark.parametrize("kind", KINDS)
def test_adapters_of_every_class_are_merged(tmp_path, kind):
    base = save_random_model(tmp_path / "base", kind=kind)
    adapter = save_adapter(tmp_path / "adapter", base, kind=kind)
    assert_merged(adapter, merged(adapter, base, kind))


@pytest.mark.parametrize("family", ["esm1b", "esm1v"])
def test_adapters_of_other_families_are_merged(tmp_path, family):
    base = save_random_model(tmp_path / "base", family)
    adapter = save_adapter(tmp_path / "adapter", base)
    assert_merged(adapter, merged(adapter, base))


def test_weights_that_are_not_changed_stay_mapped_from_the_base(base, adapter):
    own, merged_ = read_checkpoint(base).weights, read_checkpoint(adapter).weights
    changed = {name for name in own if not torch.equal(own[name], merged_[name])}
    assert changed == {f"layers.{i}.self_attn.{p}_proj.weight" for i in range(3) for p in "qv"}


def test_merged_weights_equal_those_of_peft(base, adapter):
    expected = merged(adapter, base).state_dict()
    for layer in range(3):
        actual = read_checkpoint(adapter).weights[f"layers.{layer}.self_attn.q_proj.weight"]
        wanted = expected[f"esm.encoder.layer.{layer}.attention.self.query.weight"]
        torch.testing.assert_close(actual, wanted, rtol=1e-6, atol=1e-7)


def test_an_adapter_in_a_bin_file_is_read(base, adapter):
    expected = merged(adapter, base)
    path = adapter / "adapter_model.safetensors"
    torch.save(load_file(path), adapter / "adapter_model.bin")
    path.unlink()
    assert_merged(adapter, expected)


@pytest.mark.parametrize("place", ["../base", "base"])
def test_a_relative_base_is_found(base, adapter, monkeypatch, place):
    monkeypatch.chdir(adapter.parent)  # "base" is beside the adapter, "../base" relative to it
    change_settings(adapter, base_model_name_or_path=place)
    assert_merged(adapter, merged(adapter, base))


def test_a_base_is_looked_up_by_its_name(base, adapter, monkeypatch):
    from sklearn_esm._checkpoints import _locate

    names = []

    def find(model):
        names.append(model)
        return base

    change_settings(adapter, base_model_name_or_path="facebook/esm2_t3", revision="abc")
    monkeypatch.setattr(_locate, "find_checkpoint", find)
    read_checkpoint(adapter)
    assert names == ["facebook/esm2_t3@abc"]


def test_the_fingerprint_is_of_adapter_and_base(base, adapter, tmp_path):
    former = identify(adapter).fingerprint
    assert former != identify(base).fingerprint
    copies = tmp_path / "copies"
    shutil.copytree(adapter, copies / "adapter")
    shutil.copytree(base, copies / "base")
    change_settings(copies / "adapter", base_model_name_or_path="../base", lora_dropout=0.5)
    assert identify(copies / "adapter").fingerprint == former
    change_settings(copies / "adapter", lora_alpha=17)
    assert identify(copies / "adapter").fingerprint != former
    save_random_model(base, seed=1)
    assert identify(adapter).fingerprint != former


# What is refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peft_type": "IA3"}, "peft_type must be 'LORA'; got 'IA3'"),
        ({"peft_type": None}, "peft_type must be 'LORA'; got None"),
        ({"bias": "all"}, "bias must be 'none'; got 'all'"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out must not be set"),
        ({"use_dora": True}, "use_dora must not be set"),
        ({"lora_bias": True}, "lora_bias must not be set"),
        ({"use_qalora": True}, "use_qalora must not be set"),
        ({"layer_replication": [[0, 2]]}, "layer_replication must not be set"),
        ({"target_parameters": ["a"]}, "target_parameters must not be set"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices must not be set"),
        ({"alora_invocation_tokens": [1]}, "alora_invocation_tokens must not be set"),
        ({"of_a_later_version": {"a": 1}}, "of_a_later_version must not be set"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights must not be 'pissa_niter_4'"),
        ({"init_lora_weights": "olora"}, "init_lora_weights must not be 'olora'"),
        (
            {"base_model_name_or_path": None},
            "base_model_name_or_path must be the folder or the Hub name",
        ),
        ({"base_model_name_or_path": "absent/model"}, "got 'absent/model'"),
        ({"r": 5}, "lora_A.weight must have shape (5, 32); got (4, 32)"),
        ({"r": 0}, "r must be a positive integer; got 0"),
        ({"r": "4"}, "r must be a number; got '4'"),
        ({"lora_alpha": None}, "lora_alpha must be a number; got None"),
        ({"rank_pattern": {"(": 2}}, "rank_pattern must hold regular expressions; got '('"),
    ],
    ids=str,
)
def test_other_adapters_are_refused_by_name(adapter, change, message):
    change_settings(adapter, **change)
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(message)):
        read_checkpoint(adapter)


def test_an_adapter_of_another_method_is_refused(base, tmp_path):
    config = IA3Config(target_modules=["key", "output.dense"], feedforward_modules=["output.dense"])
    get_peft_model(EsmForMaskedLM.from_pretrained(base), config).save_pretrained(tmp_path / "ia3")
    with pytest.raises(ValueError, match=r"peft_type must be 'LORA'; got 'IA3'\. Merge it with peft's"):
        ESMEmbeddingTransformer(tmp_path / "ia3").fit(["MKT"])


def test_each_tensor_changed_in_turn_is_named(adapter):
    path = adapter / "adapter_model.safetensors"
    sound = load_file(path)
    for name, tensor in sound.items():
        module = name.rpartition(".lora_")[0].removeprefix("base_model.model.")
        others = {other: t for other, t in sound.items() if other != name}
        for tensors, message in [
            (others, name),
            ({**others, name: tensor[:, :3].contiguous()}, name),
            ({**others, name: tensor.to(torch.int8)}, name),
            ({**others, name.replace("lora_", "lora_x"): tensor}, "lora_x"),
            (
                {**others, name.replace("encoder", "decoder"): tensor},
                module.replace("encoder", "decoder"),
            ),
        ]:
            save_file(tensors, path)
            with pytest.raises(ValueError, match=re.escape(message)):
                read_checkpoint(adapter)


@pytest.mark.parametrize(
    "name",
    [
        "base_model.model.esm.encoder.layer.0.attention.self.query.lora_magnitude_vector.weight",
        "base_model.model.esm.embeddings.word_embeddings.lora_embedding_A",
        "base_model.model.esm.encoder.layer.7.output.dense.weight",
        "esm.encoder.layer.0.output.dense.weight",
        "other",
    ],
)
def test_an_additional_tensor_is_named(adapter, name):
    change_tensors(adapter, lambda tensors: {**tensors, name: torch.ones(32, 128)})
    with pytest.raises(ValueError, match=re.escape(name)):
        read_checkpoint(adapter)


@pytest.mark.parametrize("module", ["esm.embeddings.word_embeddings", "esm.contact_head.regression"])
def test_factors_of_other_layers_are_refused(base, adapter, module):
    factors = {"A": torch.ones(4, 32), "B": torch.ones(33, 4)}
    more = {f"base_model.model.{module}.lora_{f}.weight": t for f, t in factors.items()}
    change_tensors(adapter, lambda tensors: {**tensors, **more})
    with pytest.raises(ValueError, match=re.escape(module)):
        read_checkpoint(adapter)


def test_factors_of_heads_are_ignored(base, adapter):
    before = read_checkpoint(adapter).weights
    more = {f"base_model.model.classifier.dense.lora_{f}.weight": torch.ones(4, 4) for f in "AB"}
    change_tensors(adapter, lambda tensors: {**tensors, **more})
    after = read_checkpoint(adapter).weights
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_an_adapter_without_factors_is_refused(adapter):
    change_tensors(adapter, lambda _: {"base_model.model.classifier.weight": torch.ones(2)})
    with pytest.raises(ValueError, match="must hold LoRA factors; got none"):
        read_checkpoint(adapter)


def test_an_adapter_without_weights_is_refused(adapter):
    (adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"must hold adapter_model\.safetensors or adapter_model\.bin"):
        read_checkpoint(adapter)


def test_an_adapter_of_an_adapter_is_refused(adapter, tmp_path):
    second = shutil.copytree(adapter, tmp_path / "second")
    change_settings(second, base_model_name_or_path=str(adapter))
    with pytest.raises(ValueError, match="got one of another adapter"):
        read_checkpoint(second)
    change_settings(second, base_model_name_or_path=".")  # itself, without end
    with pytest.raises(ValueError, match="got one of another adapter"):
        read_checkpoint(second)


def test_an_adapter_of_another_base_is_refused(adapter, tmp_path):
    save_random_model(tmp_path / "other", num_hidden_layers=2)
    change_settings(adapter, base_model_name_or_path="../other")
    with pytest.raises(ValueError, match=r"esm\.encoder\.layer\.2\.attention\.self"):
        read_checkpoint(adapter)
    save_random_model(tmp_path / "wide", hidden_size=64, intermediate_size=256)
    change_settings(adapter, base_model_name_or_path="../wide")
    with pytest.raises(ValueError, match=r"lora_A\.weight must have shape \(4, 64\); got \(4, 32\)"):
        read_checkpoint(adapter)


def test_an_adapter_and_its_base_give_different_vectors(base, adapter):
    vectors = [ESMEmbeddingTransformer(path).fit_transform(SEQUENCES) for path in (base, adapter)]
    assert not np.allclose(*vectors)
