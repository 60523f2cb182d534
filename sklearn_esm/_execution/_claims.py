"""The cache entries that a request is computing, for which other threads and processes wait."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from sklearn_esm._cache import Cache, Key
from sklearn_esm._execution._pieces import Batch

_SECONDS = 1.0  # of computing that is claimed at once; other workers share what is not yet claimed


class Claims:
    """The claims of one request on a cache; made by `claims_on`, which releases them at the end."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._held: set[Key] = set()

    def take(self, keys: Sequence[Key]) -> list[bool]:
        """Claim keys, and return for each whether nobody else is computing it."""
        granted = self._cache.claim(keys)
        self._held.update([key for key, mine in zip(keys, granted, strict=True) if mine])
        return granted

    def store(self, vectors: Mapping[Key, np.ndarray], keys: Sequence[Key]) -> None:
        """Store vectors in the cache, and release those of the keys that are claimed."""
        mine = [key for key in keys if key in self._held]
        self._cache.put(vectors, mine)
        self._held.difference_update(mine)

    def release(self, keys: Sequence[Key]) -> None:
        """Release those of the keys that are claimed."""
        mine = [key for key in keys if key in self._held]
        self._cache.release(mine)
        self._held.difference_update(mine)


@contextmanager
def claims_on(cache: Cache) -> Iterator[Claims]:
    """Hold claims on a cache, and release what is left of them whatever happens."""
    claims = Claims(cache)
    try:
        yield claims
    finally:
        claims.release(list(claims._held))


def claimed_together(batches: Sequence[Batch]) -> Iterator[Sequence[Batch]]:
    """Yield consecutive batches, as many at once as the caller runs in about a second.

    A claim is a transaction of a folder cache, which would take longer than a short batch.
    """
    start, count = 0, 1
    while start < len(batches):
        began = time.monotonic()
        yield batches[start : start + count]
        start += count
        seconds = time.monotonic() - began
        count = max(1, 2 * count if 2 * seconds < _SECONDS else int(count * _SECONDS / seconds))
