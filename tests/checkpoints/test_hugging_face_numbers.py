"""Models that transformers saved give transformers' own numbers, whatever the layout of their files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from fair_esm_oracle import assert_faithful, fair_esm_residues, save_random_checkpoint
from hugging_face_oracle import (
    LAYERS,
    SEQUENCES,
    SETTINGS,
    load,
    names_of_transformers_4,
    save_random_model,
    save_sharded,
    tensors_of,
    transformers_contacts,
    transformers_log_probabilities,
    transformers_states,
    with_tensors,
)
from safetensors.torch import save_file
from transformers import (
    EsmForMaskedLM,
    EsmForSequenceClassification,
    EsmForTokenClassification,
    EsmModel,
)

from sklearn_esm import ESMContactTransformer, ESMEmbeddingTransformer, ESMLikelihoodTransformer
from sklearn_esm._checkpoints import _contact_regression
from sklearn_esm._checkpoints._reader import read_checkpoint
from sklearn_esm._engine import PackedModel, log_probabilities
from sklearn_esm._engine._tokens import residue_tokens
from sklearn_esm._sequences import MASK, RESIDUES

KINDS = [EsmModel, EsmForMaskedLM, EsmForSequenceClassification, EsmForTokenClassification]
TRUSTED = "ignore:The contact regression of"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder of each family, with a language-model head."""
    folder = tmp_path_factory.mktemp("models")
    return {family: save_random_model(folder / family, family) for family in SETTINGS}


