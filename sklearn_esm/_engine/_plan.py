"""Which sequences go through the model together, and how an overlong one is cut into windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

from sklearn_esm._sequences import residues_run

_FEWEST = 128  # tokens below which the matrix products would be slow


@dataclass(frozen=True)
class Unit:
    """Work that is done in one go: whole sequences, masked copies of some, or one in windows.

    A text with positions in lower case stands for a copy with each of them masked. ``rows`` are the
    numbers the sequences had in the list that was planned. ``windows`` are ``(start, first kept, end
    of kept)`` in residues of the sequence, ``window_length`` long each.
    A ``wide`` one would keep its lane busy when the others have run out of work.
    """

    rows: tuple[int, ...]
    sequences: tuple[str, ...]
    windows: tuple[tuple[int, int, int], ...] = ()
    window_length: int = 0
    wide: bool = False

    @cached_property
    def residues(self) -> int:
        return sum(map(residues_run, self.sequences))

    @property
    def smallest_pass(self) -> int:
        """Residues of the longest piece that cannot be divided: a window, or a sequence."""
        return self.window_length or max(map(len, self.sequences))

    @property
    def in_passes(self) -> bool:
        """Whether it is more than one forward pass can be made to hold, whose size is then chosen."""
        return bool(self.windows) or self.residues > sum(map(len, self.sequences))

    def part(self, numbers: Sequence[int]) -> Unit:
        """The same work for some of the sequences, by their numbers in this unit."""
        rows = tuple(self.rows[number] for number in numbers)
        return replace(self, rows=rows, sequences=tuple(self.sequences[number] for number in numbers))


def plan_units(
    sequences: Sequence[str],
    batch_tokens: int,
    window_length: int | None = None,
    lanes: int = 1,
) -> list[Unit]:
    """Batches of at most ``batch_tokens`` tokens, sorted by length so that equal lengths meet.

    Tokens are counted for all the copies of a text with positions in lower case.

    The longest come first: what needs most memory fails first, and the last units, over which
    workers race, are the small ones. A sequence that is longer than ``window_length`` becomes a
    unit of its own, and so does one that is over ``batch_tokens``. Where ``lanes`` units run at a
    time, batches are made small enough for each lane to have several, and a unit that holds more
    than a lane's share of all residues is ``wide``.
    """
    run = [residues_run(sequence) for sequence in sequences]  # of each, all copies together
    residues = sum(run)
    if lanes > 1:
        batch_tokens = min(batch_tokens, max(_FEWEST, residues // (4 * lanes)))
    units: list[Unit] = []
    rows: list[int] = []
    tokens = 0
    for row in sorted(range(len(sequences)), key=lambda row: -len(sequences[row])):
        sequence = sequences[row]
        if window_length is not None and len(sequence) > window_length:
            windows = cut_windows(len(sequence), window_length)
            units.append(Unit((row,), (sequence,), windows, window_length))
            continue
        needed = run[row] // len(sequence) * (len(sequence) + 2)
        if rows and tokens + needed > batch_tokens:
            units.append(_batch(sequences, rows))
            rows, tokens = [], 0
        rows.append(row)
        tokens += needed
    if rows:
        units.append(_batch(sequences, rows))
    return [replace(unit, wide=sum(run[row] for row in unit.rows) * lanes > residues) for unit in units]


def cut_windows(residues: int, length: int) -> tuple[tuple[int, int, int], ...]:
    """Windows over ``residues`` that overlap by half at least, with the part to keep of each.

    Every residue is kept from the window in which it lies farthest from both ends, the earlier
    one where two are equal. The first and the last residue have no choice.

    Returns
    -------
    tuple of (start, first kept, end of kept)
        All counted in residues of the sequence; the kept parts follow each other without a gap.

    Examples
    --------
    >>> cut_windows(10, 4)
    ((0, 0, 3), (2, 3, 5), (4, 5, 7), (6, 7, 10))
    """
    step = max(1, length // 2)
    last = residues - length
    starts = [*range(0, last, step), last]
    # the residue in the middle of an odd overlap is as central in both windows: the earlier keeps it
    bounds = [0, *((a + b + length + 1) // 2 for a, b in pairwise(starts)), residues]
    return tuple(zip(starts, bounds[:-1], bounds[1:], strict=True))


def _batch(sequences: Sequence[str], rows: list[int]) -> Unit:
    return Unit(tuple(rows), tuple(sequences[row] for row in rows))
