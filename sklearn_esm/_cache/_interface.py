"""What the estimators ask of a cache, whichever it is; and the one that keeps nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from sklearn_esm._locks import fork_safe_lock


class Key(NamedTuple):
    """Everything a pooled vector depends on, and nothing it does not, such as batch or device.

    ``window`` is 0 if the sequence was embedded whole. A truncated sequence is the shorter sequence.
    ``masked`` are the positions that are masked in turn; none if the sequence is run as it is.
    """

    fingerprint: str
    dtype: str
    layer: int
    pooling: str
    window: int
    sequence: str
    masked: tuple[int, ...] = ()


class CacheInfo(NamedTuple):
    """What a cache holds, and how often it was of use to this process.

    Attributes
    ----------
    location : str or None
        ``"memory"``, the folder, or None where nothing is kept.
    hits, misses : int
        Distinct sequences of this process's calls that were served from the cache, and that were run
        through the model.
    vectors : int
        Vectors held: one for each sequence, layer, pooling and model.
    bytes : int
        What they take, in memory or on the disk.
    """

    location: str | None
    hits: int
    misses: int
    vectors: int
    bytes: int


_counting = fork_safe_lock()


class Traffic:
    """Counts the sequences that were served and those that were computed, for all threads."""

    def __init__(self) -> None:
        self.hits = 0
        self.misses = 0

    def add(self, *, hits: int = 0, misses: int = 0) -> None:
        with _counting:
            self.hits += hits
            self.misses += misses


class Cache(Protocol):
    """What the estimators ask of a cache; it may forget, and must never return a wrong vector.

    Whoever misses a vector claims it before computing it, so that of several workers that miss the
    same one at the same time, one computes it and the others wait.
    """

    traffic: Traffic

    def get(self, keys: Sequence[Key]) -> list[np.ndarray | None]:
        """The vectors stored under the keys, ``(width,)`` float32 each, or None."""

    def put(self, vectors: Mapping[Key, np.ndarray]) -> None:
        """Store vectors."""

    def claim(self, keys: Sequence[Key]) -> list[bool]:
        """Which vectors the caller is to compute: those that nobody else is computing."""

    def release(self, keys: Sequence[Key]) -> None:
        """Give claims back, whether or not the vectors were stored."""


class NoCache:
    """Remembers nothing."""

    def __init__(self) -> None:
        self.traffic = Traffic()

    def get(self, keys: Sequence[Key]) -> list[np.ndarray | None]:
        """Return None for each."""
        return [None] * len(keys)

    def put(self, vectors: Mapping[Key, np.ndarray]) -> None:
        """Do nothing."""

    def claim(self, keys: Sequence[Key]) -> list[bool]:
        """Grant everything."""
        return [True] * len(keys)

    def release(self, keys: Sequence[Key]) -> None:
        """Do nothing."""

    def info(self) -> CacheInfo:
        """Nothing is held."""
        return CacheInfo(None, self.traffic.hits, self.traffic.misses, 0, 0)
