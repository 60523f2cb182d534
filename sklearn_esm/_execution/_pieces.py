"""What the model reads: sequences cut into windows and masked copies, packed into forward passes.

This is the only module that knows about windows and masks. An `Item` is what one cache entry is made
of, a `Piece` is what the model reads at once, and a `Batch` is what one worker runs and stores.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, overload

from sklearn_esm._sequences import MASK

_SMALLEST_BATCH = 128  # tokens; matrix products of fewer are slow
_END_TOKENS = 2  # BOS and EOS


class Item(NamedTuple):
    """A clean sequence, and the positions to mask, each in a copy of its own; none runs it as it is."""

    sequence: str
    masked: tuple[int, ...] = ()


class WholeSequences(Sequence[Item]):
    """Items that mask nothing, each made when it is read.

    Python's garbage collector takes longer for a hundred thousand tuples than a cache to serve them.
    """

    def __init__(self, sequences: Sequence[str]) -> None:
        self._sequences = sequences

    def __len__(self) -> int:
        return len(self._sequences)

    def __iter__(self) -> Iterator[Item]:
        return map(Item, self._sequences)

    @overload
    def __getitem__(self, number: int) -> Item: ...
    @overload
    def __getitem__(self, number: slice) -> WholeSequences: ...
    def __getitem__(self, number: int | slice) -> Item | WholeSequences:
        if isinstance(number, slice):
            return WholeSequences(self._sequences[number])
        return Item(self._sequences[number])


class Piece(NamedTuple):
    """What the model reads at once: a sequence, or a window of it, perhaps with one residue masked.

    Positions in ``keep`` and ``masked`` are counted in the whole sequence, from 0.
    """

    row: int  # the item's row in the request
    item: Item
    residues: str  # what the model reads
    offset: int  # where the piece begins in the sequence
    keep: range  # the positions that are kept from this piece
    masked: int | None

    @property
    def is_whole(self) -> bool:
        """Whether this is the only piece of a sequence in which nothing is masked in turn."""
        return self.masked is None and len(self.residues) == len(self.item.sequence)

    @property
    def is_last(self) -> bool:
        """Whether no other piece of the item follows."""
        sequence, masked = self.item
        return self.keep.stop == (masked[-1] + 1 if masked else len(sequence))


class Batch(NamedTuple):
    """Items that are run and stored together.

    A ``wide`` batch would still be running when all others are done, so it gets every core.
    """

    rows: tuple[int, ...]
    items: tuple[Item, ...]
    wide: bool = False

    def part(self, numbers: Sequence[int]) -> Batch:
        """Return the batch with some of its items only, given by their number in it."""
        rows = tuple([self.rows[number] for number in numbers])
        return self._replace(rows=rows, items=tuple([self.items[number] for number in numbers]))


def residues_read(item: Item, window_length: int | None) -> int:
    """Return how many residues the model reads for an item, all its pieces together."""
    pieces, length = _pieces_of(item, window_length)
    return pieces * length


def tokens_read(item: Item, window_length: int | None) -> tuple[int, int]:
    """Return how many pieces the model reads for an item, and the tokens of each."""
    pieces, length = _pieces_of(item, window_length)
    return pieces, length + _END_TOKENS


def plan_batches(
    items: Sequence[Item], batch_tokens: int, window_length: int | None, at_a_time: int = 1
) -> list[Batch]:
    """Return batches of about ``batch_tokens`` tokens, in which items of equal length are neighbours.

    The longest sequences come first: what needs most memory fails first, and the last batches, for
    which workers wait, are short. An item with more tokens is a batch of its own.

    Parameters
    ----------
    items : sequence of Item
        The rows of a batch are their numbers in this sequence.
    batch_tokens : int
        Tokens of all pieces of a batch, BOS and EOS included.
    window_length : int or None
        Residues of a window; None runs every sequence whole.
    at_a_time : int, default=1
        How many batches run side by side. Batches get small enough for each thread to run several,
        and one with more than a thread's share of all residues is ``wide``.
    """
    sizes = [_pieces_of(item, window_length) for item in items]
    read = [pieces * length for pieces, length in sizes]  # residues of each item
    tokens = [pieces * (length + _END_TOKENS) for pieces, length in sizes]
    if at_a_time > 1:
        batch_tokens = min(batch_tokens, max(_SMALLEST_BATCH, sum(read) // (4 * at_a_time)))
    batches: list[list[int]] = []
    left = 0
    lengths = [len(item.sequence) for item in items]
    # reverse keeps the order of equally long ones
    for row in sorted(range(len(items)), key=lengths.__getitem__, reverse=True):
        if not batches or tokens[row] > left:
            batches.append([])
            left = batch_tokens
        batches[-1].append(row)
        left -= tokens[row]
    share = sum(read) / at_a_time
    return [
        Batch(
            tuple(rows),
            tuple([items[row] for row in rows]),
            wide=sum([read[row] for row in rows]) > share,
        )
        for rows in batches
    ]


def cut(batch: Batch, window_length: int | None) -> Iterator[Piece]:
    """Yield the pieces of a batch's items, those of an item in the order of its positions."""
    for row, item in zip(batch.rows, batch.items, strict=True):
        length = len(item.sequence)
        windows = [(0, range(length))]
        if window_length is not None and length > window_length:
            windows = _windows(length, window_length)
        for offset, keep in windows:
            residues = item.sequence[offset:][:window_length]
            if not item.masked:
                yield Piece(row, item, residues, offset, keep, None)
            for position in item.masked:
                if position in keep:
                    at = position - offset
                    copy = residues[:at] + MASK + residues[at + 1 :]
                    yield Piece(row, item, copy, offset, range(position, position + 1), position)


def take_pass(pieces: deque[Piece], tokens: int) -> list[Piece]:
    """Remove and return the first pieces that fit into a forward pass of ``tokens``, at least one."""
    taken: list[Piece] = []
    while pieces:
        tokens -= len(pieces[0].residues) + _END_TOKENS
        if taken and tokens < 0:
            break
        taken.append(pieces.popleft())
    return taken


def tokens_of(pieces: Sequence[Piece]) -> int:
    """Return how many tokens a forward pass over the pieces has, BOS and EOS included."""
    return sum([len(piece.residues) + _END_TOKENS for piece in pieces])


def _pieces_of(item: Item, window_length: int | None) -> tuple[int, int]:
    """Return how many pieces an item has, and the residues of each."""
    length = len(item.sequence)
    if window_length is None or length <= window_length:
        return len(item.masked) or 1, length
    return len(item.masked) or len(_windows(length, window_length)), window_length


def _windows(residues: int, length: int) -> list[tuple[int, range]]:
    """Return windows of a longer sequence that overlap by half, as ``(start, positions to keep)``.

    Each residue is kept from the window in which it is most central, the earlier of two equal ones.

    Examples
    --------
    >>> _windows(10, 4)
    [(0, range(0, 3)), (2, range(3, 5)), (4, range(5, 7)), (6, range(7, 10))]
    """
    last = residues - length
    starts = [*range(0, last, max(1, length // 2)), last]
    bounds = [0, *((a + b + length + 1) // 2 for a, b in pairwise(starts)), residues]
    return [(start, range(*kept)) for start, kept in zip(starts, pairwise(bounds), strict=True)]
