"""The names of ESM C's tensors in the three layouts in which it is published."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

VOCABULARY = 64

# of a transformers model with a head, before all names but those of the head
_PREFIX = "esmc."
_BLOCK = re.compile(r"(transformer\.blocks\.|layers\.)(\d+)\.(.+)", re.ASCII)


@dataclass(frozen=True)
class Layout:
    """Names in a file, without prefix, and the canonical names of the rows of each tensor.

    ``stem`` and the number of a block come before the names in ``block``.
    """

    stem: str
    whole: Mapping[str, str]
    head: Mapping[str, str]
    block: Mapping[str, tuple[str, ...]]

    def has(self, name: str) -> bool:
        """Return whether this layout has a name."""
        if found := _BLOCK.fullmatch(name):
            return found[1] == self.stem and found[3] in self.block
        return name in self.whole or name in self.head

    def block_numbers(self, names: Iterable[str]) -> set[int]:
        """Return the numbers of the blocks in the names of a file, which may have the prefix."""
        found = [_BLOCK.fullmatch(name.removeprefix(_PREFIX)) for name in names]
        # at most 18 digits, because int() fails for thousands of them
        return {int(match[2][:18]) for match in found if match and match[1] == self.stem}

    def names(self, prefix: str, layers: int, head: bool) -> dict[str, tuple[str, ...]]:
        """Return all names of a file, with the canonical names of the rows of each tensor."""
        names: dict[str, tuple[str, ...]] = {}
        for name, one in self.whole.items():
            names[prefix + name] = (one,)
        for layer in range(layers):
            for name, rows in self.block.items():
                canonical = tuple(f"layers.{layer}.{row}" for row in rows)
                names[f"{prefix}{self.stem}{layer}.{name}"] = canonical
        if head:
            names |= {name: (one,) for name, one in self.head.items()}
        return names


def layout_of(names: Iterable[str]) -> tuple[Layout, str]:
    """Return the layout and the prefix that most names of a file have."""
    given = list(names)
    prefixed = sum(name.startswith(_PREFIX) for name in given)
    prefix = _PREFIX if 2 * prefixed > len(given) else ""
    bare = [name.removeprefix(prefix) for name in given]
    return max(_LAYOUTS, key=lambda layout: sum(map(layout.has, bare))), prefix


def shape_of(canonical: str, width: int, feed_forward: int) -> tuple[int, ...]:
    """Return the shape of a tensor by its canonical name."""
    part, _, kind = re.sub(r"^layers\.\d+\.", "", canonical).rpartition(".")
    if part in ("embed_tokens", "lm_head.decoder"):
        return (VOCABULARY, width) if kind == "weight" else (VOCABULARY,)
    if part in ("mlp.gate_proj", "mlp.up_proj"):
        return (feed_forward, width)
    if part == "mlp.down_proj":
        return (width, feed_forward)
    return (width,) if kind == "bias" or "norm" in part else (width, width)


_QKV = tuple(f"self_attn.{name}_proj.weight" for name in "qkv")
_GATE_AND_UP = ("mlp.gate_proj.weight", "mlp.up_proj.weight")
_DOWN = ("mlp.down_proj.weight",)
_KINDS = ("weight", "bias")
_HEAD = ("dense", "layer_norm", "decoder")

# ESM C's own .pth, and the safetensors of biohub/ESMC-*
_WHOLE_FUSED = {
    "embed.weight": "embed_tokens.weight",
    "transformer.norm.weight": "emb_layer_norm_after.weight",
}
_BLOCK_FUSED = {
    "attn.q_ln.weight": ("self_attn.q_norm.weight",),
    "attn.k_ln.weight": ("self_attn.k_norm.weight",),
    "attn.out_proj.weight": ("self_attn.out_proj.weight",),
}


def _numbered_head(stem: str) -> dict[str, str]:
    return {
        f"{stem}.{number}.{kind}": f"lm_head.{name}.{kind}"
        for number, name in zip((0, 2, 3), _HEAD, strict=True)  # 1 is the GELU
        for kind in _KINDS
    }


_LAYOUTS = (
    # ESM C's own .pth
    Layout(
        "transformer.blocks.",
        _WHOLE_FUSED,
        _numbered_head("sequence_head"),
        {
            **_BLOCK_FUSED,
            "attn.layernorm_qkv.0.weight": ("self_attn_layer_norm.weight",),
            "attn.layernorm_qkv.0.bias": ("self_attn_layer_norm.bias",),
            "attn.layernorm_qkv.1.weight": _QKV,
            "ffn.0.weight": ("final_layer_norm.weight",),
            "ffn.0.bias": ("final_layer_norm.bias",),
            "ffn.1.weight": _GATE_AND_UP,
            "ffn.3.weight": _DOWN,
        },
    ),
    # the safetensors of biohub/ESMC-*
    Layout(
        "transformer.blocks.",
        _WHOLE_FUSED,
        _numbered_head("lm_head"),
        {
            **_BLOCK_FUSED,
            "attn.layernorm_qkv.layer_norm_weight": ("self_attn_layer_norm.weight",),
            "attn.layernorm_qkv.layer_norm_bias": ("self_attn_layer_norm.bias",),
            "attn.layernorm_qkv.weight": _QKV,
            "ffn.layer_norm_weight": ("final_layer_norm.weight",),
            "ffn.layer_norm_bias": ("final_layer_norm.bias",),
            "ffn.fc1_weight": _GATE_AND_UP,
            "ffn.fc2_weight": _DOWN,
        },
    ),
    # what save_pretrained of transformers writes
    Layout(
        "layers.",
        {
            "embed_tokens.weight": "embed_tokens.weight",
            "norm.weight": "emb_layer_norm_after.weight",
        },
        {f"lm_head.{name}.{kind}": f"lm_head.{name}.{kind}" for name in _HEAD for kind in _KINDS},
        {
            "input_layernorm.weight": ("self_attn_layer_norm.weight",),
            "input_layernorm.bias": ("self_attn_layer_norm.bias",),
            "self_attn.q_norm.weight": ("self_attn.q_norm.weight",),
            "self_attn.k_norm.weight": ("self_attn.k_norm.weight",),
            "self_attn.o_proj.weight": ("self_attn.out_proj.weight",),
            "post_attention_layernorm.weight": ("final_layer_norm.weight",),
            "post_attention_layernorm.bias": ("final_layer_norm.bias",),
            **{name: (name,) for name in (*_QKV, *_GATE_AND_UP, *_DOWN)},
        },
    ),
)
