"""Read architecture and tensors of ESM-2, ESM-1b and ESM-1v as transformers saves them.

transformers names the tensors in its own way, in three versions: with `LayerNorm.weight` and `.bias` or
with `.gamma` and `.beta`, and with the rotary frequencies of every block, of one block with a literal
star, or of the model.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sklearn_esm._checkpoints._architecture import Architecture, Checkpoint
from sklearn_esm._checkpoints._esmc_format import esmc_architecture
from sklearn_esm._checkpoints._tensors import (
    UNUSED_POSITIONS,
    check_overlap,
    check_tensor,
    encoder_shapes,
    head_shapes,
)

if TYPE_CHECKING:
    from torch import Tensor

_VOCABULARY = 33
_MASK, _PADDING = 32, 1
_EPSILON = 1e-5

# transformers' names of modules, and fair-esm's
_OUTER = {
    "embeddings.word_embeddings": "embed_tokens",
    "embeddings.position_embeddings": "embed_positions",
    "embeddings.layer_norm": "emb_layer_norm_before",
    "encoder.emb_layer_norm_after": "emb_layer_norm_after",
    "contact_head.regression": "contact_head.regression",
    "lm_head.dense": "lm_head.dense",
    "lm_head.layer_norm": "lm_head.layer_norm",
    "lm_head.decoder": "lm_head",
    "lm_head": "lm_head",
}
_IN_BLOCK = {
    "attention.self.query": "self_attn.q_proj",
    "attention.self.key": "self_attn.k_proj",
    "attention.self.value": "self_attn.v_proj",
    "attention.output.dense": "self_attn.out_proj",
    "attention.LayerNorm": "self_attn_layer_norm",
    "intermediate.dense": "fc1",
    "output.dense": "fc2",
    "LayerNorm": "final_layer_norm",
}
_BLOCK = re.compile(r"encoder\.layer\.(?P<layer>0|[1-9]\d{0,5})\.(?P<module>.+)", re.ASCII)
_KINDS = {"gamma": "weight", "beta": "bias"}
_CONTACTS = ("contact_head.regression.weight", "contact_head.regression.bias")
_ROTARY = "rotary_embeddings.inv_freq"
_IGNORED = re.compile(r"(esm\.)?((pooler|classifier|score)\..+|embeddings\.position_ids)")
_FREQUENCIES = re.compile(
    rf"(encoder\.layer\.(?P<layer>\*|0|[1-9]\d{{0,5}})\.attention\.self\.)?{re.escape(_ROTARY)}",
    re.ASCII,
)
_AGAIN = "Save the model again with transformers' save_pretrained, or download it again."

_OTHER_MODELS = {
    "t5": "ProtT5 or Ankh",
    "bert": "ProtBERT",
    "albert": "ProtAlbert",
    "xlnet": "ProtXLNet",
    "electra": "ProtElectra",
    "esm3": "ESM3",
    "esm_msa": "an MSA Transformer, which needs alignments",
    "esmfold": "ESMFold",
}
_OTHER_VOCABULARIES = {446: "SaProt, whose tokens include structure", 4105: "a model of DNA"}


def architecture_of(config: Mapping[str, Any], source: str = "config.json") -> Architecture:
    """Return the architecture that a ``config.json`` describes.

    A missing entry is read as transformers reads it.

    Parameters
    ----------
    config : mapping of str to object
        Content of the file.
    source : str, default="config.json"
        Its path, for messages.

    Raises
    ------
    ValueError
        If the model is of another kind, or if an entry is invalid.
    """
    if config.get("model_type") == "esmc":
        return esmc_architecture(config)
    _check_supported(config, source)
    rotary = _positions(config, source) == "rotary"
    layers = _integer(config, "num_hidden_layers", 12, source)
    width = _integer(config, "hidden_size", 768, source)
    heads = _integer(config, "num_attention_heads", 12, source)
    if width % heads or (rotary and width // heads % 2):
        raise ValueError(
            f"{source}: num_attention_heads must divide hidden_size into heads of "
            f"{'an even' if rotary else 'equal'} width; got {heads} and {width}. {_AGAIN}"
        )
    max_length = None
    if not rotary:
        rows = _integer(config, "max_position_embeddings", 1026, source)
        if rows <= UNUSED_POSITIONS:
            raise ValueError(
                f"{source}: max_position_embeddings must be {UNUSED_POSITIONS + 1} or more; got {rows}. "
                f"{_AGAIN}"
            )
        max_length = rows - UNUSED_POSITIONS
    return Architecture(
        "esm2" if rotary else "esm1b",
        layers,
        width,
        heads,
        token_dropout=bool(config.get("token_dropout")),
        max_length=max_length,
    )


def _check_supported(config: Mapping[str, Any], source: str) -> None:
    """Raise ValueError if the forward pass would differ from that of a published model."""
    kind = config.get("model_type")
    if kind != "esm":
        other = f" ({_OTHER_MODELS[kind]})" if isinstance(kind, str) and kind in _OTHER_MODELS else ""
        raise ValueError(
            f"{source}: model_type must be 'esm' or 'esmc'; got {reprlib.repr(kind)}{other}. Pass a "
            "model of ESM-2, ESM-1b, ESM-1v or ESM C."
        )
    if config.get("is_folding_model"):
        raise ValueError(
            f"{source}: is_folding_model must be false; got ESMFold, which predicts structures. "
            "Pass a sequence model, such as 'facebook/esm2_t6_8M_UR50D'."
        )
    vocabulary = config.get("vocab_size")
    if vocabulary != _VOCABULARY:
        other = _OTHER_VOCABULARIES.get(vocabulary, "") if isinstance(vocabulary, int) else ""
        raise ValueError(
            f"{source}: vocab_size must be {_VOCABULARY}, that of ESM-2, ESM-1b and ESM-1v; got "
            f"{reprlib.repr(vocabulary)}{f' ({other})' if other else ''}. Pass one of these models."
        )
    positions = _positions(config, source)
    required: list[tuple[str, Any, tuple[Any, ...]]] = [
        ("layer_norm_eps", 1e-12, (_EPSILON,)),
        ("is_decoder", False, (False, None)),
        ("quantization_config", None, (None,)),
    ]
    if config.get("token_dropout"):
        required.append(("mask_token_id", None, (_MASK,)))
    if positions == "absolute":
        required.append(("pad_token_id", None, (_PADDING,)))
    else:
        required.append(("emb_layer_norm_before", False, (False, None)))
    for name, default, allowed in required:
        value = config.get(name, default)
        if value not in allowed:
            raise ValueError(
                f"{source}: {name} must be {allowed[0]!r}, as in the published models; got "
                f"{reprlib.repr(value)}. Other models cannot be read."
            )


def _positions(config: Mapping[str, Any], source: str) -> str:
    kind = config.get("position_embedding_type", "absolute")
    if kind not in ("rotary", "absolute"):
        raise ValueError(
            f"{source}: position_embedding_type must be 'rotary' or 'absolute'; got "
            f"{reprlib.repr(kind)}. Other models cannot be read."
        )
    return str(kind)


def _integer(config: Mapping[str, Any], name: str, default: int, source: str) -> int:
    value = config.get(name, default)
    if type(value) is not int or value < 1:
        raise ValueError(
            f"{source}: {name} must be a positive integer; got {reprlib.repr(value)}. {_AGAIN}"
        )
    return value


def hugging_face_checkpoint(
    path: Path, tensors: Mapping[str, Tensor], config: Mapping[str, Any], source: str = "config.json"
) -> Checkpoint:
    """Return the checkpoint of a model that transformers saved, with all its tensors checked.

    Parameters
    ----------
    path : Path
        File or folder, for messages.
    tensors : mapping of str to Tensor
        Content of the weights, by transformers' names.
    config : mapping of str to object
        Content of ``config.json``.
    source : str, default="config.json"
        The path of ``config.json``, for messages.

    Raises
    ------
    ValueError
        If the model is of another kind, or if a tensor is missing, unexpected or of a wrong shape.
    """
    architecture = architecture_of(config, source)
    if architecture.layers > len(tensors):
        raise ValueError(
            f"{path} must have the {architecture.layers} blocks of its config.json; got "
            f"{len(tensors)} tensors. {_AGAIN}"
        )
    prefix = "esm." if any(name.startswith("esm.") for name in tensors) else ""
    names = _Names(prefix, architecture, bool(config.get("emb_layer_norm_before")))
    surplus = names.read(tensors)
    weights = {name: tensors[found] for name, found in names.found.items()}
    shapes = names.shapes(_integer(config, "intermediate_size", 3072, source))
    tied = config.get("tie_word_embeddings", True) is not False
    missing = [
        name
        for name in shapes
        if name not in weights
        and not (tied and name == "lm_head.weight")
        and not name.endswith("inv_freq")
    ]
    _check_complete(path, [names.shown(name) for name in missing], surplus)
    if architecture.family == "esm2":
        weights.update(names.frequencies(path, tensors, config))
    for name, shape in shapes.items():
        if name in names.found:
            check_tensor(path, names.found[name], tensors, shape, _AGAIN)
    check_overlap(path, list(weights.values()))
    return Checkpoint(path, architecture, weights)


def canonical_name(name: str) -> str | None:
    """Return fair-esm's name of a tensor, given transformers' name without ``esm.``; None if unknown."""
    module, _, kind = name.rpartition(".")
    if kind in _KINDS and module.endswith("LayerNorm"):
        kind = _KINDS[kind]
    if kind not in ("weight", "bias"):
        return None
    in_block = _BLOCK.fullmatch(module)
    if in_block:
        known = _IN_BLOCK.get(in_block["module"])
        return known and f"layers.{in_block['layer']}.{known}.{kind}"
    # the head's bias stands beside the decoder, whose weight can be that of the embeddings
    if module not in _OUTER or (module, kind) in (("lm_head", "weight"), ("lm_head.decoder", "bias")):
        return None
    return f"{_OUTER[module]}.{kind}"


def is_ignored(name: str) -> bool:
    """Return whether a tensor does not belong to the language model."""
    return _IGNORED.fullmatch(name) is not None


class _Names:
    """The tensors of a file by fair-esm's names, and back."""

    def __init__(self, prefix: str, architecture: Architecture, norm_before: bool) -> None:
        self._prefix, self._architecture = prefix, architecture
        self._rotary = architecture.family == "esm2"
        self._norm_before = norm_before and not self._rotary
        self.found: dict[str, str] = {}  # fair-esm's name to the file's
        self._frequencies: dict[str, str] = {}  # number of the block or "*" to the file's name

    def read(self, names: Mapping[str, Any]) -> list[str]:
        """Sort out the names of a file, and return those that do not belong to the model."""
        expected = {*self.shapes(feed_forward=1), *_CONTACTS}
        surplus = []
        for name in names:
            if is_ignored(name):
                continue
            outside = name.startswith("lm_head.")
            inner = name if outside else name.removeprefix(self._prefix)
            if (not outside and not name.startswith(self._prefix)) or not self._take(
                inner, name, expected
            ):
                surplus.append(name)
        return surplus

    def _take(self, inner: str, name: str, expected: set[str]) -> bool:
        frequencies = _FREQUENCIES.fullmatch(inner) if self._rotary else None
        if frequencies:
            block = frequencies["layer"] or "*"
            known = block == "*" or int(block) < self._architecture.layers
            return known and self._frequencies.setdefault(block, name) == name
        # left over in some files of ESM-2; transformers ignores it too
        if self._rotary and inner == "embeddings.position_embeddings.weight":
            return True
        canonical = canonical_name(inner)
        if canonical is None or not (canonical in expected or canonical.startswith("lm_head.")):
            return False
        return self.found.setdefault(canonical, name) == name

    def shapes(self, feed_forward: int) -> dict[str, tuple[int | None, ...]]:
        """Return the expected tensors and their shapes, by fair-esm's names."""
        architecture = self._architecture
        shapes = dict(encoder_shapes(architecture, feed_forward, norm_before=self._norm_before))
        if any(name.startswith("lm_head.") for name in self.found):
            shapes.update(head_shapes(architecture))
        if any(name in self.found for name in _CONTACTS):
            maps = architecture.layers * architecture.heads
            shapes.update(zip(_CONTACTS, ((1, maps), (1,)), strict=True))
        return shapes

    def shown(self, canonical: str) -> str:
        """Return the file's name of a tensor that it does not have."""
        module, _, kind = canonical.rpartition(".")
        if canonical == "lm_head.bias" or module.startswith(("lm_head.", "contact_head.")):
            return f"{self._prefix if module.startswith('contact') else ''}{canonical}"
        if module == "lm_head":
            return "lm_head.decoder.weight"
        if module.startswith("layers."):
            _, layer, inner = module.split(".", 2)
            (original,) = (theirs for theirs, ours in _IN_BLOCK.items() if ours == inner)
            if original.endswith("LayerNorm") and any(
                name.endswith(".gamma") for name in self.found.values()
            ):
                kind = {"weight": "gamma", "bias": "beta"}[kind]
            return f"{self._prefix}encoder.layer.{layer}.{original}.{kind}"
        (original,) = (theirs for theirs, ours in _OUTER.items() if ours == module)
        return f"{self._prefix}{original}.{kind}"

    def frequencies(
        self, path: Path, tensors: Mapping[str, Tensor], config: Mapping[str, Any]
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield the rotary frequencies of every block, which must be equal."""
        import torch

        layers = self._architecture.layers
        half = self._architecture.width // self._architecture.heads // 2
        names = list(self._frequencies.values())
        if names and "*" not in self._frequencies:
            blocks = [f"encoder.layer.{layer}.attention.self." for layer in range(layers)]
            missing = [
                f"{self._prefix}{block}{_ROTARY}"
                for layer, block in enumerate(blocks)
                if str(layer) not in self._frequencies
            ]
            _check_complete(path, missing, [])
        for name in names:
            check_tensor(path, name, tensors, (half,), _AGAIN)
            if not torch.equal(tensors[name], tensors[names[0]]):
                raise ValueError(
                    f"{path} must have the same rotary frequencies in every block; got others in {name} "
                    f"than in {names[0]}. {_AGAIN}"
                )
        table = tensors[names[0]] if names else _published_frequencies(half, config)  # (half,)
        for layer in range(layers):
            yield f"layers.{layer}.self_attn.rot_emb.inv_freq", table


def _published_frequencies(half: int, config: Mapping[str, Any]) -> Tensor:
    """Return the frequencies ``(half,)`` rounded to float16, as in the published files."""
    import torch

    base = config.get("rope_theta", 10000.0)
    if isinstance(base, bool) or not isinstance(base, (int, float)) or not base > 0:
        raise ValueError(f"config.json: rope_theta must be a positive number; got {reprlib.repr(base)}.")
    steps = torch.arange(half, dtype=torch.float32, device="cpu") / half  # (half,)
    return (1.0 / base**steps).half().float()


def _check_complete(path: Path, missing: list[str], surplus: list[str]) -> None:
    """Raise ValueError if tensors are missing or unexpected, with their names."""
    problems = [
        f"{len(names):,} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for names, what in ((missing, "missing"), (surplus, "unexpected"))
        if names
    ]
    if problems:
        raise ValueError(
            f"{path} must hold exactly the tensors of the model that its config.json describes: "
            f"{' and '.join(problems)}. {_AGAIN}"
        )
