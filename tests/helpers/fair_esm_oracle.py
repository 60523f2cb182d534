"""Small random models of every family in fair-esm's file format, and fair-esm's own answers."""

import argparse
import io
import itertools
import os
import re
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
_long_ago = itertools.count(1_000_000_000)  # seconds since 1970


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
    # a file modified just now would be hashed at every use
    os.utime(path, (next(_long_ago),) * 2)
    return RandomCheckpoint(path, family)


def save_random_regression(
    checkpoint: RandomCheckpoint, seed: int = 0, *, maps: int = LAYERS * HEADS
) -> Path:
    """Save a random contact regression beside a checkpoint, named as fair-esm names it."""
    path = regression_path(checkpoint)
    generator = torch.Generator().manual_seed(seed)
    weights = {
        # so large that the probabilities of short sequences spread from 0 to 1
        "contact_head.regression.weight": 8 * torch.randn(1, maps, generator=generator),
        "contact_head.regression.bias": torch.randn(1, generator=generator),
    }
    torch.save({"model": weights}, path)
    return path


def regression_path(checkpoint: RandomCheckpoint) -> Path:
    """Where fair-esm looks for the contact regression of a checkpoint."""
    return checkpoint.path.with_name(f"{checkpoint.path.stem}-contact-regression.pt")


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
def fair_esm(checkpoint: RandomCheckpoint, regression: bytes | None = None):
    """fair-esm's model and batch converter for a checkpoint, through fair-esm's own loader.

    ``regression`` is the content of a file of a contact regression: the file may change.
    """
    with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "Regression weights not found", for contacts only
        data = torch.load(checkpoint.path, weights_only=True)
        data["model"] = {name: tensor.float() for name, tensor in data["model"].items()}
        # fair-esm decides the family by the file's name
        name = "esm2" if checkpoint.family == "esm2" else "esm1"
        contacts = None
        if regression is not None:
            contacts = torch.load(io.BytesIO(regression), weights_only=True)
        model, alphabet = load_model_and_alphabet_core(name, data, contacts)
    return model.eval(), alphabet.get_batch_converter()


def fair_esm_states(checkpoint: RandomCheckpoint, sequences: list[str], layer: int) -> list[np.ndarray]:
    """Hidden states of each sequence alone, ``(tokens, width)``, BOS and EOS included."""
    return [_states(checkpoint, sequence)[layer] for sequence in sequences]


@cache
def _states(checkpoint: RandomCheckpoint, sequence: str) -> dict[int, np.ndarray]:
    """Hidden states of a sequence by their layer, from one pass."""
    model, converter = fair_esm(checkpoint)
    _, _, tokens = converter([("", sequence)])
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about masks that fair-esm passes
        result = model(tokens, repr_layers=range(len(model.layers) + 1))
    return {layer: states[0].numpy() for layer, states in result["representations"].items()}


def fair_esm_residues(
    checkpoint: RandomCheckpoint, sequences: list[str], layer: int
) -> list[np.ndarray]:
    """Hidden states of the residues of each sequence, ``(residues, width)``."""
    after = -1 if checkpoint.has_eos else None
    return [states[SPECIAL_BEFORE:after] for states in fair_esm_states(checkpoint, sequences, layer)]


@cache
def fair_esm_log_probabilities(checkpoint: RandomCheckpoint, sequence: str) -> np.ndarray:
    """Log-probabilities of the vocabulary at every token, ``(tokens, vocabulary)`` float64."""
    model, converter = fair_esm(checkpoint)
    _, _, tokens = converter([("", sequence)])
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logits = model(tokens)["logits"][0]
    return logits.double().log_softmax(-1).numpy()


def residues_of(sequence: str) -> list[str]:
    """The residues of a sequence as a user writes it, ``<mask>`` one of them."""
    return re.findall("<mask>|.", sequence)


def fair_esm_log_probability(
    checkpoint: RandomCheckpoint,
    sequence: str,
    position: int,
    residue: str | None = None,
    *,
    masked: bool,
    window: int | None = None,
) -> float:
    """How likely fair-esm finds a residue at a position of a sequence, by default the one there.

    One pass for each position that is masked; where the sequence is longer than ``window``, over the
    window in which the position lies most central, the first of equals.
    """
    residues = residues_of(sequence)
    token = fair_esm(checkpoint)[1].alphabet.get_idx(residue or residues[position])
    start = 0
    if window is not None and len(residues) > window:
        last = len(residues) - window
        starts = [*range(0, last, max(1, window // 2)), last]
        start = max(starts, key=lambda start: min(position - start, start + window - 1 - position))
        residues = residues[start : start + window]
    if masked:
        residues[position - start] = "<mask>"
    table = fair_esm_log_probabilities(checkpoint, "".join(residues))  # (tokens, vocabulary)
    return float(table[SPECIAL_BEFORE + position - start, token])


def rounding(checkpoint: RandomCheckpoint) -> float:
    """How near a sum of log-probabilities must be, relatively.

    ESM-1 has no norm before its head: its logits are several times larger, and so are their last digits.
    """
    return 1e-5 if checkpoint.has_eos else 3e-5


def fair_esm_contacts(checkpoint: RandomCheckpoint, sequences: list[str]) -> list[np.ndarray]:
    """Contacts of each sequence alone, ``(residues, residues)``, by the regression beside it."""
    regression = regression_path(checkpoint).read_bytes()
    return [_contacts(checkpoint, regression, sequence) for sequence in sequences]


@cache
def _contacts(checkpoint: RandomCheckpoint, regression: bytes, sequence: str) -> np.ndarray:
    model, converter = fair_esm(checkpoint, regression)
    _, _, tokens = converter([("", sequence)])
    with torch.no_grad():
        return model.predict_contacts(tokens)[0].numpy()


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
