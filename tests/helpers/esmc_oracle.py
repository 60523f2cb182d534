"""Small random ESM C models of transformers, in all three layouts, and transformers' own answers."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from fair_esm_oracle import residues_of
from safetensors.torch import load_file, save_file

# not in the environment of the oldest supported versions
transformers = pytest.importorskip("transformers")
EsmcConfig, EsmcForMaskedLM = transformers.EsmcConfig, transformers.EsmcForMaskedLM

LAYERS, WIDTH, HEADS, FEED_FORWARD = 3, 128, 2, 320

# written out: what the tokens of ESM C are called, in the order of their numbers
TOKENS = ["<cls>", "<pad>", "<eos>", "<unk>", *"LAGVSERTIDPKQNFYMHWCXBUZO.-|", "<mask>"]


@dataclass(frozen=True)
class RandomEsmc:
    """A folder as ``save_pretrained`` writes it, of a random model."""

    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "model.safetensors"

    def tensors(self) -> dict[str, torch.Tensor]:
        return load_file(self.file)


def save_random_esmc(
    folder: Path,
    *,
    layers: int = LAYERS,
    width: int = WIDTH,
    heads: int = HEADS,
    feed_forward: int = FEED_FORWARD,
    seed: int = 0,
) -> RandomEsmc:
    torch.manual_seed(seed)
    config = EsmcConfig(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=feed_forward,
    )
    model = EsmcForMaskedLM(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 and "norm" in name and name.endswith("weight"):
                parameter.normal_(1, 0.2)
            else:
                parameter.normal_(0, 0.3 if parameter.ndim == 1 else 1.5 / parameter.shape[-1] ** 0.5)
    model.save_pretrained(folder)
    return RandomEsmc(folder)


# The other layouts, as ESM C's authors wrote them ------------------------------------------------


def as_own_layout(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The layout of ESM C's own ``.pth``, from that of transformers."""
    names = {
        "input_layernorm": "attn.layernorm_qkv.0",
        "self_attn.q_norm": "attn.q_ln",
        "self_attn.k_norm": "attn.k_ln",
        "self_attn.o_proj": "attn.out_proj",
        "post_attention_layernorm": "ffn.0",
        "mlp.down_proj": "ffn.3",
    }
    whole = {
        "esmc.embed_tokens.weight": "embed.weight",
        "esmc.norm.weight": "transformer.norm.weight",
    }
    head = {"dense": "0", "layer_norm": "2", "decoder": "3"}
    fused: dict[str, list[torch.Tensor]] = {}
    out = {}
    for name, tensor in tensors.items():
        if name in whole:
            out[whole[name]] = tensor
        elif found := re.fullmatch(r"lm_head\.(\w+)\.(\w+)", name):
            out[f"sequence_head.{head[found[1]]}.{found[2]}"] = tensor
        else:
            number, part, kind = re.fullmatch(r"esmc\.layers\.(\d+)\.(.+)\.(\w+)", name).groups()
            block = f"transformer.blocks.{number}."
            if part in names:
                out[f"{block}{names[part]}.{kind}"] = tensor
            else:
                fused[block] = []
    for block in fused:
        number = block.split(".")[2]

        def rows(*parts, number=number):
            return torch.cat([tensors[f"esmc.layers.{number}.{part}.weight"] for part in parts])

        out[f"{block}attn.layernorm_qkv.1.weight"] = rows(*(f"self_attn.{one}_proj" for one in "qkv"))
        out[f"{block}ffn.1.weight"] = rows("mlp.gate_proj", "mlp.up_proj")
    return out


def as_hub_layout(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The layout of ``biohub/ESMC-*``, from that of transformers."""
    changes = [
        (r"^sequence_head\.", "lm_head."),
        (r"layernorm_qkv\.0\.", "layernorm_qkv.layer_norm_"),
        (r"layernorm_qkv\.1\.", "layernorm_qkv."),
        (r"ffn\.0\.", "ffn.layer_norm_"),
        (r"ffn\.1\.", "ffn.fc1_"),
        (r"ffn\.3\.", "ffn.fc2_"),
        (r"^(embed|transformer)\.", r"esmc.\1."),
    ]
    out = {}
    for name, tensor in as_own_layout(tensors).items():
        for pattern, replacement in changes:
            name = re.sub(pattern, replacement, name)
        out[name] = tensor
    for number in range(sum(name.endswith("q_ln.weight") for name in out)):
        # what NVIDIA's fused layers add
        out[f"esmc.transformer.blocks.{number}.ffn._extra_state"] = torch.zeros(0, dtype=torch.uint8)
    return out


LAYOUTS = {"transformers": dict, "pth": as_own_layout, "biohub": as_hub_layout}


def save_layout(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, path)


# transformers' own numbers -----------------------------------------------------------------------


@cache
def transformers_model(model: RandomEsmc):
    return EsmcForMaskedLM.from_pretrained(model.folder).eval()


def token_ids(sequence: str) -> torch.Tensor:
    """Ids of a sequence as a user writes it, ``(1, tokens)``."""
    tokens = ["<cls>", *residues_of(sequence), "<eos>"]
    return torch.tensor([[TOKENS.index(token) for token in tokens]])


def esmc_states(model: RandomEsmc, sequences: list[str], layer: int) -> list[np.ndarray]:
    """Hidden states of each sequence alone, ``(tokens, width)``."""
    with torch.no_grad():
        return [
            transformers_model(model)(token_ids(one), output_hidden_states=True)
            .hidden_states[layer][0]
            .numpy()
            for one in sequences
        ]


def esmc_residues(model: RandomEsmc, sequences: list[str], layer: int) -> list[np.ndarray]:
    """Hidden states of the residues of each sequence, ``(residues, width)``."""
    return [states[1:-1] for states in esmc_states(model, sequences, layer)]


def esmc_log_probabilities(model: RandomEsmc, sequence: str) -> np.ndarray:
    """Log-probabilities at every token, ``(tokens, 64)`` float64, normalised over all 64."""
    with torch.no_grad():
        logits = transformers_model(model)(token_ids(sequence)).logits[0]
    return logits.double().log_softmax(-1).numpy()
