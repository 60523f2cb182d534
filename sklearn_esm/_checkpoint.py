"""Where a model's checkpoint lies, what it is and what is in it; the registry and the estimators ask."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sklearn_esm._catalog import BUNDLED_MODEL
from sklearn_esm._checkpoint_file import load_weights_only as load_weights_only
from sklearn_esm._download import checkpoint_file

if TYPE_CHECKING:
    from torch import Tensor

_PREFIX = re.compile(r"^(encoder\.|decoder\.)?(sentence_encoder\.)?")
_LAYER = re.compile(r"layers\.(\d+)\.", re.ASCII)
_READABLE_ARCHITECTURES = {"roberta_large": "esm1b", "protein_bert_base": "esm1"}
_OTHER_ARCHITECTURES = {
    "msa_transformer": "an MSA Transformer, which reads alignments",
    "invariant_gvp": "an ESM-IF model, which reads structures",
}
# one block's tensors in the order of the forward pass; ESM-1 and ESM-2 have a few more
_BLOCK_TENSORS = tuple(
    f"{part}.{kind}"
    for part in (
        "self_attn_layer_norm",
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "self_attn.out_proj",
        "final_layer_norm",
        "fc1",
        "fc2",
    )
    for kind in ("weight", "bias")
)


@dataclass(frozen=True)
class Architecture:
    """Shape and family of a model, read from the content of its checkpoint.

    ``family`` is ``"esm2"``, ``"esm1b"`` (ESM-1v too: it is an ESM-1b whose checkpoint has no
    ``emb_layer_norm_before``) or ``"esm1"``; ``max_length`` counts residues.
    """

    family: str
    layers: int
    width: int
    heads: int
    token_dropout: bool
    max_length: int | None

    @property
    def alphabet(self) -> str:
        """The name under which fair-esm knows the alphabet of this family."""
        return "ESM-1" if self.family == "esm1" else "ESM-1b"

    @property
    def has_eos(self) -> bool:
        return self.family != "esm1"


@dataclass(frozen=True)
class Checkpoint:
    """An opened checkpoint: its architecture and the tensors of its encoder, by fair-esm's names."""

    path: Path
    architecture: Architecture
    weights: Mapping[str, Tensor]


def find_checkpoint(model: str | os.PathLike[str]) -> Path:
    """The file of a model given by name or path; a published one is downloaded if it is not there.

    Raises
    ------
    FileNotFoundError
        Where a path leads nowhere, or a name is not on this machine and the network is off.
    ValueError
        Where a name is none of fair-esm's, or one of a model that does not read single sequences.
    """
    text = os.fspath(model)
    if text == BUNDLED_MODEL:
        return Path(__file__).parent / "bundled" / f"{BUNDLED_MODEL}.pt"
    if not is_path(model):
        return checkpoint_file(text)
    path = Path(text).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no checkpoint at {path}. Pass the path of an existing .pt file in "
            "fair-esm's format, or a published model by name, such as 'esm2_t6_8M_UR50D'."
        )
    return path.absolute()


def is_path(model: str | os.PathLike[str]) -> bool:
    """Whether a model is given by the path of a file; else by a name, which any machine can look up."""
    text = os.fspath(model)
    # any other text with a slash may be a name of another hub, for which the catalog has advice
    return text.endswith(".pt") or (text != BUNDLED_MODEL and Path(text).expanduser().is_file())


def model_label(model: str | os.PathLike[str]) -> str:
    """The name a model goes by in feature names and messages: a path's stem, else the name."""
    text = os.fspath(model)
    return Path(text).stem if text.endswith(".pt") else text


def read_checkpoint(path: Path) -> Checkpoint:
    """Open a checkpoint in fair-esm's format, memory-mapped where its container allows.

    Raises
    ------
    ValueError
        Where the file is damaged, is no checkpoint of a sequence model, or holds anything that
        would have to be executed. The message names the file.
    """
    data = load_weights_only(path)
    if not isinstance(data, dict) or not isinstance(data.get("model"), dict):
        raise ValueError(
            f"{path} is no checkpoint in fair-esm's format: it has no 'model' dictionary. Pass a file "
            "downloaded from fair-esm or saved the same way."
        )
    try:
        weights = {_PREFIX.sub("", name): tensor for name, tensor in data["model"].items()}
        architecture = _architecture(path, data, weights)
        _check_tensors(path, architecture, weights)
    except (AttributeError, KeyError, IndexError, TypeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise ValueError(
            f"{path} is no complete checkpoint of an ESM sequence model: {reason}. "
            "Download or copy the file again."
        ) from error
    return Checkpoint(path, architecture, weights)


def _architecture(path: Path, data: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Architecture:
    """Decide by content, never by file name: fair-esm takes a renamed ESM-2 file for an ESM-1b."""
    layers = 1 + max((int(found[1]) for name in weights if (found := _LAYER.match(name))), default=-1)
    max_length = None
    if "cfg" in data:
        family, settings = "esm2", vars(data["cfg"]["model"])
        heads = settings["encoder_attention_heads"]
        token_dropout = settings["token_dropout"]
    else:
        arch = data["args"].arch
        if arch not in _READABLE_ARCHITECTURES:
            for start, what in _OTHER_ARCHITECTURES.items():
                if start in arch:
                    raise ValueError(f"{path} is {what}, not single sequences. Pass an ESM model.")
            raise ValueError(
                f"{path} has the architecture {arch!r}. Supported are ESM-2, ESM-1b, ESM-1v and ESM-1."
            )
        family, settings = _READABLE_ARCHITECTURES[arch], vars(data["args"])
        side = "encoder" if family == "esm1b" else "decoder"
        heads = settings[f"{side}_attention_heads"]
        token_dropout = settings.get("token_dropout", False)
        if family == "esm1b":
            # rows 0 and 1 are never used, and BOS and EOS take two positions
            max_length = weights["embed_positions.weight"].shape[0] - 4
    width = weights["embed_tokens.weight"].shape[1]
    return Architecture(family, layers, width, heads, bool(token_dropout), max_length)


def _check_tensors(path: Path, architecture: Architecture, weights: Mapping[str, Tensor]) -> None:
    names = ["embed_tokens.weight"]
    extra: tuple[str, ...] = ()
    if architecture.family == "esm2":
        extra = ("self_attn.rot_emb.inv_freq",)
    elif architecture.family == "esm1":
        extra = ("self_attn.bias_k", "self_attn.bias_v")
    if architecture.has_eos:
        names += ["emb_layer_norm_after.weight", "emb_layer_norm_after.bias"]
    for layer in range(architecture.layers):
        names += [f"layers.{layer}.{tensor}" for tensor in (*_BLOCK_TENSORS, *extra)]
    missing = [name for name in names if name not in weights]
    if missing or not architecture.layers:
        raise ValueError(
            f"{path} is no complete checkpoint of an ESM sequence model: {len(missing) or 'all'} of its "
            f"tensors are missing ({', '.join(missing[:3]) or 'layers.0'}...). Download it again."
        )
    if architecture.heads < 1 or architecture.width % architecture.heads:
        raise ValueError(
            f"{path} says {architecture.heads} attention heads, which does not divide its width of "
            f"{architecture.width}. Download or copy the file again."
        )
