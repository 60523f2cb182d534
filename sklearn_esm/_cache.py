"""Where pooled vectors are kept between calls, behind one small interface."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import NamedTuple, Protocol

import numpy as np

MEMORY_CACHE_BYTES = 512 * 2**20
# the entry's key, its sequence apart, and the bookkeeping of Python and numpy around the numbers
_ENTRY_OVERHEAD = 400


class Key(NamedTuple):
    """Everything a pooled vector depends on, and nothing it does not, such as batch or device.

    ``window`` is 0 where the sequence was embedded whole. A truncated sequence is the shorter
    sequence.
    """

    fingerprint: str
    dtype: str
    layer: int
    pooling: str
    window: int
    sequence: str


class Cache(Protocol):
    """What the estimators ask of a cache; it may forget, and must never return a wrong vector."""

    def get(self, key: Key) -> np.ndarray | None:
        """Return the vector stored under ``key``, ``(width,)`` float32, or None."""

    def put(self, key: Key, vector: np.ndarray) -> None:
        """Store a vector."""


class MemoryCache:
    """A bounded cache that forgets what was least recently used; threads may share it."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self._vectors: OrderedDict[Key, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key) -> np.ndarray | None:
        """Return the vector stored under ``key``, or None."""
        with self._lock:
            vector = self._vectors.get(key)
            if vector is not None:
                self._vectors.move_to_end(key)
            return vector

    def put(self, key: Key, vector: np.ndarray) -> None:
        """Store a copy of a vector, and forget the oldest ones beyond the bound."""
        vector = vector.copy()  # a view would keep its whole batch alive
        vector.flags.writeable = False
        with self._lock:
            self._forget(key)
            self._vectors[key] = vector
            self.bytes += _size(key, vector)
            while self.bytes > self.max_bytes:
                self._forget(next(iter(self._vectors)))

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._vectors.clear()
            self.bytes = 0

    def _forget(self, key: Key) -> None:
        vector = self._vectors.pop(key, None)
        if vector is not None:
            self.bytes -= _size(key, vector)


def _size(key: Key, vector: np.ndarray) -> int:
    return vector.nbytes + len(key.sequence) + _ENTRY_OVERHEAD


class NoCache:
    """Remembers nothing."""

    def get(self, key: Key) -> None:
        """Return None."""

    def put(self, key: Key, vector: np.ndarray) -> None:
        """Do nothing."""


MEMORY_CACHE = MemoryCache(MEMORY_CACHE_BYTES)


def open_cache(cache: str | None) -> Cache:
    """The cache that the parameter ``cache`` names."""
    return MEMORY_CACHE if cache == "memory" else NoCache()
