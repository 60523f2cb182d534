"""Run planned units through a model and hand out hidden states, layer by layer, as numpy arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sklearn_esm._engine._model import PackedModel
from sklearn_esm._engine._plan import Unit
from sklearn_esm._engine._tokens import tokenise


@dataclass(frozen=True)
class Block:
    """Hidden states of equally long sequences at one layer.

    ``hidden`` is ``(sequences, tokens, width)`` float32, BOS and EOS included, and is valid only
    until the next block is asked for.
    """

    rows: tuple[int, ...]
    layer: int
    hidden: np.ndarray


def run_unit(
    model: PackedModel, unit: Unit, layers: Sequence[int], batch_tokens: int
) -> Iterator[Block]:
    """Hidden states of a unit's sequences at every layer named."""
    if unit.windows:
        yield from _run_windows(model, unit, layers, batch_tokens)
    else:
        yield from _run_batch(model, unit.rows, unit.sequences, layers)


def _run_batch(
    model: PackedModel, rows: Sequence[int], sequences: Sequence[str], layers: Sequence[int]
) -> Iterator[Block]:
    tokens = tokenise(sequences, model.architecture)
    # as a decorator, inference mode is left at each yield: a user's pooling function is not in it
    for layer, tensor in model.hidden_states(tokens, set(layers)):
        hidden = tensor.float().cpu().numpy()  # (tokens, width)
        first_row = 0
        for first, count, length in tokens.groups:
            run = hidden[first : first + count * length].reshape(count, length, -1)
            yield Block(tuple(rows[first_row : first_row + count]), layer, run)
            first_row += count


def _run_windows(
    model: PackedModel, unit: Unit, layers: Sequence[int], batch_tokens: int
) -> Iterator[Block]:
    """One overlong sequence: each residue from its window, BOS from the first, EOS from the last."""
    (sequence,) = unit.sequences
    ends = 2 if model.architecture.has_eos else 1
    shape = (len(sequence) + ends, model.architecture.width)
    whole = {layer: np.empty(shape, dtype=np.float32) for layer in layers}
    together = max(1, batch_tokens // (unit.window_length + ends))
    numbers = range(len(unit.windows))
    for begin in range(0, len(unit.windows), together):
        chosen = numbers[begin : begin + together]
        starts = [unit.windows[number][0] for number in chosen]
        pieces = [sequence[start : start + unit.window_length] for start in starts]
        for block in _run_batch(model, chosen, pieces, layers):
            for number, hidden in zip(block.rows, block.hidden, strict=True):
                start, kept, end = unit.windows[number]
                # token t + 1 is residue t; the outermost windows give their BOS or EOS as well
                low = 0 if number == 0 else kept + 1
                high = shape[0] if number == len(unit.windows) - 1 else end + 1
                whole[block.layer][low:high] = hidden[low - start : high - start]
    for layer in sorted(whole):
        yield Block(unit.rows, layer, whole[layer][None])
