"""Folders and files of transformers that are refused: the error names the tensor, entry or file."""

import json
import re
import shutil

import pytest
import torch
from hugging_face_oracle import (
    LAYERS,
    SETTINGS,
    config_of,
    names_of_transformers_4,
    save_random_model,
    save_sharded,
    tensors_of,
    with_tensors,
)
from safetensors.torch import save_file

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm._checkpoints._hugging_face_format import (
    architecture_of,
    hugging_face_checkpoint,
)
from sklearn_esm._checkpoints._reader import read_checkpoint

FAMILIES = ["esm2", "esm1b", "esm1v"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {family: save_random_model(folder / family, family) for family in SETTINGS}


@pytest.fixture(scope="module", params=FAMILIES)
def spellings(request, models):
    """Tensors by the names of both versions of transformers, and the settings."""
    folder = models[request.param]
    tensors = tensors_of(folder)
    return [tensors, names_of_transformers_4(tensors)], config_of(folder), folder


def refused(folder, tensors, config):
    with pytest.raises(ValueError, match=re.escape(str(folder))) as error:
        hugging_face_checkpoint(folder, tensors, config)
    return str(error.value)


def needed(tensors):
    """The tensors that must be there: positions of ESM-1b's numbering are of no use to anybody."""
    return [name for name in tensors if not name.endswith("position_ids")]


def test_a_missing_tensor_is_named(spellings):
    versions, config, folder = spellings
    for tensors in versions:
        for name in needed(tensors):
            if "*" in name:
                continue  # where no frequencies are stored, those of the published files are meant
            others = {other: tensor for other, tensor in tensors.items() if other != name}
            message = refused(folder, others, config)
            assert f"1 missing ({name})" in message


def test_a_renamed_tensor_is_named(spellings):
    versions, config, folder = spellings
    for tensors in versions:
        for name in needed(tensors):
            for new in (f"{name}s", f"x.{name}", name.removeprefix("esm.") if "esm." in name else "y"):
                renamed = {new if other == name else other: t for other, t in tensors.items()}
                assert f"unexpected ({new})" in refused(folder, renamed, config)


def test_an_additional_tensor_is_named(spellings):
    versions, config, folder = spellings
    block = f"esm.encoder.layer.{LAYERS}.LayerNorm.weight"
    more = ["esm.encoder.layer.0.adapter.weight", block, "esm.embeddings.token_type.weight"]
    more += ["lm_head.decoder.bias", "lm_head.weight", "esm.layers.0.fc1.weight", "regression.weight"]
    more += [
        f"esm.encoder.layer.{LAYERS}.attention.self.rotary_embeddings.inv_freq",
        "layers.0.fc1.bias",
    ]
    for tensors in versions:
        for name in more:
            message = refused(folder, {**tensors, name: torch.ones(32)}, config)
            assert f"1 unexpected ({name})" in message
        # a second name of a tensor that is there already
        twice = {
            "esm.encoder.layer.1.LayerNorm.weight": torch.ones(32),
            "esm.encoder.layer.1.LayerNorm.gamma": torch.ones(32),
        }
        message = refused(folder, {**tensors, **twice}, config)
        assert "1 unexpected (esm.encoder.layer.1.LayerNorm." in message


def test_a_tensor_of_another_shape_is_named(spellings):
    versions, config, folder = spellings
    for tensors in versions:
        for name in needed(tensors):
            for other in (tensors[name][:-1], tensors[name].unsqueeze(0), tensors[name].new_ones(())):
                message = refused(folder, {**tensors, name: other}, config)
                assert f"{name} must " in message, name


def test_a_tensor_of_another_type_is_named(spellings):
    versions, config, folder = spellings
    for tensors in versions:
        for name in needed(tensors):
            for other in (tensors[name].to(torch.int8), tensors[name].to_sparse(), [1.0]):
                message = refused(folder, {**tensors, name: other}, config)
                assert f"{name} must be a dense floating-point CPU tensor" in message


def test_frequencies_that_differ_between_blocks_are_refused(models):
    tensors = names_of_transformers_4(tensors_of(models["esm2"]))
    name = "esm.encoder.layer.1.attention.self.rotary_embeddings.inv_freq"
    changed = {**tensors, name: tensors[name] * 2}
    assert f"others in {name}" in refused(models["esm2"], changed, config_of(models["esm2"]))


def test_an_untied_head_needs_its_own_weight(models):
    folder = models["esm2"]
    config = {**config_of(folder), "tie_word_embeddings": False}
    assert "1 missing (lm_head.decoder.weight)" in refused(folder, tensors_of(folder), config)


def test_tensors_that_overlap_are_refused(models):
    tensors = tensors_of(models["esm2"])
    block = "esm.encoder.layer.0.attention.self"
    both = torch.randn(33, 32)
    tensors[f"{block}.query.weight"], tensors[f"{block}.key.weight"] = both[:32], both[1:]
    message = refused(models["esm2"], tensors, config_of(models["esm2"]))
    assert "its tensors must not overlap" in message


# config.json


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "t5"}, "model_type must be 'esm' or 'esmc'; got 't5' (ProtT5 or Ankh)"),
        ({"model_type": "bert"}, "got 'bert' (ProtBERT)"),
        ({"model_type": "esm3"}, "got 'esm3' (ESM3)"),
        ({"model_type": "esm_msa"}, "got 'esm_msa' (an MSA Transformer, which needs alignments)"),
        ({"model_type": "llama"}, "got 'llama'."),
        ({"model_type": None}, "got None."),
        ({"model_type": []}, "got []."),
        (
            {"vocab_size": 446},
            "vocab_size must be 33, that of ESM-2, ESM-1b and ESM-1v; got 446 (SaProt",
        ),
        ({"vocab_size": 4105}, "got 4105 (a model of DNA)"),
        ({"vocab_size": 64}, "got 64."),
        ({"vocab_size": None}, "got None."),
        ({"is_folding_model": True}, "got ESMFold, which predicts structures"),
        (
            {"position_embedding_type": "relative_key"},
            "must be 'rotary' or 'absolute'; got 'relative_key'",
        ),
        ({"layer_norm_eps": 1e-12}, "layer_norm_eps must be 1e-05"),
        ({"layer_norm_eps": ...}, "layer_norm_eps must be 1e-05, as in the published models; got 1e-12"),
        ({"is_decoder": True}, "is_decoder must be False"),
        ({"quantization_config": {"bits": 4}}, "quantization_config must be None"),
        ({"mask_token_id": 31}, "mask_token_id must be 32"),
        ({"mask_token_id": ...}, "mask_token_id must be 32, as in the published models; got None"),
        ({"emb_layer_norm_before": True}, "emb_layer_norm_before must be False"),
        ({"position_embedding_type": ..., "pad_token_id": 0}, "pad_token_id must be 1"),
        ({"position_embedding_type": ..., "max_position_embeddings": 4}, "must be 5 or more; got 4"),
        ({"hidden_size": "32"}, "hidden_size must be a positive integer; got '32'"),
        ({"hidden_size": 0}, "hidden_size must be a positive integer; got 0"),
        ({"hidden_size": True}, "hidden_size must be a positive integer; got True"),
        ({"num_attention_heads": 5}, "num_attention_heads must divide hidden_size"),
        ({"num_attention_heads": 32}, "heads of an even width; got 32 and 32"),
    ],
    ids=str,
)
def test_settings_of_another_model_are_refused_by_name(models, change, message):
    config = {**config_of(models["esm2"]), **change}
    config = {name: value for name, value in config.items() if value is not ...}
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        architecture_of(config)
    assert str(error.value).startswith("config.json: ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_hidden_layers": 10**9}, "must have the 1000000000 blocks of its config.json"),
        ({"num_hidden_layers": 4}, "missing (esm.encoder.layer.3.attention.LayerNorm.gamma, "),
        ({"num_hidden_layers": 2}, "unexpected (esm.encoder.layer.2."),
        (
            {"hidden_size": 48, "num_attention_heads": 6},
            "word_embeddings.weight must have shape (33, 48)",
        ),
        ({"intermediate_size": 96}, "intermediate.dense.weight must have shape (96, 32); got (128, 32)"),
        ({"intermediate_size": ...}, "intermediate.dense.weight must have shape (3072, 32)"),
        ({"position_embedding_type": ...}, "1 missing (esm.embeddings.position_embeddings.weight)"),
        ({"num_attention_heads": 8}, "rotary_embeddings.inv_freq must have shape (2,); got (4,)"),
    ],
    ids=str,
)
def test_settings_that_do_not_belong_to_the_tensors_are_refused(models, change, message):
    config = {**config_of(models["esm2"]), **change}
    config = {name: value for name, value in config.items() if value is not ...}
    assert message in refused(models["esm2"], tensors_of(models["esm2"]), config)


