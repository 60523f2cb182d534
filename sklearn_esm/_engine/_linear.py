"""Linear layers in float32, half precision, and 8-bit integers on CPUs.

``prepare`` an input once, then pass it to every layer that uses it.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

# steps of an activation. Seven bits, because CPUs without VNNI saturate sums of two u8 x s8 products
# at 16 bits
_STEPS = 127
# minimum step relative to the largest number in a row; float32 would round off finer steps
_FINEST = 2.0**-20


class Linear(Protocol):
    """``x W^T + b`` for a weight of shape ``(outputs, inputs)``; b may be missing."""

    outputs: int

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None: ...

    def prepare(self, x: Tensor) -> Any:
        """Return the input ``(tokens, inputs)`` in the form that these layers need."""

    def into(self, x: Any, out: Tensor) -> None:
        """Write the product for a prepared input to ``out`` ``(tokens, outputs)``."""

    def add_to(self, residual: Tensor, x: Any, scale: float = 1) -> None:
        """Add ``scale`` times the product to float32 ``residual`` ``(tokens, outputs)``."""


class FullLinear:
    """A float32 layer that uses the memory-mapped tensors without a copy."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.outputs = len(weight)
        # a view, because matrix products accept either order
        self.weight = weight.T  # (inputs, outputs)
        self.bias = bias  # (outputs,) or None

    def prepare(self, x: Tensor) -> Tensor:
        return x  # (tokens, inputs)

    def into(self, x: Tensor, out: Tensor) -> None:
        if self.bias is None:
            torch.mm(x, self.weight, out=out)  # (tokens, outputs)
        else:
            torch.addmm(self.bias, x, self.weight, out=out)  # (tokens, outputs)

    def add_to(self, residual: Tensor, x: Tensor, scale: float = 1) -> None:
        residual.addmm_(x, self.weight, alpha=scale)  # (tokens, outputs)
        if self.bias is not None:
            residual.add_(self.bias, alpha=scale)


class HalfLinear:
    """A layer in the weight's dtype, bfloat16 or float16. The residual stays float32."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.outputs = len(weight)
        self.weight, self.bias = weight, bias  # (outputs, inputs) and (outputs,) or None

    def prepare(self, x: Tensor) -> Tensor:
        return x.to(self.weight.dtype)  # (tokens, inputs)

    def into(self, x: Tensor, out: Tensor) -> None:
        if self.bias is None:
            torch.mm(x, self.weight.T, out=out)  # (tokens, outputs)
        else:
            torch.addmm(self.bias, x, self.weight.T, out=out)  # (tokens, outputs)

    def add_to(self, residual: Tensor, x: Tensor, scale: float = 1) -> None:
        residual.add_(F.linear(x, self.weight, self.bias), alpha=scale)  # (tokens, outputs)


class Quantised(NamedTuple):
    """Rows of seven-bit integers, each with its own scale: ``steps * scale + low``."""

    steps: Tensor  # (tokens, inputs) uint8, 0 to 127
    scale: Tensor  # (tokens, 1) float32
    low: Tensor  # (tokens, 1) float32, the minimum of the row


class Int8Linear:
    """An 8-bit integer layer: weights are quantised once per output, activations per token.

    Each row is quantised separately and integer sums are exact, so the product does not depend on the
    other rows. CPU models can give different results, because the last bit of an input can change a
    rounding. Over all blocks this adds up to about the error of the quantisation.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.outputs = len(weight)
        largest = torch.maximum(weight.amax(1), -weight.amin(1))  # (outputs,)
        scale = largest.clamp_(min=1e-30) / 127  # (outputs,)
        integers = (weight / scale[:, None]).round_()  # (outputs, inputs), still float32
        self.scale, self.bias = scale, bias  # (outputs,) each
        self.sums = integers.sum(1) * scale  # (outputs,), factor of a row's minimum
        self.packed = pack(integers.to(torch.int8))

    def prepare(self, x: Tensor) -> Quantised:
        return quantise(x)

    def into(self, x: Quantised, out: Tensor) -> None:
        product = multiply(x.steps, self.packed, self.scale)  # (tokens, outputs)
        if self.bias is None:
            torch.mul(product, x.scale, out=out).addcmul_(self.sums, x.low)
        else:
            torch.addcmul(self.bias, product, x.scale, out=out).addcmul_(self.sums, x.low)

    def add_to(self, residual: Tensor, x: Quantised, scale: float = 1) -> None:
        product = multiply(x.steps, self.packed, self.scale)  # (tokens, outputs)
        residual.addcmul_(product, x.scale, value=scale).addcmul_(self.sums, x.low, value=scale)
        if self.bias is not None:
            residual.add_(self.bias, alpha=scale)


