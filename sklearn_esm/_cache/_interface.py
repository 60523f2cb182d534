"""The interface of all caches, and the cache that keeps nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from sklearn_esm._locks import fork_safe_lock


class Key(NamedTuple):
    """Everything that a pooled vector depends on, and nothing else, such as batch or device.

    ``window`` is 0 if the sequence was embedded whole. A truncated sequence has the key of the shorter
    sequence. ``masked`` are the positions that are masked in turn; none if nothing is masked.
    """

    fingerprint: str
    dtype: str
    layer: int
    pooling: str
    window: int
    sequence: str
    masked: tuple[int, ...] = ()


class CacheInfo(NamedTuple):
    """Contents of a cache, and its use by this process.

    Attributes
    ----------
    location : str or None
        ``"memory"``, the folder, or None without a cache.
    hits, misses : int
        Numbers of distinct sequences in this process's calls that came from the cache, and that the
        model computed.
    vectors : int
        Number of vectors: one per sequence, layer, pooling and model.
    bytes : int
        Size of the vectors in memory or on the disk.
    """

    location: str | None
    hits: int
    misses: int
    vectors: int
    bytes: int


_counting = fork_safe_lock()


class Traffic:
    """Numbers of sequences from the cache and of computed ones, for all threads."""

    def __init__(self) -> None:
        self.hits = 0
        self.misses = 0

    def add(self, *, hits: int = 0, misses: int = 0) -> None:
        with _counting:
            self.hits += hits
            self.misses += misses


class Cache(Protocol):
    """A cache of vectors. It may forget vectors, and must never return a wrong one.

    A worker claims a missing vector before computing it. If several workers miss the same vector, one
    computes it and the others wait.
    """

    traffic: Traffic

    def get(self, keys: Sequence[Key]) -> list[np.ndarray | None]:
        """Return the vector of each key, ``(width,)`` float32, or None."""

    def put(self, vectors: Mapping[Key, np.ndarray], released: Sequence[Key] = ()) -> None:
        """Store vectors, and release claims on them, which nobody sees before the vectors."""

    def claim(self, keys: Sequence[Key]) -> list[bool]:
        """Claim vectors, and return for each whether the caller must compute it."""

    def release(self, keys: Sequence[Key]) -> None:
        """Release claims. Others see that, and every vector put before, when this returns."""


class NoCache:
    """A cache that keeps nothing."""

    def __init__(self) -> None:
        self.traffic = Traffic()

    def get(self, keys: Sequence[Key]) -> list[np.ndarray | None]:
        """Return None for each key."""
        return [None] * len(keys)

    def put(self, vectors: Mapping[Key, np.ndarray], released: Sequence[Key] = ()) -> None:
        """Do nothing."""

    def claim(self, keys: Sequence[Key]) -> list[bool]:
        """Grant every claim."""
        return [True] * len(keys)

    def release(self, keys: Sequence[Key]) -> None:
        """Do nothing."""

    def info(self) -> CacheInfo:
        """Return the numbers of hits and misses."""
        return CacheInfo(None, self.traffic.hits, self.traffic.misses, 0, 0)