def test_missing_entries_are_read_as_transformers_reads_them(models):
    bare = {
        "model_type": "esm",
        "vocab_size": 33,
        "layer_norm_eps": 1e-5,
        "pad_token_id": 1,
    }
    architecture = architecture_of(bare)
    assert (architecture.family, architecture.layers, architecture.width) == ("esm1b", 12, 768)
    assert (architecture.heads, architecture.max_length, architecture.token_dropout) == (12, 1022, False)


@pytest.mark.parametrize("content", ["", "{", "[]", "3", "[" * 100_000, '{"a": \x00}'], ids=repr)
def test_a_damaged_config_is_named(models, tmp_path, content):
    folder = with_tensors(models["esm2"], tmp_path / "mine", tensors_of(models["esm2"]))
    (folder / "config.json").write_text(content)
    with pytest.raises(ValueError, match=r"mine/config\.json must "):
        ESMEmbeddingTransformer(folder).fit(["MKT"])


# Files


def test_a_folder_without_config_is_refused(models, tmp_path):
    save_file(tensors_of(models["esm2"]), tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"must have a config\.json in it; got none"):
        ESMEmbeddingTransformer(tmp_path).fit(["MKT"])


def test_a_folder_without_weights_is_refused(models, tmp_path):
    shutil.copy(models["esm2"] / "config.json", tmp_path)
    (tmp_path / "tf_model.h5").write_bytes(b"weights")
    with pytest.raises(ValueError, match=r"must hold model\.safetensors or pytorch_model\.bin"):
        ESMEmbeddingTransformer(tmp_path).fit(["MKT"])


