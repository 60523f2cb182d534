"""The contestants: from a checkpoint and sequences to the means of the last layer, each in its own way.

Each takes the path of a checkpoint of ESM-2 or ESM C and a list of sequences, and gives an array
``(sequences, width)``. fair-esm reads ESM-2 only. They run on the CPU in float32 unless a `Setting` says
otherwise. A model is loaded in the first call and kept; ``forget_models`` drops it.
"""

import re
import sys
import warnings
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from esm import Alphabet, FastaBatchedDataset
from shapes import SHAPES, TESTS
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

sys.path.insert(0, str(TESTS))
from fair_esm_oracle import RandomCheckpoint, fair_esm

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm._checkpoints._reader import read_checkpoint

BUDGET = 4096  # tokens in a batch, padding included: the default of fair-esm's extract.py
ALPHABET = Alphabet.from_architecture("ESM-1b")  # ESM-2's, too; and ESM C's ids of residues
# transformers' names of what a block holds, by fair-esm's
BLOCK = {
    "self_attn.q_proj": "attention.self.query",
    "self_attn.k_proj": "attention.self.key",
    "self_attn.v_proj": "attention.self.value",
    "self_attn.out_proj": "attention.output.dense",
    "self_attn.rot_emb": "attention.self.rotary_embeddings",
    "self_attn_layer_norm": "attention.LayerNorm",
    "fc1": "intermediate.dense",
    "fc2": "output.dense",
    "final_layer_norm": "LayerNorm",
}


class Setting(NamedTuple):
    """Where and how a contestant computes; ``attention`` is for transformers only."""

    device: str = "cpu"
    dtype: str = "float32"
    attention: str = "sdpa"


ON_CPU = Setting()


def ours(path: Path, sequences: list[str], setting: Setting = ON_CPU) -> np.ndarray:
    embed = ESMEmbeddingTransformer(path, cache=None, device=setting.device, dtype=setting.dtype)
    means: np.ndarray = embed.fit_transform(sequences)
    return means


def fair_esm_snippet(path: Path, sequences: list[str], setting: Setting = ON_CPU) -> np.ndarray:
    """What is commonly pasted, without the contact maps: batches of 16, in the order of the input."""
    return fair_esm_means(path, sequences, batches_of_16(sequences), setting=setting)


def fair_esm_contacts(path: Path, sequences: list[str]) -> np.ndarray:
    """What is commonly pasted: the contact maps are computed, and not used."""
    return fair_esm_means(path, sequences, batches_of_16(sequences), return_contacts=True)


def fair_esm_sorted(path: Path, sequences: list[str]) -> np.ndarray:
    """Batches as in fair-esm's extract.py, which counts one of the two special tokens."""
    return fair_esm_means(path, sequences, sorted_batches(sequences, BUDGET, special_tokens=1))


def transformers_sorted(
    path: Path, sequences: list[str], budget: int = BUDGET, setting: Setting = ON_CPU
) -> np.ndarray:
    """The model of transformers, by default with sdpa; a tokeniser's time is not held against it."""
    model = transformers_model(path, setting)
    means: dict[int, np.ndarray] = {}
    for batch in sorted_batches(sequences, budget, special_tokens=2):
        ids = padded_ids([sequences[row] for row in batch]).to(setting.device)  # (batch, longest)
        with torch.inference_mode():
            mask = ids.ne(ALPHABET.padding_idx).long()  # (batch, longest)
            states = model(ids, attention_mask=mask).last_hidden_state  # (batch, longest, width)
            means.update(residue_means(states, sequences, batch))
    return in_order(means)


CONTESTANTS: dict[str, Callable[..., np.ndarray]] = {
    "ours": ours,
    "snippet": fair_esm_snippet,
    "contacts": fair_esm_contacts,
    "sorted": fair_esm_sorted,
    "transformers": transformers_sorted,
}


def contestants_of(shape: str) -> list[str]:
    """The contestants that have a model of the shape's family."""
    esmc = SHAPES[shape].family == "esmc"
    return [name for name in CONTESTANTS if not esmc or name in ("ours", "transformers")]


def forget_models() -> None:
    fair_esm.cache_clear()
    fair_esm_on.cache_clear()
    transformers_model.cache_clear()


def fair_esm_means(
    path: Path,
    sequences: list[str],
    batches: Iterable[list[int]],
    return_contacts: bool = False,
    setting: Setting = ON_CPU,
) -> np.ndarray:
    model, converter = fair_esm_on(path, setting)
    layer = model.num_layers
    means: dict[int, np.ndarray] = {}
    for batch in batches:
        _, _, tokens = converter([("", sequences[row]) for row in batch])  # (batch, longest)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own, about masks that fair-esm passes
            result = model(
                tokens.to(setting.device), repr_layers=[layer], return_contacts=return_contacts
            )
        states = result["representations"][layer]  # (batch, longest, width)
        means.update(residue_means(states, sequences, batch))
    return in_order(means)


