"""Caches of pooled vectors: in memory, in a folder, or none."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from sklearn_esm._cache._contents import folder_info, prune_folder
from sklearn_esm._cache._folder import FolderCache
from sklearn_esm._cache._interface import Cache, CacheInfo, Key, NoCache
from sklearn_esm._cache._memory import MemoryCache
from sklearn_esm._user_code import stacklevel_of_user

__all__ = ["Cache", "CacheInfo", "Key", "Where", "cache_info", "open_cache", "prune_cache"]

MEMORY_CACHE = MemoryCache(512 * 2**20)
NO_CACHE = NoCache()

Where: TypeAlias = "str | os.PathLike[str] | None"


@contextmanager
def open_cache(cache: Where, fingerprint: str) -> Iterator[Cache]:
    """Open the cache of the parameter ``cache`` for one call on the vectors of one checkpoint."""
    folder = _folder_of(cache)
    if cache == "memory":
        with MEMORY_CACHE.call() as call:
            yield call
    elif folder is None:
        yield NO_CACHE
    else:
        opened = FolderCache(folder, fingerprint)
        try:
            yield opened
        finally:
            opened.close()


def cache_info(cache: Where) -> CacheInfo:
    """Return the contents of the cache."""
    folder = _folder_of(cache)
    if folder is None:
        return (MEMORY_CACHE if cache == "memory" else NO_CACHE).info()
    return folder_info(folder)


def prune_cache(cache: Where, max_bytes: int) -> None:
    """Shrink the cache to about ``max_bytes``."""
    folder = _folder_of(cache)
    if folder is not None:
        prune_folder(folder, max_bytes)
    elif cache == "memory":
        MEMORY_CACHE.prune(max_bytes)


def warn_if_forgotten(size: int) -> None:
    """Warn if the memory cache cannot keep the vectors of a call, which need ``size`` bytes."""
    if size > MEMORY_CACHE.max_bytes:
        warnings.warn(
            f"The vectors of this call need {size / 2**20:,.1f} MiB, and the memory cache keeps "
            f"{MEMORY_CACHE.max_bytes / 2**20:,.1f} MiB, so some are computed again the next time. Set "
            "cache to a folder, or use fewer sequences, layers or poolings.",
            stacklevel=stacklevel_of_user(),
        )


def _folder_of(cache: Where) -> Path | None:
    return None if cache is None or cache == "memory" else Path(cache).expanduser().absolute()
