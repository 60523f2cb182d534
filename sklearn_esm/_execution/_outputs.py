"""What is computed for each sequence: pooled states, log-probabilities or contacts.

A worker gets an output with its request. It turns what the engine returns for the pieces of a forward
pass into columns. A column is one array for each sequence, and has a name in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from sklearn_esm._checkpoints._contact_regression import ContactRegression
from sklearn_esm._contact_features import FEATURES, contact_features, upper_triangle
from sklearn_esm._execution._pieces import Item, Piece
from sklearn_esm._pooling import Pooling, pool, pool_by_function, pooled_width, residue_states
from sklearn_esm._sequences import MASK, RESIDUES, residue_codes, scored_length, shorten

if TYPE_CHECKING:
    from sklearn_esm._engine import PackedModel

_LOOKUP = 1000
CacheName: TypeAlias = "tuple[int, str]"  # layer, and what is computed from it
# what has been computed of sequences in several pieces, until their last piece has been run
Parts: TypeAlias = dict[Any, Any]


class Result(NamedTuple):
    """One column of some sequences."""

    rows: tuple[int, ...]
    column: int
    values: Sequence[np.ndarray]  # an array for each row


class Output(Protocol):
    """What is computed for each sequence, column by column; small, because it is sent to workers."""

    @property
    def names(self) -> tuple[CacheName | None, ...]:
        """The name of each column in a cache; None for a column that cannot be cached."""

    @property
    def lookup_size(self) -> int:
        """How many sequences are read from a cache at a time, which bounds memory."""

    @property
    def several_per_pass(self) -> bool:
        """Whether a forward pass may run several pieces at once."""

    def sizes(self, item: Item) -> Sequence[int]:
        """Return how many numbers each column has, to detect a damaged entry of a cache."""

    def run(self, model: PackedModel, pieces: list[Piece], parts: Parts) -> list[Result]:
        """Run one forward pass and return the columns of the sequences that it completes.

        Parameters
        ----------
        model : PackedModel
            The loaded model.
        pieces : list of Piece
            The pieces of an item come in their order, in this pass or in consecutive ones.
        parts : dict
            Empty at the first pass of a batch. A pass that ran out of memory is run again with the
            same ``parts``.

        Raises
        ------
        FloatingPointError
            If a number is not finite; the message begins with which.
        """

    def apply_functions(self, result: Result) -> Result:
        """Return a result with the user's pooling functions applied, called in the user's thread."""


@dataclass(frozen=True)
class PooledStates:
    """Hidden states at each layer, pooled in each way; without poolings, those of every residue."""

    layers: tuple[int, ...]
    poolings: tuple[Pooling, ...]
    widths: tuple[int, ...]  # how many numbers each pooling returns
    several_per_pass = True

    @cached_property  # read for each sequence
    def names(self) -> tuple[CacheName | None, ...]:
        """Layer and pooling; None for a function, because its name does not say what it computes."""
        if not self.poolings:
            return (None,) * len(self.layers)
        return tuple(
            (layer, pooling) if isinstance(pooling, str) else None
            for layer, pooling in product(self.layers, self.poolings)
        )

    @property
    def lookup_size(self) -> int:
        """About a thousand vectors."""
        return max(1, _LOOKUP // len(self.names))

    def sizes(self, item: Item) -> Sequence[int]:
        """Return the widths of the poolings, once for each layer."""
        return self.widths * len(self.layers)

    def run(self, model: PackedModel, pieces: list[Piece], parts: Parts) -> list[Result]:
        """Run up to the highest layer, and pool each layer as soon as it is computed."""
        from sklearn_esm._engine import hidden_states

        results: list[Result] = []
        texts = [piece.residues for piece in pieces]
        for layer, first, states in hidden_states(model, texts, self.layers):
            group = pieces[first : first + len(states)]  # pieces of equal length
            _check_states(group, layer, states)
            if all(piece.is_whole for piece in group):
                rows = tuple([piece.row for piece in group])
                results += self._columns(model, rows, layer, states)
                continue
            for piece, tokens in zip(group, states, strict=True):  # tokens: (tokens, width)
                whole = _joined(piece, layer, tokens, parts)  # (tokens, width)
                if piece.is_last:
                    results += self._columns(model, (piece.row,), layer, whole[None])
        return results

    def _columns(
        self, model: PackedModel, rows: tuple[int, ...], layer: int, states: np.ndarray
    ) -> list[Result]:
        """Return the columns of one layer, from states ``(sequences, tokens, width)``."""
        number, has_eos = self.layers.index(layer), model.architecture.has_eos
        if not self.poolings:
            return [Result(rows, number, list(residue_states(states, has_eos).copy()))]
        results = []
        for column, pooling in enumerate(self.poolings, start=number * len(self.poolings)):
            if isinstance(pooling, str):
                values = list(pool(states, pooling, has_eos))
            else:
                values = list(residue_states(states, has_eos).copy())  # for `apply_functions`
            results.append(Result(rows, column, values))
        return results

    def apply_functions(self, result: Result) -> Result:
        """Return the result, pooled by the user's function if its column is one of a function."""
        if not self.poolings:
            return result
        number = result.column % len(self.poolings)
        pooling, width = self.poolings[number], self.widths[number]
        if isinstance(pooling, str):
            return result
        pooled = [pool_by_function(pooling, residues, width) for residues in result.values]
        return result._replace(values=pooled)


def pooled_states(layers: Sequence[int], poolings: Sequence[Pooling], width: int) -> PooledStates:
    """Return the output of a model of some width."""
    widths = tuple(pooled_width(pooling, width) for pooling in poolings)
    return PooledStates(tuple(layers), tuple(poolings), widths)


