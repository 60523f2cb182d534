"""Check that a checkpoint has the tensors of its family."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sklearn_esm._checkpoints._architecture import Architecture

Shape = tuple[int | None, ...]  # None is any size

# sizes of fair-esm's two alphabets
_VOCABULARY = {"ESM-1b": 33, "ESM-1": 35}
# rows of ESM-1b's and ESM-1v's position table without a residue: 0 and 1 are unused, and BOS and EOS
UNUSED_POSITIONS = 4
_NORM_BEFORE = ("emb_layer_norm_before.weight", "emb_layer_norm_before.bias")
_AGAIN = "Download or copy the file again."


def check_tensors(
    path: Path,
    architecture: Architecture,
    weights: Mapping[str, Any],
    *,
    feed_forward: int,
    output_bias: bool,
) -> None:
    """Check every tensor of a checkpoint that the engine reads.

    Parameters
    ----------
    path : Path
        The file, for messages.
    architecture : Architecture
        Source of the expected shapes.
    weights : mapping of str to object
        Content of the file, by fair-esm's names. Unused tensors are not checked.
    feed_forward : int
        Width of the feed-forward networks.
    output_bias : bool
        Whether an ESM-1 head, if present, must have a bias.

    Raises
    ------
    ValueError
        If a tensor is missing or has a wrong type, layout or shape. The head may be missing.
    """
    norm_before = any(name in weights for name in _NORM_BEFORE)  # ESM-1v has none
    shapes = dict(encoder_shapes(architecture, feed_forward, norm_before=norm_before))
    for name, shape in head_shapes(architecture):
        if name in weights or (name == "embed_out_bias" and output_bias and "embed_out" in weights):
            shapes[name] = shape
    missing = [name for name in shapes if name not in weights]
    if missing:
        more = "..." if len(missing) > 3 else ""
        raise ValueError(
            f"{path} must be a complete checkpoint of an ESM sequence model: {len(missing)} of its "
            f"tensors are missing ({', '.join(missing[:3])}{more}). Download or copy the file again."
        )
    for name, shape in shapes.items():
        check_tensor(path, name, weights, shape)
    check_overlap(path, [weights[name] for name in shapes])


def check_tensor(
    path: Path, name: str, weights: Mapping[str, Any], shape: Shape, remedy: str = _AGAIN
) -> tuple[int, ...]:
    """Return the shape of a tensor, which must be dense, floating-point and of the expected shape."""
    import torch

    tensor = weights[name]
    expected = _text(shape)
    kind = f"{path}: {name} must be a dense floating-point CPU tensor of shape {expected}; got "
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        raise ValueError(f"{kind}{type(tensor).__name__}. {remedy}")
    plain = tensor.layout == torch.strided and tensor.device.type == "cpu"
    if not plain or not tensor.is_floating_point():
        raise ValueError(
            f"{kind}shape {_text(tensor.shape)}, {_short(tensor.dtype)}, {_short(tensor.layout)}, on "
            f"{tensor.device}. {remedy}"
        )
    fits = len(tensor.shape) == len(shape) and all(
        wanted in (None, size) for size, wanted in zip(tensor.shape, shape, strict=True)
    )
    if not fits:
        raise ValueError(
            f"{path}: {name} must have shape {expected}; got {_text(tensor.shape)}. {remedy}"
        )
    reach = 1 + sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True))
    if tensor.numel() > reach:
        raise ValueError(
            f"{kind}shape {_text(tensor.shape)} with strides {_text(tensor.stride())}. {remedy}"
        )
    return tuple(tensor.shape)


def encoder_shapes(
    architecture: Architecture, feed_forward: int, *, norm_before: bool
) -> Iterator[tuple[str, Shape]]:
    """Yield name and shape of each tensor in the order of the forward pass."""
    width = architecture.width
    yield "embed_tokens.weight", (_VOCABULARY[architecture.alphabet], width)
    if architecture.max_length is not None:
        yield "embed_positions.weight", (architecture.max_length + UNUSED_POSITIONS, width)
        if norm_before:
            yield from ((name, (width,)) for name in _NORM_BEFORE)
    for layer in range(architecture.layers):
        for name, shape in _block(architecture, feed_forward):
            yield f"layers.{layer}.{name}", shape
    if architecture.has_eos:
        yield from _pair("emb_layer_norm_after", width)


def _block(architecture: Architecture, feed_forward: int) -> Iterator[tuple[str, Shape]]:
    width = architecture.width
    yield from _pair("self_attn_layer_norm", width)
    for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
        yield from _pair(f"self_attn.{name}", width, width)
    yield from _pair("final_layer_norm", width)
    yield from _pair("fc1", feed_forward, width)
    yield from _pair("fc2", width, feed_forward)
    if architecture.family == "esm2":
        yield "self_attn.rot_emb.inv_freq", (width // architecture.heads // 2,)
    elif architecture.family == "esm1":
        yield "self_attn.bias_k", (1, 1, width)
        yield "self_attn.bias_v", (1, 1, width)


def head_shapes(architecture: Architecture) -> Iterator[tuple[str, Shape]]:
    """Yield name and shape of each tensor that a language-model head can have."""
    width, vocabulary = architecture.width, _VOCABULARY[architecture.alphabet]
    if architecture.has_eos:
        yield from _pair("lm_head.dense", width, width)
        yield from _pair("lm_head.layer_norm", width)
        yield "lm_head.weight", (vocabulary, width)
        yield "lm_head.bias", (vocabulary,)
    else:
        yield "embed_out", (vocabulary, width)
        yield "embed_out_bias", (vocabulary,)


def _pair(name: str, outputs: int, *inputs: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (outputs, *inputs)
    yield f"{name}.bias", (outputs,)


def check_overlap(path: Path, tensors: list[Any]) -> None:
    """Check that the tensors do not overlap. One tensor may have several names."""
    views = {(t.data_ptr(), t.shape, t.stride(), t.dtype): t.nbytes for t in tensors}
    storages = [t.untyped_storage() for t in tensors]
    held = {storage.data_ptr(): storage.nbytes() for storage in storages}
    if sum(views.values()) > sum(held.values()):
        raise ValueError(
            f"{path}: its tensors must not overlap; got {sum(views.values()):,} bytes of tensors in "
            f"{sum(held.values()):,} bytes of storage. {_AGAIN}"
        )


def _text(shape: Any) -> str:
    sizes = ["any" if size is None else str(size) for size in shape]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


def _short(name: Any) -> str:
    return str(name).removeprefix("torch.")