def quantise(x: Tensor) -> Quantised:
    """Round each row to 128 steps between its minimum and maximum."""
    # torch.aminmax is ten times slower
    low, high = x.amin(1, keepdim=True), x.amax(1, keepdim=True)  # (tokens, 1) each
    largest = torch.maximum(high, -low)  # (tokens, 1)
    # avoid a scale of 0 for rows of equal numbers, and for rows of zeros
    scale = torch.maximum((high - low) / _STEPS, largest * _FINEST).clamp_(min=1e-30)  # (tokens, 1)
    # plus half a step, because the conversion truncates; int8, because it is faster than uint8
    steps = torch.sub(x, low - scale / 2).mul_(1 / scale)  # (tokens, inputs)
    return Quantised(steps.to(torch.int8).view(torch.uint8), scale, low)


def pack(integers: Tensor) -> Tensor:
    """Return an int8 weight ``(outputs, inputs)`` in the layout that `multiply` needs."""
    packed: Tensor = torch.ops.onednn.qlinear_prepack(integers, None)
    return packed


def multiply(steps: Tensor, packed: Tensor, scale: Tensor) -> Tensor:
    """Return ``steps W^T``, summed in integers, times the scale of each output.

    The result is ``(tokens, outputs)`` float32. Only this function and `pack` call oneDNN's private
    operators in torch.
    """
    zeros = scale.new_zeros(len(scale), dtype=torch.int64)  # (outputs,)
    product: Tensor = torch.ops.onednn.qlinear_pointwise(
        steps, 1.0, 0, packed, scale, zeros, None, 1.0, 0, torch.float32, "none", [], ""
    )
    return product


def check_product() -> None:
    """Raise ValueError if 8-bit products are missing or not exact on this CPU."""
    random: dict[str, Any] = {
        "generator": torch.Generator("cpu").manual_seed(0),
        "dtype": torch.int64,
        "device": "cpu",
    }
    steps = torch.randint(0, _STEPS + 1, (8, 256), **random)  # (tokens, inputs)
    weight = torch.randint(-127, 128, (64, 256), **random)  # (outputs, inputs)
    ones = torch.ones(len(weight), dtype=torch.float32, device="cpu")  # (outputs,)
    # the largest possible sums of either sign, which reveal 16-bit saturation
    steps[0], weight[0], weight[1] = _STEPS, 127, -127
    try:
        product = multiply(steps.to(torch.uint8), pack(weight.to(torch.int8)), ones)
    except (AttributeError, RuntimeError) as error:
        raise ValueError(
            "dtype must be 'float32', 'bfloat16' or 'float16' here; got 'int8'. "
            f"torch {torch.__version__} has no 8-bit products for this CPU. Pass dtype='float32'."
        ) from error
    if not torch.equal(product, (steps @ weight.T).float()):  # (tokens, outputs)
        raise ValueError(
            "dtype must be 'float32', 'bfloat16' or 'float16' here; got 'int8'. "
            f"The 8-bit products of torch {torch.__version__} are not exact on this CPU. "
            "Pass dtype='float32'."
        )


# dtype of scratch and attention, and class of the linear layers
ARITHMETICS: dict[str, tuple[torch.dtype, type[Linear]]] = {
    "float32": (torch.float32, FullLinear),
    "bfloat16": (torch.bfloat16, HalfLinear),
    "float16": (torch.float16, HalfLinear),
    "int8": (torch.float32, Int8Linear),
}
