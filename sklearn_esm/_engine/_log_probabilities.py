"""Log-probabilities of the residues of a sequence, seen whole or with positions masked in turn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sklearn_esm._engine._isolation import isolated
from sklearn_esm._engine._model import PackedModel
from sklearn_esm._engine._plan import Unit
from sklearn_esm._engine._tokens import residue_tokens, tokenise
from sklearn_esm._sequences import MASK, RESIDUES, masked_in_turn, residue_codes, scored_positions


@dataclass(frozen=True)
class _Context:
    """What the model reads to judge some positions of a text."""

    text: int  # its number in the unit
    sequence: str
    positions: tuple[int, ...]  # in this sequence


def log_probabilities(
    model: PackedModel, unit: Unit, batch_tokens: int, every_residue: bool
) -> Iterator[np.ndarray]:
    """For each text of a unit natural log-probabilities at its positions.

    Positions are those in lower case, each of which is masked in a copy of its own; in a text without
    any, all that are no ``MASK``, and nothing else is masked. In a text longer than the window each
    position is judged from the window in which it lies most central. Probabilities are over the
    whole vocabulary.

    Yields
    ------
    ndarray of shape (positions,) or (positions, 25), float32
        Of the residue that stands there, or of each of ``RESIDUES`` in their order.
    """
    chosen = torch.from_numpy(residue_tokens(RESIDUES, model.architecture))  # (25,)
    wanted = [masked_in_turn(text) or scored_positions(text) for text in unit.sequences]
    tables = [np.empty((len(positions), len(RESIDUES)), np.float32) for positions in wanted]
    filled = [0] * len(tables)
    for batch in _batches(_contexts(unit, wanted), batch_tokens):
        rows = _run(model, batch)[:, chosen].cpu().numpy()  # (positions of all contexts, 25)
        for context in batch:
            first, count = filled[context.text], len(context.positions)
            tables[context.text][first : first + count] = rows[:count]
            filled[context.text] += count
            rows = rows[count:]
    for text, positions, table in zip(unit.sequences, wanted, tables, strict=True):
        codes = residue_codes(text.upper())[positions]  # (positions,)
        yield table if every_residue else table[np.arange(len(table)), codes]


def _contexts(unit: Unit, wanted: Sequence[Sequence[int]]) -> Iterator[_Context]:
    """Every pass over a text, in the order of its positions."""
    for number, (text, positions) in enumerate(zip(unit.sequences, wanted, strict=True)):
        residues, masked = text.upper(), not text.isupper()
        length = unit.window_length or len(text)
        for start, first, end in unit.windows or ((0, 0, len(text)),):
            seen = residues[start : start + length]
            inside = [position - start for position in positions if first <= position < end]
            if masked:
                for position in inside:
                    copy = seen[:position] + MASK + seen[position + 1 :]
                    yield _Context(number, copy, (position,))
            elif inside:
                yield _Context(number, seen, tuple(inside))


def _batches(contexts: Iterable[_Context], batch_tokens: int) -> Iterator[list[_Context]]:
    batch: list[_Context] = []
    tokens = 0
    for context in contexts:
        needed = len(context.sequence) + 2
        if batch and tokens + needed > batch_tokens:
            yield batch
            batch, tokens = [], 0
        batch.append(context)
        tokens += needed
    if batch:
        yield batch


@isolated
def _run(model: PackedModel, batch: list[_Context]) -> Tensor:
    """Log-probabilities at the positions of all contexts, ``(positions, vocabulary)`` float32."""
    tokens = tokenise([context.sequence for context in batch], model.architecture)
    starts = np.flatnonzero(tokens.positions.numpy() == 0)  # (contexts,)
    # the token after BOS is residue 0
    at = [start + 1 + p for start, c in zip(starts, batch, strict=True) for p in c.positions]
    last = model.architecture.layers
    ((_, hidden),) = model.hidden_states(tokens, {last})  # (tokens, width)
    rows = hidden[torch.tensor(at, dtype=torch.int64, device=hidden.device)]  # (positions, width)
    return model.head(rows)  # (positions, vocabulary)
