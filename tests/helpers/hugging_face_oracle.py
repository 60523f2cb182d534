"""Small random models saved by transformers, in each layout that people have, and its own answers."""

import json
import re
import shutil
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

# not in the environment of the oldest supported versions
transformers = pytest.importorskip("transformers")
EsmConfig, EsmForMaskedLM = transformers.EsmConfig, transformers.EsmForMaskedLM

LAYERS, WIDTH, HEADS, MAX_LENGTH = 3, 32, 4, 40
SHAPE = {
    "vocab_size": 33,
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": 4 * WIDTH,
    "layer_norm_eps": 1e-5,
    "pad_token_id": 1,
    "mask_token_id": 32,
    "max_position_embeddings": MAX_LENGTH + 4,
    "token_dropout": True,
}
SETTINGS = {
    "esm2": {"position_embedding_type": "rotary"},
    "esm1b": {"emb_layer_norm_before": True},
    "esm1v": {"emb_layer_norm_before": False},
}
# another hidden size than 4 times the width, and no token dropout: both occur in fine-tuned models
SETTINGS["esm2-plain"] = {
    **SETTINGS["esm2"], "token_dropout": False, "intermediate_size": 80, "rope_theta": 10000.0
}  # fmt: skip
SETTINGS["esm1b-plain"] = {**SETTINGS["esm1b"], "token_dropout": False}
SEQUENCES = ["MKTAYIAKQRQISFVKS", "LAGV", "KA<mask>ISQ<mask>", "XBUZOMKT", "<mask>LAGV", "GLDALQITV"]
_IDS = dict(zip("LAGVSERTIDPKQNFYMHWCXBUZO", range(4, 29), strict=True), **{"<mask>": 32})

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


def save_random_model(folder, family="esm2", kind=EsmForMaskedLM, seed=0, **settings):
    """Save a random model with transformers' save_pretrained, as somebody does who fine-tuned one."""
    torch.manual_seed(seed)
    model = kind(EsmConfig(**{**SHAPE, **SETTINGS[family], **settings})).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name.lower() and name.endswith("weight"):
                parameter.normal_(1, 0.2)
            else:
                parameter.normal_(0, 0.3 if parameter.ndim == 1 else 1.5 / parameter.shape[-1] ** 0.5)
        for name, buffer in model.named_buffers():
            if name.endswith("inv_freq"):
                buffer.copy_(buffer.half())  # as in the published files
    model.save_pretrained(folder)
    return Path(folder)


def tensors_of(folder):
    """The tensors of a saved model, by the names in the file."""
    return load_file(Path(folder) / "model.safetensors")


def config_of(folder):
    return json.loads((Path(folder) / "config.json").read_text())


def with_tensors(folder, target, tensors, **config):
    """A folder with the same config.json, changed or not, and other tensors."""
    target = Path(target)
    target.mkdir(exist_ok=True)
    entries = {**config_of(folder), **config}
    entries = {name: value for name, value in entries.items() if value is not ...}
    (target / "config.json").write_text(json.dumps(entries))
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()}, target / "model.safetensors"
    )
    return target


def names_of_transformers_4(tensors):
    """The same tensors as transformers 4 named them: weight and bias, frequencies in every block."""
    renamed = {}
    for name, tensor in tensors.items():
        name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name)
        name = re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name)
        if "*" in name:
            renamed.update({name.replace("*", str(i)): tensor.clone() for i in range(LAYERS)})
        else:
            renamed[name] = tensor
    prefix = "esm." if any(name.startswith("esm.") for name in tensors) else ""
    renamed[f"{prefix}embeddings.position_ids"] = torch.arange(44).expand(1, -1).contiguous()
    return renamed


def save_sharded(folder, target, shards=3, suffix="safetensors"):
    """The same model in several files with an index."""
    target.mkdir()
    shutil.copy(folder / "config.json", target)
    tensors = tensors_of(folder)
    stem = {"safetensors": "model", "bin": "pytorch_model"}[suffix]
    names, weight_map = sorted(tensors), {}
    for number in range(shards):
        file = f"{stem}-{number + 1:05d}-of-{shards:05d}.{suffix}"
        part = {name: tensors[name] for name in names[number::shards]}
        save_file(part, target / file) if suffix == "safetensors" else torch.save(part, target / file)
        weight_map.update(dict.fromkeys(part, file))
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (target / f"{stem}.{suffix}.index.json").write_text(json.dumps(index))
    return target


@cache
def _loaded(folder, kind):
    return kind.from_pretrained(folder, attn_implementation="eager").eval()


def token_ids(sequence):
    residues = re.findall("<mask>|.", sequence)
    return torch.tensor([[0, *(_IDS[residue] for residue in residues), 2]])


def _run(model, sequence, **wanted):
    ids = token_ids(sequence)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model(ids, attention_mask=torch.ones_like(ids), **wanted)


def transformers_states(model, sequence):
    """Every hidden state, ``(layers + 1, tokens, width)``, BOS and EOS included."""
    return torch.stack(_run(model, sequence, output_hidden_states=True).hidden_states)[:, 0].numpy()


def transformers_log_probabilities(model, sequence):
    """Log-probabilities of the vocabulary at every token, ``(tokens, 33)`` float64."""
    return _run(model, sequence).logits[0].double().log_softmax(-1).numpy()


def transformers_contacts(model, sequence):
    ids = token_ids(sequence)
    with torch.no_grad():
        return np.asarray(model.predict_contacts(ids, torch.ones_like(ids))[0])


def load(folder, kind=EsmForMaskedLM):
    """transformers' own model, read by its own reader."""
    return _loaded(folder, kind)
