"""Read a checkpoint in fair-esm's format: its architecture and its tensors."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sklearn_esm._checkpoints._architecture import Architecture, Checkpoint
from sklearn_esm._checkpoints._tensors import UNUSED_POSITIONS, check_tensor, check_tensors
from sklearn_esm._checkpoints._torch_file import load_weights_only

_PREFIX = re.compile(r"^(encoder\.|decoder\.)?(sentence_encoder\.)?")
_LAYER = re.compile(r"layers\.(\d+)\.", re.ASCII)
_READABLE_ARCHITECTURES = {"roberta_large": "esm1b", "protein_bert_base": "esm1"}
_OTHER_ARCHITECTURES = {
    "msa_transformer": "an MSA Transformer, which reads alignments",
    "invariant_gvp": "an ESM-IF model, which reads structures",
}


def read_checkpoint(path: Path) -> Checkpoint:
    """Open a checkpoint in fair-esm's format, memory-mapped where its container allows.

    Raises
    ------
    ValueError
        If the file is damaged, is no checkpoint of a sequence model, or holds anything that would have
        to be executed; if a tensor that the engine reads has another shape or type than it must. The
        message names the file.
    """
    data = load_weights_only(path)
    if not isinstance(data, dict) or not isinstance(data.get("model"), dict):
        raise ValueError(
            f"{path} is no checkpoint in fair-esm's format: it has no 'model' dictionary. Pass a file "
            "downloaded from fair-esm or saved the same way."
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
    return Checkpoint(path, architecture, weights)


def _incomplete(path: Path, reason: object) -> ValueError:
    return ValueError(
        f"{path} is no complete checkpoint of an ESM sequence model: {reason}. "
        "Download or copy the file again."
    )


def _settings(path: Path, data: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the family and its settings, by the names that fair-esm gives them.

    Decided by content, never by file name: fair-esm takes a renamed ESM-2 file for an ESM-1b.
    """
    if "cfg" in data:
        given = vars(data["cfg"]["model"])
        shape = {name: f"encoder_{name}" for name in ("layers", "embed_dim", "attention_heads")}
        settings = {name: given[full] for name, full in shape.items() if full in given}
        return "esm2", {**settings, "token_dropout": given["token_dropout"]}
    arch = data["args"].arch
    if arch not in _READABLE_ARCHITECTURES:
        for start, what in _OTHER_ARCHITECTURES.items():
            if start in arch:
                raise ValueError(f"{path} is {what}, not single sequences. Pass an ESM model.")
        raise ValueError(
            f"{path} has the architecture {arch!r}. Supported are ESM-2, ESM-1b, ESM-1v and ESM-1."
        )
    family = _READABLE_ARCHITECTURES[arch]
    side = "encoder" if family == "esm1b" else "decoder"
    # of two names that become one, the last counts
    return family, {_unprefixed(name, side): value for name, value in vars(data["args"]).items()}


def _unprefixed(name: str, side: str) -> str:
    """Drop all up to the side, wherever it stands, as fair-esm does with every argument."""
    return "".join(name.split(f"{side}_")[1:]) if side in name else name


def _architecture(
    path: Path, family: str, settings: Mapping[str, Any], weights: Mapping[str, Any]
) -> Architecture:
    # of longer numbers the beginning will do: Python makes no integer of thousands of digits
    numbers = [int(found[1][:18]) for name in weights if (found := _LAYER.match(name))]
    blocks = max(numbers, default=-1) + 1
    if not blocks:
        raise _incomplete(path, "it has no tensor of a block, such as layers.0.fc1.weight")
    layers = _integer(settings, "layers") if "layers" in settings else blocks
    if layers != blocks:
        raise _incomplete(path, f"its settings say {layers} layers, and its tensors are of {blocks}")
    if layers > len(weights):
        raise _incomplete(path, f"its {len(weights)} tensors are too few for {layers} layers")
    width = _integer(settings, "embed_dim") if "embed_dim" in settings else None
    if width is None:
        width = check_tensor(path, "embed_tokens.weight", weights, (None, None))[1]
    heads = _integer(settings, "attention_heads")
    if not 1 <= heads <= width or width % heads:
        raise ValueError(
            f"{path} says {heads} attention heads, which does not divide its width of {width}. "
            "Download or copy the file again."
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
    """Return how many residues the table of positions of an ESM-1b or ESM-1v has rows for."""
    name = "embed_positions.weight"
    if "max_positions" in settings:
        rows = _integer(settings, "max_positions") + 2  # those that padding leaves out
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