@pytest.fixture(scope="module")
def layouts(models, tmp_path_factory):
    """The random ESM-2 in every layout, all with the same weights; fair-esm's own among them."""
    folder, source = tmp_path_factory.mktemp("layouts"), models["esm2"]
    tensors = tensors_of(source)
    as_bin = with_tensors(source, folder / "bin", tensors)
    (as_bin / "model.safetensors").unlink()
    torch.save(tensors, as_bin / "pytorch_model.bin")
    legacy = with_tensors(source, folder / "legacy_bin", tensors)
    (legacy / "model.safetensors").unlink()
    torch.save(tensors, legacy / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    # what transformers wrote with a copy of the embeddings in the head
    untied = {
        **tensors,
        "lm_head.decoder.weight": tensors["esm.embeddings.word_embeddings.weight"].clone(),
    }
    leftover = {**tensors, "esm.embeddings.position_embeddings.weight": torch.ones(44, 32)}
    return {
        "folder": source,
        "file": source / "model.safetensors",
        "transformers 4": with_tensors(source, folder / "four", names_of_transformers_4(tensors)),
        "sharded": save_sharded(source, folder / "sharded"),
        "sharded bin": save_sharded(source, folder / "sharded_bin", suffix="bin"),
        "bin": as_bin,
        "legacy bin": legacy,
        "untied": with_tensors(source, folder / "untied", untied),
        "left-over positions": with_tensors(source, folder / "leftover", leftover),
        "pt": as_fair_esm(source, folder / "esm2.pt"),
    }


def as_fair_esm(folder, path):
    """The same weights as a file in fair-esm's format, with the regression beside it."""
    saved = save_random_checkpoint(path, "esm2")
    data = torch.load(path, weights_only=False)
    weights = read_checkpoint(folder).weights
    prefixes = {name.split(".", 1)[1]: name for name in data["model"]}
    data["model"] = {
        full: weights.get(full.removeprefix("encoder.").removeprefix("sentence_encoder."))
        for full in prefixes.values()
    }
    data["model"]["encoder.lm_head.weight"] = weights["embed_tokens.weight"]
    torch.save(data, path)
    regression = {name: weights[name] for name in weights if name.startswith("contact_head.")}
    torch.save({"model": regression}, path.with_name("esm2-contact-regression.pt"))
    return saved.path


def states(path, layer):
    return ESMEmbeddingTransformer(path, layer=layer, pooling=None, cache=None).fit_transform(SEQUENCES)


@pytest.mark.parametrize("layer", range(LAYERS + 1))
@pytest.mark.parametrize("family", SETTINGS)
def test_states_equal_transformers(models, family, layer):
    model = load(models[family])
    for sequence, actual in zip(SEQUENCES, states(models[family], layer), strict=True):
        assert_faithful(actual, transformers_states(model, sequence)[layer, 1:-1])


@pytest.mark.parametrize("kind", KINDS)
def test_every_class_of_transformers_is_read(tmp_path, kind):
    folder = save_random_model(tmp_path / "model", kind=kind)
    model = load(folder, kind)
    for sequence, actual in zip(SEQUENCES, states(folder, -1), strict=True):
        assert_faithful(actual, transformers_states(model, sequence)[-1, 1:-1])


@pytest.mark.parametrize("family", SETTINGS)
def test_log_probabilities_equal_transformers(models, family):
    packed = PackedModel(read_checkpoint(models[family]), "cpu", "float32")
    sequences = ["MKTAYIAKQR", "KA<mask>ISQ", "<mask>LAGV", "XBUZO"]
    clean = [sequence.replace("<mask>", MASK) for sequence in sequences]
    found = log_probabilities(packed, clean, [range(len(sequence)) for sequence in clean])
    expected = [transformers_log_probabilities(load(models[family]), each)[1:-1] for each in sequences]
    assert_faithful(found, np.concatenate(expected)[:, _columns(packed)])


def _columns(packed):
    return residue_tokens(RESIDUES, packed.architecture)


@pytest.mark.parametrize("layout", ["folder", "transformers 4", "sharded", "bin"])
def test_variant_scores_equal_transformers(models, layouts, layout):
    reference, variant = "MKTAYIAKQR", "MKWAYIAKQL"
    scores = ESMLikelihoodTransformer(
        layouts[layout], method=["masked-marginals", "wt-marginals"], reference=reference
    ).fit_transform([variant])
    model, alphabet = load(models["esm2"]), "LAGVSERTIDPKQNFYMHWCXBUZO"
    wild = transformers_log_probabilities(model, reference)
    expected = np.zeros(2)
    for position, (old, new) in enumerate(zip(reference, variant, strict=True)):
        if old != new:
            masked = f"{reference[:position]}<mask>{reference[position + 1 :]}"
            tables = [transformers_log_probabilities(model, masked), wild]
            rows = [table[position + 1] for table in tables]
            expected += [row[4 + alphabet.index(new)] - row[4 + alphabet.index(old)] for row in rows]
    np.testing.assert_allclose(scores[0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings(TRUSTED)
@pytest.mark.parametrize("family", ["esm2", "esm1b"])
def test_contacts_equal_transformers(models, family):
    sequences = ["MKTAYIAKQRQISFVKS", "LAGV"]
    found = ESMContactTransformer(models[family]).fit_transform(sequences)
    for sequence, actual in zip(sequences, found, strict=True):
        expected = transformers_contacts(load(models[family]), sequence)
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings(TRUSTED)
def test_the_same_weights_give_the_same_bits_in_every_layout(layouts, one_thread):
    def outputs(path):
        everything = ESMEmbeddingTransformer(path, layer="all", pooling=["mean", "bos"], cache=None)
        scores = ESMLikelihoodTransformer(
            path, method=["log-likelihood", "pseudo-perplexity"], cache=None
        )
        contacts = ESMContactTransformer(path, cache=None)
        return [
            everything.fit_transform(SEQUENCES),
            scores.fit_transform(["MKTAYIAKQR", "LAGV"]),
            marginals(path),
            *contacts.fit_transform(["MKTAYIAKQR", "LAGV"]),
        ]

    def marginals(path):
        # the head at a single position, whose product rounds by the alignment of the weights
        scores = ESMLikelihoodTransformer(path, method="masked-marginals", reference="LAGV", cache=None)
        return scores.fit_transform(["LAKV"])

    expected = outputs(layouts["pt"])
    for layout, path in layouts.items():
        for actual, wanted in zip(outputs(path), expected, strict=True):
            assert np.array_equal(actual, wanted), layout


def test_the_length_of_a_table_may_begin_like_a_pickle(models, tmp_path):
    # in the first byte of the file; 0x80 begins a pickle
    folder = with_tensors(models["esm2"], tmp_path / "model", tensors_of(models["esm2"]))
    path = folder / "model.safetensors"
    for padding in range(0, 256, 8):
        save_file(tensors_of(models["esm2"]), path, {"padding": "x" * padding})
        if path.read_bytes()[:1] == b"\x80":
            break
    assert path.read_bytes()[:1] == b"\x80"
    assert np.array_equal(states(path, 1)[0], states(models["esm2"], 1)[0])


def test_the_same_weights_equal_fair_esm(tmp_path, layouts):
    checkpoint = save_random_checkpoint(tmp_path / "esm2.pt", "esm2")
    checkpoint.path.write_bytes(layouts["pt"].read_bytes())
    for layer in range(LAYERS + 1):
        expected = fair_esm_residues(checkpoint, SEQUENCES, layer)
        for actual, wanted in zip(states(layouts["folder"], layer), expected, strict=True):
            assert_faithful(actual, wanted)


def test_frequencies_that_are_not_stored_are_those_of_the_published_files(models, tmp_path):
    tensors = tensors_of(models["esm2"])
    (name,) = (name for name in tensors if name.endswith("inv_freq"))
    stored = tensors.pop(name)
    bare = with_tensors(models["esm2"], tmp_path / "bare", tensors)
    weights = read_checkpoint(bare).weights
    assert torch.equal(weights["layers.2.self_attn.rot_emb.inv_freq"], stored)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_saved_in_half_precision_are_read_as_they_are(models, tmp_path, dtype):
    halves = {name: tensor.to(dtype) for name, tensor in tensors_of(models["esm2"]).items()}
    as_floats = {name: tensor.float() for name, tensor in halves.items()}
    half = with_tensors(models["esm2"], tmp_path / "half", halves)
    whole = with_tensors(models["esm2"], tmp_path / "whole", as_floats)
    for actual, expected in zip(states(half, -1), states(whole, -1), strict=True):
        assert_faithful(actual, expected)


def test_scores_of_a_model_without_a_head_are_refused(tmp_path):
    folder = save_random_model(tmp_path / "model", kind=EsmForSequenceClassification)
    with pytest.raises(ValueError, match="must have a language-model head"):
        ESMLikelihoodTransformer(folder).fit_transform(["MKT"])


def test_contacts_of_a_model_without_a_regression_are_refused(models, tmp_path):
    tensors = {name: t for name, t in tensors_of(models["esm2"]).items() if "contact_head" not in name}
    folder = with_tensors(models["esm2"], tmp_path / "mine", tensors)
    with pytest.raises(ValueError, match=r"must have a contact regression; got .*mine, whose weights"):
        ESMContactTransformer(folder).fit(["MKT"])


def test_a_regression_that_may_be_random_is_warned_about_once(models, monkeypatch):
    monkeypatch.setattr(_contact_regression, "_warned", set())
    contacts = ESMContactTransformer(models["esm2"])
    with pytest.warns(UserWarning, match="The contact regression of 'esm2' may be random"):
        contacts.fit_transform(["MKTAYIA"])
    contacts.fit_transform(["MKTAYIA"])


def test_a_folder_gives_its_name_to_the_features(models):
    embed = ESMEmbeddingTransformer(models["esm2"]).fit(SEQUENCES)
    assert embed.get_feature_names_out()[0] == "esm2_L3_mean_0000"


def test_the_head_of_an_untied_model_is_its_own(models, tmp_path):
    tensors = tensors_of(models["esm2"])
    tensors["lm_head.decoder.weight"] = torch.randn(33, 32)
    folder = with_tensors(models["esm2"], tmp_path / "untied", tensors, tie_word_embeddings=False)
    packed = PackedModel(read_checkpoint(folder), "cpu", "float32")
    actual = log_probabilities(packed, ["MKTAYI"], [range(6)])
    expected = transformers_log_probabilities(load(folder), "MKTAYI")[1:-1]
    assert_faithful(actual, expected[:, _columns(packed)])


@pytest.mark.parametrize("mapped", ["1", "0"])
def test_tensors_are_views_of_the_mapped_file(models, monkeypatch, mapped):
    monkeypatch.setenv("SKLEARN_ESM_MMAP", mapped)
    path = models["esm2"] / "model.safetensors"
    weights = read_checkpoint(path).weights
    lines = Path("/proc/self/maps").read_text().splitlines()
    spans = [line.split()[0] for line in lines if line.endswith(str(path))]
    bounds = [tuple(int(end, 16) for end in span.split("-")) for span in spans]
    address = weights["layers.0.fc1.weight"].data_ptr()
    assert any(start <= address < end for start, end in bounds) == (mapped == "1")


def test_a_default_device_of_the_caller_changes_nothing(models):
    with torch.device("meta"):
        weights = read_checkpoint(models["esm2"]).weights
    assert {tensor.device.type for tensor in weights.values()} == {"cpu"}


def test_a_safetensors_file_needs_the_extra(models, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "safetensors", None)
    with pytest.raises(ImportError, match=r'pip install "sklearn-esm\[hub\]"'):
        read_checkpoint(models["esm2"])


def test_a_file_without_its_config_is_refused(models, tmp_path):
    path = tmp_path / "mine.safetensors"
    save_file(tensors_of(models["esm2"]), path)
    with pytest.raises(ValueError, match=r"mine\.safetensors must have a config\.json beside it"):
        ESMEmbeddingTransformer(path).fit(["MKT"])
