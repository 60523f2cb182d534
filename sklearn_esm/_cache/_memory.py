"""The cache in memory: bounded, and shared by the estimators and threads of a process."""

from __future__ import annotations

import itertools
import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from sklearn_esm._cache._interface import CacheInfo, Key, Traffic
from sklearn_esm._locks import fork_safe_lock

# bytes of an entry besides its numbers and its sequence: key, dict entry, entry and array object
_ENTRY_OVERHEAD = 450

_lock = fork_safe_lock()


class _Entry:
    __slots__ = ("call", "vector")

    def __init__(self, vector: np.ndarray, call: int) -> None:
        self.vector = vector
        self.call = call  # the last one that used it


class MemoryCache:
    """A bounded, thread-safe cache that forgets the least recently used vectors.

    It never forgets what a running call has used for what the same call, or another one, computes. If a
    call needs more than the bound, the first vectors are kept and the last ones are not. If each new
    vector replaced the oldest one, the next call on the same sequences would find none.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self.traffic = Traffic()
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()  # least recently used first
        self._claims: dict[Key, int] = {}
        self._numbers = itertools.count(1)
        self._running: dict[int, int] = {}  # process of each running call

    @contextmanager
    def call(self) -> Iterator[MemoryCall]:
        """Return the cache for one call; what the call uses is not forgotten until it ends."""
        number = next(self._numbers)
        self._running[number] = os.getpid()
        try:
            yield MemoryCall(self, number)
        finally:
            del self._running[number]

    def get(self, keys: Sequence[Key], call: int = 0) -> list[np.ndarray | None]:
        """Return the vector of each key, or None."""
        found: list[np.ndarray | None] = []
        with _lock:
            entries = self._entries
            for key in keys:
                entry = entries.get(key)
                if entry is None:
                    found.append(None)
                    continue
                if entry.call != call or not call:
                    entry.call = call
                    entries.move_to_end(key)
                found.append(entry.vector)
        return found

    def put(
        self, vectors: Mapping[Key, np.ndarray], released: Sequence[Key] = (), call: int = 0
    ) -> None:
        """Store copies of the vectors for which there is room, and release claims."""
        for key, vector in vectors.items():
            vector = vector.copy()  # a view would keep its whole batch alive
            vector.flags.writeable = False
            with _lock:
                self._forget(key)
                size = vector_bytes(vector.size, key.sequence, key.masked)
                if self._make_room(size):
                    self._entries[key] = _Entry(vector, call)
                    self.bytes += size
        self.release(released)

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
        return CacheInfo("memory", traffic.hits, traffic.misses, len(self._entries), self.bytes)

    def prune(self, max_bytes: int) -> None:
        """Forget the least recently used vectors beyond ``max_bytes``."""
        with _lock:
            while self.bytes > max_bytes:
                self._forget(next(iter(self._entries)))

    def _make_room(self, size: int) -> bool:
        """Forget the least recently used vectors that no running call uses; return if that is enough."""
        if size > self.max_bytes:
            return False
        process = os.getpid()
        while self.bytes + size > self.max_bytes:
            key, entry = next(iter(self._entries.items()))
            # a call inherited through a fork never ends here
            if self._running.get(entry.call) == process:
                return False
            self._forget(key)
        return True

    def _forget(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.bytes -= vector_bytes(entry.vector.size, key.sequence, key.masked)


class MemoryCall:
    """The memory cache as one call uses it."""

    def __init__(self, cache: MemoryCache, number: int) -> None:
        self.traffic = cache.traffic
        self.claim = cache.claim
        self.release = cache.release
        self._cache = cache
        self._number = number

    def get(self, keys: Sequence[Key]) -> list[np.ndarray | None]:
        """Return the vector of each key, or None."""
        return self._cache.get(keys, self._number)

    def put(self, vectors: Mapping[Key, np.ndarray], released: Sequence[Key] = ()) -> None:
        """Store copies of the vectors for which there is room, and release claims."""
        self._cache.put(vectors, released, self._number)


def vector_bytes(numbers: int, sequence: str, masked: Sequence[int]) -> int:
    """Return the bytes that the memory cache counts for a vector of so many numbers."""
    return 4 * numbers + len(sequence) + 8 * len(masked) + _ENTRY_OVERHEAD
