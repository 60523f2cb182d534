"""ESM C by the estimators and the real reader: folders, files and its own .pth, with identical bits."""

import shutil

import numpy as np
import pytest
import torch
from esmc_oracle import LAYERS, LAYOUTS, esmc_residues, save_layout, save_random_esmc
from fair_esm_oracle import assert_faithful
from hugging_face_oracle import config_of, save_sharded
from safetensors.torch import load_file

from sklearn_esm import ESMContactTransformer, ESMEmbeddingTransformer, ESMLikelihoodTransformer
from sklearn_esm._checkpoints._hugging_face_format import architecture_of
from sklearn_esm._checkpoints._reader import read_checkpoint

SEQUENCES = ["MKTAYIAKQRQISFVKS", "KA<mask>ISQ", "XBUZO", "GLDALQITV"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_random_esmc(tmp_path_factory.mktemp("esmc"))


@pytest.fixture(scope="module")
def layouts(saved, tmp_path_factory):
    """The same weights in every layout."""
    folder = tmp_path_factory.mktemp("layouts")
    tensors = load_file(saved.folder / "model.safetensors")
    paths = {"folder": saved.folder, "sharded": save_sharded(saved.folder, folder / "sharded")}
    for layout, convert in LAYOUTS.items():
        paths[layout] = folder / layout
        paths[layout].mkdir()
        shutil.copy(saved.folder / "config.json", paths[layout])
        save_layout(paths[layout] / "model.safetensors", convert(tensors))
    paths["file"] = paths["biohub"] / "model.safetensors"
    paths["own file"] = folder / "esmc.pth"
    torch.save(LAYOUTS["pth"](tensors), paths["own file"])
    return paths


@pytest.mark.parametrize("layer", range(LAYERS + 1))
def test_states_equal_transformers(saved, layouts, layer):
    expected = esmc_residues(saved, SEQUENCES, layer)
    for layout in ("folder", "biohub", "own file"):
        embed = ESMEmbeddingTransformer(layouts[layout], layer=layer, pooling=None, cache=None)
        for actual, wanted in zip(embed.fit_transform(SEQUENCES), expected, strict=True):
            assert_faithful(actual, wanted)


def test_the_same_weights_give_the_same_bits_in_every_layout(layouts, one_thread):
    def outputs(path):
        everything = ESMEmbeddingTransformer(path, layer="all", pooling=["mean", "bos"], cache=None)
        scores = ESMLikelihoodTransformer(path, method="log-likelihood", cache=None)
        variants = ESMLikelihoodTransformer(
            path, method="masked-marginals", reference="LAGV", cache=None
        )
        return [
            everything.fit_transform(SEQUENCES),
            scores.fit_transform(["MKTAYIAKQR", "LAGV"]),
            variants.fit_transform(["LAKV"]),
        ]

    expected = outputs(layouts["folder"])
    for layout, path in layouts.items():
        for actual, wanted in zip(outputs(path), expected, strict=True):
            assert np.array_equal(actual, wanted), layout


def test_contacts_are_refused_by_name(layouts):
    for layout in ("folder", "own file"):
        with pytest.raises(ValueError, match=r"an ESM C model\. None was published for ESM C"):
            ESMContactTransformer(layouts[layout]).fit(["MKT"])


def test_the_settings_alone_give_the_architecture(saved):
    assert architecture_of(config_of(saved.folder)) == read_checkpoint(saved.folder).architecture
