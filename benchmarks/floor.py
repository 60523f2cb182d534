"""The kernel floor: the matrix products and attention calls of a forward pass, and nothing else.

Usage: ``python benchmarks/floor.py [--shape 8M] [--proteins 150] [--repeats 3]``. No norms, no rotation,
no activation, no residual sums, no copies: for the very batches that the package plans, what torch's
kernels take for the products with the same shapes. Nothing that runs these kernels in these batches can
be quicker; a smaller share of it is what everything else costs.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue

import torch
import torch.nn.functional as F
from proteins import natural_proteins
from shapes import SHAPES, Shape
from torch import Tensor

from sklearn_esm._background import Stop
from sklearn_esm._engine._tokens import tokenise
from sklearn_esm._engine._variable_length_attention import find_kernel, starts_of
from sklearn_esm._execution._pieces import Batch, Item, plan_batches
from sklearn_esm._execution._request import BATCH_TOKENS
from sklearn_esm._execution._threads import batches_at_a_time, run_side_by_side

Run = tuple[int, int, int]  # first token, sequences, tokens each
Runs = list[Run]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="8M")
    parser.add_argument("--proteins", type=int, default=150)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    sequences, origin = natural_proteins(options.proteins)
    floor = Floor(SHAPES[options.shape], sequences)
    floor.warm_up()
    seconds = []
    for _ in range(options.repeats):
        started = time.perf_counter()
        floor.run()
        seconds.append(time.perf_counter() - started)
    print(
        f"{len(sequences)} proteins ({origin}), {options.shape} shape, {torch.get_num_threads()} "
        f"threads: {statistics.median(seconds):.2f} s, median of {options.repeats}"
    )


class Floor:
    """Random numbers in the shapes of a model and of the batches planned for sequences.

    Tensors get torch's default dtype, and are on its default device.
    """

    def __init__(self, shape: Shape, sequences: list[str]) -> None:
        device = torch.get_default_device()
        # each layer has weights of its own, so that caches are as cold as in a model
        self.layers = [Layer(shape) for _ in range(shape.layers)]
        self.at_a_time = batches_at_a_time(device.type, None)
        items = [Item(sequence) for sequence in sequences]
        self.batches = plan_batches(items, BATCH_TOKENS[device.type], None, self.at_a_time)
        self.runs = {
            batch: tokenise([item.sequence for item in batch.items], shape.architecture).groups
            for batch in self.batches
        }
        longest = max(map(tokens_of, self.runs.values()))
        # made before the clock starts: one set for each thread, and wide batches use one of them
        self.free: SimpleQueue[Buffers] = SimpleQueue()
        for _ in range(self.at_a_time):
            self.free.put(Buffers(longest, shape))

    def warm_up(self) -> None:
        self._run(self.batches[-1])

    def run(self) -> None:
        # side by side, as the package runs them
        threads = torch.get_num_threads()
        for _ in run_side_by_side(self._run, self.batches, self.at_a_time, threads, Stop()):
            pass

    @torch.inference_mode()
    def _run(self, batch: Batch) -> None:
        buffers, runs = self.free.get(), self.runs[batch]
        tokens = tokens_of(runs)
        attend = self.attention(buffers, runs)
        states = buffers.states[:tokens]  # (tokens, width)
        raised = buffers.raised[:, :tokens]  # (products, tokens, feed-forward width)
        q, k, v, out = buffers.projected[:, :tokens]  # (tokens, width) each
        for layer in self.layers:
            for result, weight in zip((q, k, v), layer.qkv, strict=True):
                multiply(states, weight, result)
            for call in attend:
                call()
            multiply(states, layer.out, out)
            for result, weight in zip(raised, layer.up, strict=True):
                multiply(states, weight, result)
            multiply(raised[0], layer.down, out)
        self.free.put(buffers)

    def attention(self, buffers: "Buffers", runs: Runs) -> list[Callable[[], Tensor]]:
        """The attention calls of a block: one for a batch on a GPU that has a kernel for it."""
        qkv = buffers.qkv[:, : tokens_of(runs)].unflatten(2, (buffers.heads, -1))
        count = sum(count for _, count, _ in runs)
        kernel = find_kernel(qkv.device, qkv.dtype, qkv.shape[-1], count)
        if kernel is None:
            by_run = [buffers.heads_of(run) for run in runs]
            return [partial(F.scaled_dot_product_attention, *heads) for heads in by_run]
        starts, longest = starts_of(runs).to(qkv.device), max(length for _, _, length in runs)
        return [partial(kernel, *qkv, starts, starts, longest, longest)]


class Buffers:
    """What the products of one batch read and write."""

    def __init__(self, tokens: int, shape: Shape) -> None:
        self.heads = shape.heads
        self.states = torch.randn(tokens, shape.width)
        self.qkv = torch.randn(3, tokens, shape.width)
        self.raised = torch.randn(shape.raised, tokens, shape.feed_forward)
        self.projected = torch.randn(4, tokens, shape.width)

    def heads_of(self, run: Run) -> Tensor:
        """Queries, keys and values of a run, ``(3, sequences, heads, length, head_dim)``."""
        first, count, length = run
        packed = self.qkv[:, first : first + count * length].reshape(3, count, self.heads, length, -1)
        assert all(part.is_contiguous() for part in packed)  # a view, and attention copies nothing
        return packed


class Layer:
    """Weights of the products of a transformer block: six, and in ESM C seven."""

    def __init__(self, shape: Shape) -> None:
        width = shape.width
        self.qkv = [random_weight(width, width) for _ in "qkv"]
        self.out = random_weight(width, width)
        self.up = [random_weight(width, shape.feed_forward) for _ in range(shape.raised)]
        self.down = random_weight(shape.feed_forward, width)


def random_weight(inputs: int, outputs: int) -> Tensor:
    """A weight ``(outputs, inputs)`` that keeps numbers at their size."""
    return torch.randn(outputs, inputs) / inputs**0.5


def tokens_of(runs: Runs) -> int:
    return sum(count * length for _, count, length in runs)


def multiply(x: Tensor, weight: Tensor, out: Tensor) -> None:
    torch.mm(x, weight.T, out=out)  # (tokens, outputs)


if __name__ == "__main__":
    main()
