"""Small random models of every family in fair-esm's file format, and fair-esm's own answers."""

import argparse
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import esm
import numpy as np
import torch
from esm.model.esm1 import ProteinBertModel
from esm.model.esm2 import ESM2
from esm.pretrained import load_model_and_alphabet_core

FAMILIES = ["esm2", "esm1b", "esm1v", "esm1"]
LAYERS, WIDTH, HEADS = 3, 32, 4
SPECIAL_BEFORE = 1  # BOS; EOS comes after in all families but ESM-1


@dataclass(frozen=True)
class RandomCheckpoint:
    """A checkpoint file of a random model."""

    path: Path
    family: str

    @property
    def has_eos(self) -> bool:
        return self.family != "esm1"


def save_random_checkpoint(
    path: Path,
    family: str,
    *,
    layers: int = LAYERS,
    width: int = WIDTH,
    heads: int = HEADS,
    max_length: int = 40,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    legacy: bool = False,
) -> RandomCheckpoint:
    """Save a random model as Meta's training code saved the published ones."""
    torch.manual_seed(seed)
    model, header, prefixes = _new_model(family, layers, width, heads, max_length)
    _randomise(model)
    weights = {}
    for name, tensor in model.state_dict().items():
        # the published files keep the contact regression apart, and ESM-1v has no such norm at all
        if name.startswith("contact_head."):
            continue
        prefix = prefixes[1] if name.startswith("lm_head.") else prefixes[0]
        weights[prefix + name] = tensor.to(dtype)
    torch.save({**header, "model": weights}, path, _use_new_zipfile_serialization=not legacy)
    return RandomCheckpoint(path, family)


def _new_model(family, layers, width, heads, max_length):
    shape = {"layers": layers, "embed_dim": width, "attention_heads": heads}
    if family == "esm2":
        model = ESM2(layers, width, heads)
        settings = {f"encoder_{name}": value for name, value in shape.items()}
        namespace = argparse.Namespace(**settings, token_dropout=True)
        return model, {"cfg": {"model": namespace}}, ("encoder.sentence_encoder.", "encoder.")
    side = "decoder" if family == "esm1" else "encoder"
    shape["ffn_embed_dim"] = 4 * width
    settings = {f"{side}_{name}": value for name, value in shape.items()}
    if family == "esm1":
        extra = {"arch": "protein_bert_base", "final_bias": True}
        prefixes = ("decoder.", "decoder.")
    else:
        extra = {"arch": "roberta_large", "token_dropout": True, "max_positions": max_length + 2}
        prefixes = ("encoder.sentence_encoder.", "encoder.")
    built = argparse.Namespace(**shape, **extra, emb_layer_norm_before=family == "esm1b")
    alphabet = esm.Alphabet.from_architecture(extra["arch"])
    header = {"args": argparse.Namespace(**settings, **extra)}
    return ProteinBertModel(built, alphabet), header, prefixes


@torch.no_grad()
def _randomise(model):
    """Give every tensor values that show up in the output: default norms and biases would not."""
    for name, parameter in model.named_parameters():
        if "layer_norm" in name and name.endswith("weight"):
            parameter.normal_(1, 0.2)
        else:
            parameter.normal_(0, 0.3 if parameter.ndim == 1 else 1.5 / parameter.shape[-1] ** 0.5)
    for name, buffer in model.named_buffers():
        if name.endswith("inv_freq"):
            buffer.copy_(buffer.half())  # released files hold it rounded to fp16


@cache
def fair_esm(checkpoint: RandomCheckpoint):
    """fair-esm's model and batch converter for a checkpoint, through fair-esm's own loader."""
    with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "Regression weights not found", for contacts only
        data = torch.load(checkpoint.path, weights_only=True)
        data["model"] = {name: tensor.float() for name, tensor in data["model"].items()}
        # fair-esm decides the family by the file's name
        name = "esm2" if checkpoint.family == "esm2" else "esm1"
        model, alphabet = load_model_and_alphabet_core(name, data)
    return model.eval(), alphabet.get_batch_converter()


def fair_esm_states(checkpoint: RandomCheckpoint, sequences: list[str], layer: int) -> list[np.ndarray]:
    """Hidden states of each sequence alone, ``(tokens, width)``, BOS and EOS included."""
    model, converter = fair_esm(checkpoint)
    states = []
    for sequence in sequences:
        _, _, tokens = converter([("", sequence)])
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own, about masks that fair-esm passes
            result = model(tokens, repr_layers=[layer])
        states.append(result["representations"][layer][0].numpy())
    return states


def fair_esm_residues(
    checkpoint: RandomCheckpoint, sequences: list[str], layer: int
) -> list[np.ndarray]:
    """Hidden states of the residues of each sequence, ``(residues, width)``."""
    after = -1 if checkpoint.has_eos else None
    return [states[SPECIAL_BEFORE:after] for states in fair_esm_states(checkpoint, sequences, layer)]


def assert_faithful(actual: np.ndarray, expected: np.ndarray, relative: float = 1e-5) -> None:
    """Every row within ``relative`` of the expected one, in norm and in its largest deviation.

    Relative to the size of the row: a single number near zero is the rest of far larger terms,
    in fair-esm as here.
    """
    assert actual.shape == expected.shape
    difference = np.abs(np.asarray(actual, dtype=np.float64) - np.asarray(expected))
    size = np.abs(np.asarray(expected, dtype=np.float64))
    # no division: the token embedding of <mask> is zero, and so must ours be
    assert (np.linalg.norm(difference, axis=-1) <= relative * np.linalg.norm(size, axis=-1)).all()
    assert (difference.max(-1) <= relative * size.max(-1)).all()
