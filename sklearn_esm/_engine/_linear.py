"""A linear layer in each arithmetic: float32, half precision, and 8-bit integers on processors.

The blocks of `_model` use them alike: ``prepare`` an input once, then hand it to every layer that
reads it.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

# of an activation: seven bits, for the sum of two products of u8 and s8 has to fit into 16 bits on
# processors without VNNI, which saturate there
_STEPS = 127
# of the largest number in a row: finer steps than this would be lost in float32's own rounding
_FINEST = 2.0**-20


class Linear(Protocol):
    """``x W^T + b`` for a weight of shape ``(outputs, inputs)``."""

    outputs: int

    def __init__(self, weight: Tensor, bias: Tensor) -> None: ...

    def prepare(self, x: Tensor) -> Any:
        """The input as layers of this kind read it, ``(tokens, inputs)``."""

    def into(self, x: Any, out: Tensor) -> None:
        """Write the product for a prepared input to ``out`` ``(tokens, outputs)``."""

    def add_to(self, residual: Tensor, x: Any) -> None:
        """Add the product for a prepared input to float32 ``residual`` ``(tokens, outputs)``."""


class FullLinear:
    """In float32, from the tensors as they lie in the mapped file."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.outputs = len(weight)
        # transposed as a view: the matrix product reads either order
        self.weight = weight.T  # (inputs, outputs)
        self.bias = bias  # (outputs,)

    def prepare(self, x: Tensor) -> Tensor:
        return x  # (tokens, inputs)

    def into(self, x: Tensor, out: Tensor) -> None:
        torch.addmm(self.bias, x, self.weight, out=out)  # (tokens, outputs)

    def add_to(self, residual: Tensor, x: Tensor) -> None:
        residual.addmm_(x, self.weight).add_(self.bias)  # (tokens, outputs)


class HalfLinear:
    """In bfloat16 or float16, whichever the weight is in; sums of many blocks stay float32."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.outputs = len(weight)
        self.weight, self.bias = weight, bias  # (outputs, inputs) and (outputs,)

    def prepare(self, x: Tensor) -> Tensor:
        return x.to(self.weight.dtype)  # (tokens, inputs)

    def into(self, x: Tensor, out: Tensor) -> None:
        torch.addmm(self.bias, x, self.weight.T, out=out)  # (tokens, outputs)

    def add_to(self, residual: Tensor, x: Tensor) -> None:
        residual.add_(F.linear(x, self.weight, self.bias))  # (tokens, outputs)


class Quantised(NamedTuple):
    """Rows of seven-bit integers, each with a scale of its own: ``steps * scale + low``."""

    steps: Tensor  # (tokens, inputs) uint8, 0 to 127
    scale: Tensor  # (tokens, 1) float32
    low: Tensor  # (tokens, 1) float32, the least number of the row


class Int8Linear:
    """In integers: weights scaled by output once, activations by token as they come.

    A row is quantised by itself and a sum of integers is exact, so that the product does not depend
    on the other rows, to the bit. Between processors it differs where the last bit of an input tips
    a rounding, and that adds up over the blocks to about the error of the approximation.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.outputs = len(weight)
        largest = torch.maximum(weight.amax(1), -weight.amin(1))  # (outputs,)
        scale = largest.clamp_(min=1e-30) / 127  # (outputs,)
        integers = (weight / scale[:, None]).round_()  # (outputs, inputs), still float32
        self.scale, self.bias = scale, bias  # (outputs,) each
        self.sums = integers.sum(1) * scale  # (outputs,), what the least number of a row is times
        self.packed = pack(integers.to(torch.int8))

    def prepare(self, x: Tensor) -> Quantised:
        return quantise(x)

    def into(self, x: Quantised, out: Tensor) -> None:
        product = multiply(x.steps, self.packed, self.scale)  # (tokens, outputs)
        torch.addcmul(self.bias, product, x.scale, out=out).addcmul_(self.sums, x.low)

    def add_to(self, residual: Tensor, x: Quantised) -> None:
        product = multiply(x.steps, self.packed, self.scale)  # (tokens, outputs)
        residual.addcmul_(product, x.scale).addcmul_(self.sums, x.low).add_(self.bias)


def quantise(x: Tensor) -> Quantised:
    """Round each row to 128 steps between its least and its greatest number."""
    # torch.aminmax would take ten times as long
    low, high = x.amin(1, keepdim=True), x.amax(1, keepdim=True)  # (tokens, 1) each
    largest = torch.maximum(high, -low)  # (tokens, 1)
    # a row of equal numbers has no span, and one of zeros nothing at all
    scale = torch.maximum((high - low) / _STEPS, largest * _FINEST).clamp_(min=1e-30)  # (tokens, 1)
    # half a step up, for the conversion truncates; to int8, for that is faster than to uint8
    steps = torch.sub(x, low - scale / 2).mul_(1 / scale)  # (tokens, inputs)
    return Quantised(steps.to(torch.int8).view(torch.uint8), scale, low)


def pack(integers: Tensor) -> Tensor:
    """An int8 weight ``(outputs, inputs)`` in the layout that `multiply` takes."""
    packed: Tensor = torch.ops.onednn.qlinear_prepack(integers, None)
    return packed


def multiply(steps: Tensor, packed: Tensor, scale: Tensor) -> Tensor:
    """``steps W^T``, summed in integers, times the scale of each output: ``(tokens, outputs)`` float32.

    With `pack` the one place that calls oneDNN's product, which torch keeps for its compiler.
    """
    zeros = scale.new_zeros(len(scale), dtype=torch.int64)  # (outputs,)
    product: Tensor = torch.ops.onednn.qlinear_pointwise(
        steps, 1.0, 0, packed, scale, zeros, None, 1.0, 0, torch.float32, "none", [], ""
    )
    return product


def check_product() -> None:
    """Raise ValueError where 8-bit products are missing, or are not exact on this processor."""
    random: dict[str, Any] = {
        "generator": torch.Generator("cpu").manual_seed(0),
        "dtype": torch.int64,
        "device": "cpu",
    }
    steps = torch.randint(0, _STEPS + 1, (8, 256), **random)  # (tokens, inputs)
    weight = torch.randint(-127, 128, (64, 256), **random)  # (outputs, inputs)
    ones = torch.ones(len(weight), dtype=torch.float32, device="cpu")  # (outputs,)
    # the greatest sums there can be, of either sign: where 16 bits are too few, it shows here
    steps[0], weight[0], weight[1] = _STEPS, 127, -127
    try:
        product = multiply(steps.to(torch.uint8), pack(weight.to(torch.int8)), ones)
    except (AttributeError, RuntimeError) as error:
        raise ValueError(
            f"dtype='int8': torch {torch.__version__} has no 8-bit products for this processor. "
            "Pass dtype='float32'."
        ) from error
    if not torch.equal(product, (steps @ weight.T).float()):  # (tokens, outputs)
        raise ValueError(
            f"dtype='int8': the 8-bit products of torch {torch.__version__} are not exact on this "
            "processor. Pass dtype='float32'."
        )


# what scratch and attention compute in, and the linear layers, by the name of the arithmetic
ARITHMETICS: dict[str, tuple[torch.dtype, type[Linear]]] = {
    "float32": (torch.float32, FullLinear),
    "bfloat16": (torch.bfloat16, HalfLinear),
    "float16": (torch.float16, HalfLinear),
    "int8": (torch.float32, Int8Linear),
}