def batches_of_16(sequences: list[str]) -> list[list[int]]:
    rows = list(range(len(sequences)))
    return [rows[start : start + 16] for start in range(0, len(rows), 16)]


def sorted_batches(sequences: list[str], budget: int, special_tokens: int) -> list[list[int]]:
    """Rows sorted by length, in batches of at most ``budget`` tokens, padding included."""
    data = FastaBatchedDataset([""] * len(sequences), sequences)
    batches: list[list[int]] = data.get_batch_indices(budget, extra_toks_per_seq=special_tokens)
    return batches


def padded_ids(sequences: list[str]) -> Tensor:
    """Token ids, ``(sequences, longest)`` int64."""
    table = ALPHABET.tok_to_idx
    ids = [
        torch.tensor([ALPHABET.cls_idx, *map(table.__getitem__, sequence), ALPHABET.eos_idx])
        for sequence in sequences
    ]
    return pad_sequence(ids, batch_first=True, padding_value=ALPHABET.padding_idx)


def residue_means(states: Tensor, sequences: list[str], batch: list[int]) -> dict[int, np.ndarray]:
    """The means over the residues, by row, without BOS, EOS and padding."""
    means = torch.stack(
        [
            state[1 : len(sequences[row]) + 1].float().mean(0)  # (width,)
            for row, state in zip(batch, states, strict=True)
        ]
    )
    # once for the batch, because a GPU is waited for
    return dict(zip(batch, means.cpu().numpy(), strict=True))


def in_order(means: dict[int, np.ndarray]) -> np.ndarray:
    return np.stack([means[row] for row in range(len(means))])


@cache
def fair_esm_on(path: Path, setting: Setting) -> tuple[Any, Any]:
    """fair-esm's model and its converter. It is moved, so forget it before another setting."""
    model, converter = fair_esm(RandomCheckpoint(path, "esm2"))
    return model.to(setting.device, getattr(torch, setting.dtype)), converter


@cache
def transformers_model(path: Path, setting: Setting) -> Any:  # an EsmModel or EsmcModel
    """The checkpoint as a model of transformers, which needs no network."""
    import transformers

    transformers.logging.set_verbosity_error()  # it reports that the head of the checkpoint is not used
    transformers.logging.disable_progress_bar()
    dtype, attention = getattr(torch, setting.dtype), setting.attention
    if path.suffix == ".safetensors":
        model = transformers.EsmcModel.from_pretrained(
            path.parent, attn_implementation=attention, dtype=dtype
        )
        return model.to(setting.device).eval()
    checkpoint = read_checkpoint(path)
    architecture = checkpoint.architecture
    config = transformers.EsmConfig(
        vocab_size=len(ALPHABET),
        mask_token_id=ALPHABET.mask_idx,
        pad_token_id=ALPHABET.padding_idx,
        hidden_size=architecture.width,
        num_hidden_layers=architecture.layers,
        num_attention_heads=architecture.heads,
        intermediate_size=4 * architecture.width,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        layer_norm_eps=1e-5,
        position_embedding_type="rotary",
        emb_layer_norm_before=False,
        token_dropout=architecture.token_dropout,
        attn_implementation=attention,
    )
    model = transformers.EsmModel(config, add_pooling_layer=False)
    weights = {
        transformers_name(name): tensor
        for name, tensor in checkpoint.weights.items()
        if not name.startswith("lm_head.")
    }
    lacking, unknown = model.load_state_dict(weights, strict=False)
    # fair-esm's files hold no contact regression
    lacking = [name for name in lacking if not name.startswith("contact_head.")]
    if lacking or unknown:
        raise ValueError(f"transformers has other names: without weights {lacking}, left {unknown}")
    return model.to(setting.device, dtype).eval()


def transformers_name(name: str) -> str:
    if name == "embed_tokens.weight":
        return "embeddings.word_embeddings.weight"
    if not (found := re.fullmatch(r"layers\.(\d+)\.(.+)\.(\w+)", name)):
        return f"encoder.{name}"
    layer, part, kind = found.groups()
    # the rotary frequencies go by the names of earlier versions, which newer ones read, too: the file
    # holds them rounded, and a model of transformers with its own would give other numbers
    return f"encoder.layer.{layer}.{BLOCK[part]}.{kind}"