@dataclass(frozen=True)
class LogProbabilities:
    """Log-probabilities at positions of a sequence, of its own residues or of every residue.

    The positions are those that an item masks in turn. If it masks none, they are all residues.
    """

    layer: int  # the last one
    every_residue: bool
    lookup_size = _LOOKUP
    several_per_pass = True

    @property
    def names(self) -> tuple[CacheName | None, ...]:
        """One column, ``(positions,)`` or ``(positions x 25,)``."""
        what = "log-probabilities" if self.every_residue else "log-probability"
        return ((self.layer, what),)

    def sizes(self, item: Item) -> Sequence[int]:
        """Return the number of positions, or 25 times that."""
        positions = len(item.masked) or scored_length(item.sequence)
        return (positions * (len(RESIDUES) if self.every_residue else 1),)

    def run(self, model: PackedModel, pieces: list[Piece], parts: Parts) -> list[Result]:
        """Run the blocks on all tokens, and the head at the positions only."""
        from sklearn_esm._engine import log_probabilities

        texts = [piece.residues for piece in pieces]
        positions = [_scored(piece) for piece in pieces]  # counted in the piece
        tables = log_probabilities(model, texts, positions)  # (positions of all pieces, 25)
        ends = np.cumsum([len(some) for some in positions])  # (pieces,)
        results = []
        for piece, some, table in zip(pieces, positions, np.split(tables, ends[:-1]), strict=True):
            if not self.every_residue:
                table = table[np.arange(len(some)), _own_codes(piece, some)]  # (positions,)
            parts.setdefault(piece.row, []).append(table)
            if piece.is_last:
                column = np.concatenate(parts.pop(piece.row)).reshape(-1)
                if not np.isfinite(column).all():
                    raise FloatingPointError(f"The log-probabilities of {_described(piece)}")
                results.append(Result((piece.row,), 0, [column]))
        return results

    def apply_functions(self, result: Result) -> Result:
        """Return the result unchanged."""
        return result


@dataclass(frozen=True)
class Contacts:
    """The contact map of each sequence as its upper triangle, or the features computed from it."""

    layer: int  # the last one
    regression: ContactRegression
    features: bool
    several_per_pass = False  # maps are large, and several at a time are no faster

    @property
    def lookup_size(self) -> int:
        """Few maps, because each may take megabytes."""
        return _LOOKUP if self.features else 10

    @property
    def names(self) -> tuple[CacheName | None, ...]:
        """One column; its name includes the regression, on which its values depend."""
        what = "contact-features" if self.features else "contact-map"
        return ((self.layer, f"{what}-{self.regression.fingerprint}"),)

    def sizes(self, item: Item) -> Sequence[int]:
        """Return the size of the triangle, or the number of features."""
        residues = len(item.sequence)
        return (len(FEATURES) if self.features else residues * (residues + 1) // 2,)

    def run(self, model: PackedModel, pieces: list[Piece], parts: Parts) -> list[Result]:
        """Run every block on a single sequence."""
        from sklearn_esm._engine import contact_map

        weights, bias = self.regression.weights, self.regression.bias
        summarise = contact_features if self.features else upper_triangle
        (piece,) = pieces
        contacts = contact_map(model, piece.residues, weights, bias)  # (residues, residues)
        if not np.isfinite(contacts).all():
            raise FloatingPointError(f"The contacts of {_described(piece)}")
        return [Result((piece.row,), 0, [summarise(contacts)])]

    def apply_functions(self, result: Result) -> Result:
        """Return the result unchanged."""
        return result


def _joined(piece: Piece, layer: int, states: np.ndarray, parts: Parts) -> np.ndarray:
    """Return the states of a whole sequence, ``(tokens, width)``, with those of one window filled in.

    BOS comes from the first window, and EOS from the last.
    """
    length, first = len(piece.item.sequence), piece.keep.start
    end_tokens = len(states) - len(piece.residues)
    shape = (length + end_tokens, states.shape[1])
    whole: np.ndarray = parts.setdefault((piece.row, layer), np.empty(shape, dtype=np.float32))
    # residue r is token r + 1
    low = 0 if first == 0 else first + 1
    high = shape[0] if piece.is_last else piece.keep.stop + 1
    whole[low:high] = states[low - piece.offset : high - piece.offset]
    return whole


def _scored(piece: Piece) -> Sequence[int]:
    """Return the positions, counted in the piece, for which it gives log-probabilities."""
    if piece.masked is not None:
        return [piece.masked - piece.offset]
    kept = range(piece.keep.start - piece.offset, piece.keep.stop - piece.offset)
    if MASK not in piece.residues:
        return kept
    return [position for position in kept if piece.residues[position] != MASK]


def _own_codes(piece: Piece, positions: Sequence[int]) -> np.ndarray:
    """Return the codes of the sequence's residues at positions of a piece, ``(positions,)``."""
    if not len(positions):
        return np.empty(0, dtype=np.int64)
    first, last = piece.offset + positions[0], piece.offset + positions[-1]
    codes = residue_codes(piece.item.sequence[first : last + 1])
    return codes if len(codes) == len(positions) else codes[np.array(positions) - positions[0]]


def _check_states(pieces: list[Piece], layer: int, states: np.ndarray) -> None:
    # before pooling: a maximum would hide -inf, and a mean of inf and -inf makes numpy warn
    if np.isfinite(states).all():
        return
    finite = np.isfinite(states).all(axis=(1, 2))  # (sequences,)
    raise FloatingPointError(f"The states of {_described(pieces[finite.argmin()])} at layer {layer}")


def _described(piece: Piece) -> str:
    return f"{shorten(piece.item.sequence)} ({len(piece.item.sequence)} residues)"
