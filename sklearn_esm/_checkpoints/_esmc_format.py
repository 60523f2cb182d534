"""Read architecture and tensors of ESM C."""

from __future__ import annotations

import re
import reprlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sklearn_esm._checkpoints._architecture import Architecture, Checkpoint
from sklearn_esm._checkpoints._esmc_layouts import VOCABULARY, layout_of, shape_of
from sklearn_esm._checkpoints._tensors import check_tensor

if TYPE_CHECKING:
    from torch import Tensor

_HEAD_DIM = 64  # of every published model; a file without config.json does not say
_AGAIN = "Download or copy the file again."
_WIDTH, _FEED_FORWARD = -1, -2  # in place of sizes that are not known yet

# names of a block that no other model has
_OWN = re.compile(
    r"(esmc\.)?(transformer\.blocks\.\d+\.attn\.(layernorm_qkv|[qk]_ln)\."
    r"|layers\.\d+\.self_attn\.[qk]_norm\.)",
    re.ASCII,
)
_ESM3 = re.compile(r"encoder\.sequence_embed\.|transformer\.blocks\.\d+\.geom_attn\.", re.ASCII)
# what NVIDIA's layers add, and the heads of classifiers
_IGNORED = re.compile(r"(.+\.)?_extra_state|(classifier|score)\..+", re.DOTALL)

# entries of config.json: their names in ESM C's own package, and transformers' defaults
_SIZES = {
    "hidden_size": ("d_model", 2560),
    "num_hidden_layers": ("n_layers", 80),
    "num_attention_heads": ("n_heads", 40),
}
# entries with one value in every published model
_FIXED = {
    "vocab_size": VOCABULARY,
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "rope_theta": 10000,
    "rope_type": "default",
}


def is_esmc(names: Iterable[str]) -> bool:
    """Return whether tensors are named like those of ESM C, in any of its layouts.

    Those of ESM3 are named alike. `esmc_checkpoint` refuses them by name.
    """
    return any(_OWN.match(name) for name in names)


