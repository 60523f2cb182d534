"""Read architecture and tensors of a checkpoint in fair-esm's format."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sklearn_esm._checkpoints._architecture import Architecture, Checkpoint
from sklearn_esm._checkpoints._tensors import UNUSED_POSITIONS, check_tensor, check_tensors

_PREFIX = re.compile(r"^(encoder\.|decoder\.)?(sentence_encoder\.)?")
_LAYER = re.compile(r"layers\.(\d+)\.", re.ASCII)
_MASK = 32  # token of <mask> in the alphabet of ESM-1b
_READABLE_ARCHITECTURES = {"roberta_large": "esm1b", "protein_bert_base": "esm1"}
_OTHER_ARCHITECTURES = {
    "msa_transformer": "an MSA Transformer, which needs alignments",
    "invariant_gvp": "an ESM-IF model, which needs structures",
}


def fair_esm_checkpoint(path: Path, data: Any) -> Checkpoint:
    """Return the checkpoint that the content of a PyTorch file in fair-esm's format describes.

    Raises
    ------
    ValueError
        If it is not a checkpoint of a sequence model, or if a tensor has a wrong shape or type.
    """
    if not isinstance(data, dict) or not isinstance(data.get("model"), dict):
        raise ValueError(
            f"{path} must be a checkpoint in fair-esm's format; got a file without a 'model' "
            "dictionary. Pass a file downloaded from fair-esm or saved the same way."
        )
    try:
        weights = {_PREFIX.sub("", name): tensor for name, tensor in data["model"].items()}
        family, settings = _settings(path, data)
        architecture = _architecture(path, family, settings, weights)
        feed_forward = 4 * architecture.width
        if family != "esm2" and "ffn_embed_dim" in settings:
            feed_forward = _integer(settings, "ffn_embed_dim")
        output_bias = bool(settings.get("final_bias"))
    except (AttributeError, KeyError, IndexError, TypeError, RuntimeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise _incomplete(path, reason) from error
    check_tensors(path, architecture, weights, feed_forward=feed_forward, output_bias=output_bias)
    if family == "esm1b":
        _zero_mask_row(weights)
    return Checkpoint(path, architecture, weights)


def _zero_mask_row(weights: dict[str, Any]) -> None:
    """Zero the embedding of ``<mask>``, as fair-esm's loader does for ESM-1b and ESM-1v.

    If the head's weight is the same tensor in the file, its row becomes zero too.
    """
    embedding = weights["embed_tokens.weight"]
    head = weights.get("lm_head.weight", embedding)
    zeroed = embedding.clone()  # (33, width)
    zeroed[_MASK] = 0
    weights["embed_tokens.weight"] = zeroed
    if head.data_ptr() == embedding.data_ptr():
        weights["lm_head.weight"] = zeroed


def _incomplete(path: Path, reason: object) -> ValueError:
    return ValueError(
        f"{path} must be a complete checkpoint of an ESM sequence model: {reason}. "
        "Download or copy the file again."
    )


def _settings(path: Path, data: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the family and its settings, by fair-esm's names.

    The content decides, never the file name: fair-esm reads a renamed ESM-2 file as ESM-1b.
    """
    if "cfg" in data:
        given = vars(data["cfg"]["model"])
        shape = {name: f"encoder_{name}" for name in ("layers", "embed_dim", "attention_heads")}
        settings = {name: given[full] for name, full in shape.items() if full in given}
        return "esm2", {**settings, "token_dropout": given["token_dropout"]}
    arch = data["args"].arch
    if arch not in _READABLE_ARCHITECTURES:
        other = (what for part, what in _OTHER_ARCHITECTURES.items() if part in arch)
        raise ValueError(
            f"{path} must be a checkpoint of ESM-2, ESM-1b, ESM-1v or ESM-1; got "
            f"{next(other, f'the architecture {arch!r}')}. Pass a checkpoint of one of these models."
        )
    family = _READABLE_ARCHITECTURES[arch]
    side = "encoder" if family == "esm1b" else "decoder"
    # if two names become equal, the last one wins
    return family, {_unprefixed(name, side): value for name, value in vars(data["args"]).items()}


def _unprefixed(name: str, side: str) -> str:
    """Remove everything up to ``encoder_`` or ``decoder_``, as fair-esm does."""
    return "".join(name.split(f"{side}_")[1:]) if side in name else name


def _architecture(
    path: Path, family: str, settings: Mapping[str, Any], weights: Mapping[str, Any]
) -> Architecture:
    # at most 18 digits, because int() fails for thousands of them
    numbers = [int(found[1][:18]) for name in weights if (found := _LAYER.match(name))]
    blocks = max(numbers, default=-1) + 1
    if not blocks:
        raise _incomplete(path, "it has no block tensors, such as layers.0.fc1.weight")
    layers = _integer(settings, "layers") if "layers" in settings else blocks
    if layers != blocks:
        raise _incomplete(path, f"its settings have {layers} layers, but its tensors have {blocks}")
    if layers > len(weights):
        raise _incomplete(path, f"its {len(weights)} tensors are too few for {layers} layers")
    width = _integer(settings, "embed_dim") if "embed_dim" in settings else None
    if width is None:
        width = check_tensor(path, "embed_tokens.weight", weights, (None, None))[1]
    heads = _integer(settings, "attention_heads")
    if not 1 <= heads <= width or width % heads:
        raise ValueError(
            f"{path} must have a number of attention heads that divides its width of {width}; got "
            f"{heads}. Download or copy the file again."
        )
    if family == "esm2" and width // heads % 2:
        raise ValueError(
            f"{path} must have attention heads of an even width; got {width // heads}. "
            "Download or copy the file again."
        )
    if family == "esm1" and (width < 4 or width % 2):
        raise ValueError(
            f"{path} must have an even width of 4 or more; got {width}. Download or copy the file again."
        )
    max_length = _max_length(path, settings, weights, width) if family == "esm1b" else None
    return Architecture(family, layers, width, heads, bool(settings.get("token_dropout")), max_length)


def _max_length(path: Path, settings: Mapping[str, Any], weights: Mapping[str, Any], width: int) -> int:
    """Return the maximum number of residues, from the position table of ESM-1b or ESM-1v."""
    name = "embed_positions.weight"
    if "max_positions" in settings:
        rows = _integer(settings, "max_positions") + 2  # plus the rows up to the padding index
    else:
        rows = check_tensor(path, name, weights, (None, width))[0]
    if rows <= UNUSED_POSITIONS:
        raise ValueError(
            f"{path}: {name} must have {UNUSED_POSITIONS + 1} rows or more; got {rows}. "
            "Download or copy the file again."
        )
    return rows - UNUSED_POSITIONS


def _integer(settings: Mapping[str, Any], name: str) -> int:
    value = settings[name]
    if type(value) is not int:
        raise TypeError(f"{name} must be an integer; got {reprlib.repr(value)}")
    return value
