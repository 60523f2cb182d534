"""The cache entries that a request is computing, for which other threads and processes wait."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sklearn_esm._cache import Cache, Key


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
