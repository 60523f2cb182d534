"""The cache in this process: bounded, shared by its estimators and threads."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np

from sklearn_esm._cache._interface import CacheInfo, Key, Traffic
from sklearn_esm._locks import fork_safe_lock

# the entry's key, its sequence apart, and the bookkeeping of Python and numpy around the numbers
_ENTRY_OVERHEAD = 400

_lock = fork_safe_lock()


class MemoryCache:
    """A bounded cache that forgets what was least recently used; threads may share it."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self.traffic = Traffic()
        self._vectors: OrderedDict[Key, np.ndarray] = OrderedDict()
        self._claims: dict[Key, int] = {}

    def get(self, keys: Sequence[Key]) -> list[np.ndarray | None]:
        """Return the vectors stored under the keys, or None."""
        with _lock:
            for key in keys:
                if key in self._vectors:
                    self._vectors.move_to_end(key)
            return [self._vectors.get(key) for key in keys]

    def put(self, vectors: Mapping[Key, np.ndarray]) -> None:
        """Store copies of vectors, and forget the oldest ones beyond the bound."""
        for key, vector in vectors.items():
            vector = vector.copy()  # a view would keep its whole batch alive
            vector.flags.writeable = False
            with _lock:
                self._forget(key)
                self._vectors[key] = vector
                self.bytes += _size(key, vector)
                self._shrink(self.max_bytes)

    def claim(self, keys: Sequence[Key]) -> list[bool]:
        """Grant what no other thread of this process computes."""
        process = os.getpid()
        with _lock:
            # a claim of another process was inherited by a fork, and nobody here will release it
            free = [self._claims.get(key) != process for key in keys]
            self._claims.update((key, process) for key, mine in zip(keys, free, strict=True) if mine)
            return free

    def release(self, keys: Sequence[Key]) -> None:
        """Give claims back."""
        with _lock:
            for key in keys:
                self._claims.pop(key, None)

    def info(self) -> CacheInfo:
        """What is held now."""
        traffic = self.traffic
        return CacheInfo("memory", traffic.hits, traffic.misses, len(self._vectors), self.bytes)

    def prune(self, max_bytes: int) -> None:
        """Forget the least recently used vectors beyond ``max_bytes``."""
        with _lock:
            self._shrink(max_bytes)

    def _shrink(self, max_bytes: int) -> None:
        while self.bytes > max_bytes:
            self._forget(next(iter(self._vectors)))

    def _forget(self, key: Key) -> None:
        vector = self._vectors.pop(key, None)
        if vector is not None:
            self.bytes -= _size(key, vector)


def _size(key: Key, vector: np.ndarray) -> int:
    return vector.nbytes + len(key.sequence) + 8 * len(key.masked) + _ENTRY_OVERHEAD
