"""The cache in memory: bounded, and shared by the estimators and threads of a process."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np

from sklearn_esm._cache._interface import CacheInfo, Key, Traffic
from sklearn_esm._locks import fork_safe_lock

# bytes of an entry besides its numbers and its sequence: key, dict entry and array object
_ENTRY_OVERHEAD = 400

_lock = fork_safe_lock()


class MemoryCache:
    """A bounded, thread-safe cache that forgets the least recently used vectors."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self.traffic = Traffic()
        self._vectors: OrderedDict[Key, np.ndarray] = OrderedDict()
        self._claims: dict[Key, int] = {}

    def get(self, keys: Sequence[Key]) -> list[np.ndarray | None]:
        """Return the vector of each key, or None."""
        with _lock:
            for key in keys:
                if key in self._vectors:
                    self._vectors.move_to_end(key)
            return [self._vectors.get(key) for key in keys]

    def put(self, vectors: Mapping[Key, np.ndarray]) -> None:
        """Store copies of vectors, and forget the least recently used ones beyond the bound."""
        for key, vector in vectors.items():
            vector = vector.copy()  # a view would keep its whole batch alive
            vector.flags.writeable = False
            with _lock:
                self._forget(key)
                self._vectors[key] = vector
                self.bytes += _size(key, vector)
                self._shrink(self.max_bytes)

    def claim(self, keys: Sequence[Key]) -> list[bool]:
        """Claim vectors that no other thread of this process has claimed."""
        process = os.getpid()
        with _lock:
            # a claim inherited through a fork is free, because no thread here will release it
            free = [self._claims.get(key) != process for key in keys]
            self._claims.update((key, process) for key, mine in zip(keys, free, strict=True) if mine)
            return free

    def release(self, keys: Sequence[Key]) -> None:
        """Release claims."""
        with _lock:
            for key in keys:
                self._claims.pop(key, None)

    def info(self) -> CacheInfo:
        """Return the contents of the cache."""
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