def esmc_architecture(config: Mapping[str, Any]) -> Architecture:
    """Return the architecture of ESM C that a ``config.json`` describes.

    Entries that are missing are read as transformers reads them.

    Raises
    ------
    ValueError
        If an entry has an invalid value, or one that no published model has.
    """
    sizes = {}
    for name, (own, default) in _SIZES.items():
        value = config.get(name, config.get(own, default))
        if type(value) is not int or value < 1:
            raise ValueError(
                f"{name} in config.json must be a positive integer; got {reprlib.repr(value)}. {_AGAIN}"
            )
        sizes[name] = value
    width, layers, heads = sizes.values()
    if width % (2 * heads):
        raise ValueError(
            "hidden_size in config.json must be an even multiple of num_attention_heads; got "
            f"{width} and {heads}. {_AGAIN}"
        )
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    given = {**config, **(rope if isinstance(rope, Mapping) else {"rope_type": rope})}
    fixed = {**_FIXED, "num_key_value_heads": heads, "head_dim": width // heads}
    for name, expected in fixed.items():
        value = given.get(name)
        if value is not None and value != expected:
            raise ValueError(
                f"{name} in config.json must be {expected!r}, as in the published ESM C models; got "
                f"{reprlib.repr(value)}. Pass one of these models, or one fine-tuned from them."
            )
    return Architecture("esmc", layers, width, heads, token_dropout=False, max_length=None)


def esmc_checkpoint(
    path: Path, tensors: Mapping[str, Tensor], config: Mapping[str, Any] | None = None
) -> Checkpoint:
    """Return a checkpoint of ESM C, with its tensors by canonical names and without copies.

    Parameters
    ----------
    path : Path
        The file or folder, for messages.
    tensors : mapping of str to Tensor
        Content of the file, in one of the three layouts.
    config : mapping or None, default=None
        Content of ``config.json``. Without it, attention heads have 64 numbers.

    Raises
    ------
    ValueError
        If a tensor is missing, unexpected or of a wrong shape or type, or if tensors and config
        disagree. The language-model head may be missing, and heads of classifiers are ignored.
    """
    if any(_ESM3.match(name) for name in tensors):
        raise ValueError(
            f"{path} must be a checkpoint of ESM C; got ESM3, which reads structures too. Pass a "
            "checkpoint of ESM C, such as 'esmc_300m'."
        )
    found = {name: tensor for name, tensor in tensors.items() if not _IGNORED.fullmatch(name)}
    layout, prefix = layout_of(found)
    layers = _count(path, layout.block_numbers(found))
    expected = layout.names(prefix, layers, head=any(name in found for name in layout.head))
    _check_names(path, found, expected)
    width, feed_forward = _sizes(found, expected)
    weights: dict[str, Tensor] = {}
    for name, rows in expected.items():
        shapes = [shape_of(row, width, feed_forward) for row in rows]
        heights = [height for height, *_ in shapes]
        check_tensor(path, name, found, (sum(heights), *shapes[0][1:]))
        weights.update(zip(rows, found[name].split(heights), strict=True))
    if config is None:
        return Checkpoint(path, _published_architecture(path, layers, width), weights)
    architecture = esmc_architecture(config)
    given = config.get("intermediate_size", feed_forward)
    _check_config(path, "num_hidden_layers", architecture.layers, layers)
    _check_config(path, "hidden_size", architecture.width, width)
    _check_config(path, "intermediate_size", given, feed_forward)
    return Checkpoint(path, architecture, weights)


def _count(path: Path, numbers: set[int]) -> int:
    """Return the number of blocks, of which none may be missing."""
    layers = len(numbers)
    missing = next((number for number in range(layers) if number not in numbers), None)
    if missing is not None or not layers:
        raise ValueError(
            f"{path} must be a complete checkpoint of ESM C: the tensors of block {missing or 0} are "
            f"missing. {_AGAIN}"
        )
    return layers


def _check_names(path: Path, found: Collection[str], expected: Collection[str]) -> None:
    missing = [name for name in expected if name not in found]
    surplus = [name for name in found if name not in expected]
    reasons = []
    if missing:
        reasons.append(f"{len(missing)} of its tensors are missing ({_some(missing)})")
    if surplus:
        reasons.append(f"{len(surplus)} of its tensors are unexpected ({_some(surplus)})")
    if reasons:
        raise ValueError(
            f"{path} must be a complete checkpoint of ESM C: {', and '.join(reasons)}. {_AGAIN}"
        )


def _sizes(found: Mapping[str, Tensor], expected: Mapping[str, tuple[str, ...]]) -> tuple[int, int]:
    """Return width and feed-forward width, those of most tensors, so that the others are at fault."""
    votes: dict[int, Counter[int]] = {_WIDTH: Counter(), _FEED_FORWARD: Counter()}
    for name, rows in expected.items():
        meaning = shape_of(rows[0], _WIDTH, _FEED_FORWARD)
        shape = getattr(found[name], "shape", ())
        if len(rows) == 1 and len(shape) == len(meaning):
            for size, which in zip(shape, meaning, strict=True):
                if which in votes:
                    votes[which][size] += 1
    width, feed_forward = (max(some, key=some.__getitem__, default=0) for some in votes.values())
    return width, feed_forward


def _published_architecture(path: Path, layers: int, width: int) -> Architecture:
    if width % _HEAD_DIM:
        raise ValueError(
            f"{path} must have a width that is a multiple of {_HEAD_DIM}, the width of an attention "
            f"head; got {width}. Put its config.json beside it."
        )
    return Architecture("esmc", layers, width, width // _HEAD_DIM, token_dropout=False, max_length=None)


def _check_config(path: Path, name: str, given: Any, actual: int) -> None:
    if given != actual:
        raise ValueError(
            f"{path} must have the {name} of its config.json, {reprlib.repr(given)}; got tensors with "
            f"{actual}. Download or copy both again."
        )


def _some(names: list[str]) -> str:
    return ", ".join(name[:100] for name in names[:3]) + (", ..." if len(names) > 3 else "")
