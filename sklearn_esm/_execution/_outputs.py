"""What is read off the model for each sequence: pooled states, log-probabilities, contacts.

Workers get a reading with their request. It turns what the engine yields into columns, each of which
is an array for every sequence and has a name in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

import numpy as np

from sklearn_esm._checkpoints._contact_regression import ContactRegression
from sklearn_esm._contact_features import FEATURES, contact_features, upper_triangle
from sklearn_esm._pooling import Pooling, pool, pool_by_function, residue_states
from sklearn_esm._sequences import RESIDUES, masked_in_turn, scored_positions, shorten

if TYPE_CHECKING:
    from sklearn_esm._engine import Block, PackedModel, Unit

_LOOKUP = 1000
CacheName: TypeAlias = "tuple[int, str]"  # layer, and what is read there


class Result(NamedTuple):
    """One column of some sequences."""

    rows: tuple[int, ...]
    column: int
    values: Sequence[np.ndarray]  # an array for each row


class Reading(Protocol):
    """What is read off the model for each sequence, column by column; small, and sent to workers."""

    @property
    def names(self) -> tuple[CacheName | None, ...]:
        """What each column is kept under in a cache, None where it cannot be kept."""

    @property
    def looked_up_together(self) -> int:
        """For how many sequences all columns are taken from a cache at a time, which bounds memory."""

    @property
    def one_by_one(self) -> bool:
        """Whether sequences are run one after the other, and never in windows."""

    def sizes(self, text: str) -> Sequence[int]:
        """Return how many numbers each column has for a text, to tell a damaged entry of a cache."""

    def read(self, model: PackedModel, unit: Unit, batch_tokens: int) -> Iterator[Result]:
        """Every column of a unit's sequences.

        Raises
        ------
        FloatingPointError
            If they are not finite; the message says what is not.
        """

    def finished(self, result: Result) -> Result:
        """Return a result with the user's functions applied, which no thread of this package calls."""


@dataclass(frozen=True)
class PooledStates:
    """Hidden states at each layer, pooled in each way; without poolings, those of the residues."""

    layers: tuple[int, ...]
    poolings: tuple[Pooling, ...]
    widths: tuple[int, ...]  # how many numbers each pooling makes
    one_by_one = False

    @property
    def names(self) -> tuple[CacheName | None, ...]:
        """Layer and pooling; the name of a function does not tell what it does."""
        if not self.poolings:
            return (None,) * len(self.layers)
        return tuple(
            (layer, pooling) if isinstance(pooling, str) else None
            for layer, pooling in product(self.layers, self.poolings)
        )

    @property
    def looked_up_together(self) -> int:
        """Some thousand vectors."""
        return max(1, _LOOKUP // len(self.names))

    def sizes(self, text: str) -> Sequence[int]:
        """Return the widths of the poolings for each layer."""
        return self.widths * len(self.layers)

    def read(self, model: PackedModel, unit: Unit, batch_tokens: int) -> Iterator[Result]:
        """Run up to the highest layer, and pool each layer as it comes."""
        from sklearn_esm._engine import run_unit

        has_eos = model.architecture.has_eos
        for block in run_unit(model, unit, self.layers, batch_tokens):
            _check_states(unit, block)
            number = self.layers.index(block.layer)
            residues = residue_states(block.hidden, has_eos)
            if not self.poolings:
                yield Result(block.rows, number, list(residues.copy()))
            for column, pooling in enumerate(self.poolings, start=number * len(self.poolings)):
                if isinstance(pooling, str):
                    values = list(pool(block.hidden, pooling, has_eos))
                else:
                    values = list(residues.copy())  # the user's function is called in `finished`
                yield Result(block.rows, column, values)

    def finished(self, result: Result) -> Result:
        """Return the result, pooled by the user's function where it is one of a function."""
        if not self.poolings:
            return result
        number = result.column % len(self.poolings)
        pooling, width = self.poolings[number], self.widths[number]
        if isinstance(pooling, str):
            return result
        pooled = [pool_by_function(pooling, residues, width) for residues in result.values]
        return result._replace(values=pooled)


@dataclass(frozen=True)
class LogProbabilities:
    """Log-probabilities at the positions of a text, of its own residues or of every residue.

    The positions are those in lower case, each masked in turn; in a text without any, all of them,
    and nothing is masked.
    """

    layer: int  # the last one
    every_residue: bool
    looked_up_together = _LOOKUP
    one_by_one = False

    @property
    def names(self) -> tuple[CacheName | None, ...]:
        """One column, ``(positions,)`` or ``(positions x 25,)``."""
        what = "log-probabilities" if self.every_residue else "log-probability"
        return ((self.layer, what),)

    def sizes(self, text: str) -> Sequence[int]:
        """Return the number of positions, or 25 times that."""
        positions = len(masked_in_turn(text) or scored_positions(text))
        return (positions * (len(RESIDUES) if self.every_residue else 1),)

    def read(self, model: PackedModel, unit: Unit, batch_tokens: int) -> Iterator[Result]:
        """Run all copies of the unit's texts, and the head at the positions alone."""
        from sklearn_esm._engine import log_probabilities

        tables = log_probabilities(model, unit, batch_tokens, self.every_residue)
        for row, text, table in zip(unit.rows, unit.sequences, tables, strict=True):
            if not np.isfinite(table).all():
                raise FloatingPointError(f"The log-probabilities of {_described(text.upper())}")
            yield Result((row,), 0, [table.reshape(-1)])

    def finished(self, result: Result) -> Result:
        """Return the result as it is."""
        return result


@dataclass(frozen=True)
class Contacts:
    """The contact map of each sequence as its upper triangle, or the features made of it."""

    layer: int  # the last one
    regression: ContactRegression
    features: bool
    one_by_one = True

    @property
    def looked_up_together(self) -> int:
        """Few maps, each of which may take megabytes."""
        return _LOOKUP if self.features else 10

    @property
    def names(self) -> tuple[CacheName | None, ...]:
        """One column, which depends on the regression as it does on the weights."""
        what = "contact-features" if self.features else "contact-map"
        return ((self.layer, f"{what}-{self.regression.fingerprint}"),)

    def sizes(self, text: str) -> Sequence[int]:
        """Return the size of the triangle, or the number of features."""
        return (len(FEATURES) if self.features else len(text) * (len(text) + 1) // 2,)

    def read(self, model: PackedModel, unit: Unit, batch_tokens: int) -> Iterator[Result]:
        """One sequence after the other: a map is large, and there is no gain in several at a time."""
        from sklearn_esm._engine import contact_map

        weights, bias = self.regression.weights, self.regression.bias
        summarise = contact_features if self.features else upper_triangle
        for row, sequence in zip(unit.rows, unit.sequences, strict=True):
            contacts = contact_map(model, sequence, weights, bias)  # (residues, residues)
            if not np.isfinite(contacts).all():
                raise FloatingPointError(f"The contacts of {_described(sequence)}")
            yield Result((row,), 0, [summarise(contacts)])

    def finished(self, result: Result) -> Result:
        """Return the result as it is."""
        return result


def _check_states(unit: Unit, block: Block) -> None:
    # before pooling: a maximum would hide -inf, and a mean of inf and -inf makes numpy warn
    if np.isfinite(block.hidden).all():
        return
    finite = np.isfinite(block.hidden).all(axis=(1, 2))  # (sequences,)
    sequence = unit.sequences[unit.rows.index(block.rows[finite.argmin()])]
    raise FloatingPointError(f"The states of {_described(sequence)} at layer {block.layer}")


def _described(sequence: str) -> str:
    return f"{shorten(sequence)} ({len(sequence)} residues)"