@pytest.mark.parametrize("keep", [0, 7, 8, 9, 100, -1])
def test_a_truncated_safetensors_file_is_refused(models, tmp_path, keep):
    folder = with_tensors(models["esm2"], tmp_path / "mine", tensors_of(models["esm2"]))
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    for given in (folder, path):
        with pytest.raises(ValueError, match=r"model\.safetensors must be a safetensors file"):
            ESMEmbeddingTransformer(given).fit(["MKT"])


def test_a_safetensors_file_that_claims_more_than_it_has_is_refused(models, tmp_path):
    folder = with_tensors(models["esm2"], tmp_path / "mine", {"a": torch.ones(2)})
    table = b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}'
    content = len(table).to_bytes(8, "little") + table + bytes(8)
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="must be a safetensors file"):
        read_checkpoint(folder)


def test_code_in_a_bin_file_is_not_run(models, tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("run",))

    shutil.copy(models["esm2"] / "config.json", tmp_path)
    torch.save({**tensors_of(models["esm2"]), "evil": Evil()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(
        ValueError, match=r"pytorch_model\.bin must hold only tensors.*Nothing in it was run"
    ):
        read_checkpoint(tmp_path)


def test_a_bin_file_of_other_content_is_refused(models, tmp_path):
    shutil.copy(models["esm2"] / "config.json", tmp_path)
    torch.save({"model": tensors_of(models["esm2"])}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pytorch_model\.bin must hold tensors by name"):
        read_checkpoint(tmp_path)


# Shards


@pytest.fixture(params=["safetensors", "bin"])
def sharded(request, models, tmp_path):
    return save_sharded(models["esm2"], tmp_path / "sharded", suffix=request.param)


def index_of(folder):
    (path,) = folder.glob("*.index.json")
    return path


def test_a_missing_shard_is_named(sharded):
    shard = sorted(sharded.glob("*-00002-of-*"))[0]
    shard.unlink()
    with pytest.raises(ValueError, match=re.escape(f"{shard.name} is missing")):
        read_checkpoint(sharded)


def test_a_tensor_that_the_index_puts_in_another_shard_is_named(sharded):
    path = index_of(sharded)
    index = json.loads(path.read_text())
    name = "esm.encoder.layer.1.output.dense.weight"
    first, last = min(index["weight_map"].values()), max(index["weight_map"].values())
    index["weight_map"][name] = first if index["weight_map"][name] != first else last
    path.write_text(json.dumps(index))
    with pytest.raises(ValueError, match=re.escape(name)):
        read_checkpoint(sharded)


@pytest.mark.parametrize("shard", ["../model.safetensors", "/etc/passwd", "a/b", "..", "", 3, None])
def test_an_index_that_leads_out_of_the_folder_is_refused(sharded, shard):
    path = index_of(sharded)
    path.write_text(json.dumps({"weight_map": {"a": shard}}))
    with pytest.raises(ValueError, match="weight_map must list names of files beside it"):
        read_checkpoint(sharded)


@pytest.mark.parametrize("content", ["{", "{}", '{"weight_map": {}}', '{"weight_map": ["a"]}'])
def test_a_damaged_index_is_named(sharded, content):
    path = index_of(sharded)
    path.write_text(content)
    with pytest.raises(ValueError, match=re.escape(f"{path} must ")):
        read_checkpoint(sharded)
