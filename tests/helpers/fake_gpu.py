"""A GPU that does not exist: the device "meta", whose tensors have a dtype and a shape, and no data.

A forward pass on it checks devices, dtypes and shapes at any size and on any machine. Reading a number
from a tensor, for which the host would wait for a GPU, is an error. What is counted is what torch's
operators return; a kernel's own workspace is not seen.
"""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sklearn_esm._checkpoints._architecture import Architecture, Checkpoint
from sklearn_esm._checkpoints._catalog import PublishedModel
from sklearn_esm._checkpoints._esmc_layouts import shape_of
from sklearn_esm._checkpoints._tensors import encoder_shapes, head_shapes
from sklearn_esm._engine import PackedModel, _model
from sklearn_esm._engine._variable_length_attention import Kernel, flash, memory_efficient

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
GATED_BLOCK = [
    *(f"self_attn.{name}_proj.weight" for name in ("q", "k", "v", "out")),
    *(f"self_attn.{name}_norm.weight" for name in "qk"),
    *(f"{name}_layer_norm.{kind}" for name in ("self_attn", "final") for kind in ("weight", "bias")),
    *(f"mlp.{name}_proj.weight" for name in ("gate", "up", "down")),
]
ESMC_HEAD = [
    f"lm_head.{name}.{kind}"
    for name in ("dense", "layer_norm", "decoder")
    for kind in ("weight", "bias")
]
# they copy from one device to another, or accept indices from the host
ACROSS_DEVICES = {
    torch.ops.aten._to_copy.default,
    torch.ops.aten.copy_.default,
    torch.ops.aten.index.Tensor,
}


class Watch(TorchDispatchMode):
    """Count the bytes of the GPU's tensors and those sent to it; refuse operators on two devices."""

    def __init__(self) -> None:
        super().__init__()
        self.held = self.peak = self.sent = 0
        self._storages: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        given = [tensor for tensor in tree_leaves((args, kwargs)) if isinstance(tensor, Tensor)]
        # a single number may be on the host
        devices = {tensor.device.type for tensor in given if tensor.ndim}
        if len(devices) > 1 and func not in ACROSS_DEVICES:
            raise AssertionError(f"{func} has tensors on {devices}")
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and tensor.is_meta:
                self._count(tensor)
                if given and not given[0].is_meta:
                    self.sent += tensor.nbytes
        return result

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._storages:
            return
        self._storages.add(key)
        self.held += size
        self.peak = max(self.peak, self.held)
        weakref.finalize(storage, self._release, key, size)

    def _release(self, key: int, size: int) -> None:
        self._storages.discard(key)
        self.held -= size


@contextmanager
def fake_gpu(kernel: Kernel | None = None) -> Iterator[Watch]:
    """Attend on "meta" as on an NVIDIA GPU, and watch its tensors.

    ``kernel`` replaces the one that such a GPU runs with the dtype.
    """

    def find(device: torch.device, dtype: torch.dtype, head_dim: int, sequences: int) -> Kernel:
        return kernel or (memory_efficient if dtype == torch.float32 else flash)

    with Watch() as watch, patch.object(_model, "find_kernel", find):
        yield watch


def fake_model(published: PublishedModel, dtype: str) -> PackedModel:
    """Return a published model without its numbers, on "meta"."""
    family, width = published.family, published.width
    named = {"esm1v": "esm1b"}.get(family, family)
    dropout = family not in ("esm1", "esmc")
    architecture = Architecture(
        named, published.layers, width, published.heads, dropout, published.max_length
    )
    # no memory, and still on the host, as the tensors of a file are
    number = torch.zeros(())
    tensors = {
        name: number.expand(shape)
        for name, shape in shapes_of(architecture, norm_before=family == "esm1b").items()
    }
    return PackedModel(Checkpoint(Path("fake.pt"), architecture, tensors), "meta", dtype)


def shapes_of(architecture: Architecture, *, norm_before: bool) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of a model by its name."""
    width = architecture.width
    if architecture.family != "esmc":
        encoder = encoder_shapes(architecture, 4 * width, norm_before=norm_before)
        return {**dict(encoder), **dict(head_shapes(architecture))}
    names = [f"layers.{layer}.{name}" for layer in range(architecture.layers) for name in GATED_BLOCK]
    names += ["embed_tokens.weight", "emb_layer_norm_after.weight", *ESMC_HEAD]
    feed_forward = -(-8 * width // 3 // 256) * 256  # the next multiple of 256
    return {name: shape_of(name, width, feed_forward) for name in names}
