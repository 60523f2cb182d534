"""What the databases of a cache folder hold, and how they are made smaller."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from sklearn_esm._cache._database import EMPTY_BYTES, OBSOLETE_SUFFIXES, SET_ASIDE, SUFFIX, Database
from sklearn_esm._cache._folder import traffic_of
from sklearn_esm._cache._interface import CacheInfo
from sklearn_esm._cache._sqlite import transaction

# in one transaction, so that the log stays small beside the database
_ROWS_AT_A_TIME = 10_000
_PAGES_AT_A_TIME = 500

_T = TypeVar("_T")


def folder_info(folder: Path) -> CacheInfo:
    """Return the contents of a folder's databases, for all checkpoints.

    The size includes databases of earlier formats and damaged ones.
    """
    traffic = traffic_of(folder)
    vectors = sum(_use(path, _count) for path in _databases(folder))
    return CacheInfo(str(folder), traffic.hits, traffic.misses, vectors, _bytes(folder))


def prune_folder(folder: Path, max_bytes: int) -> None:
    """Remove vectors until the folder's databases have about ``max_bytes``.

    Databases of earlier formats and damaged ones are removed first. Then follow the vectors of the
    checkpoint whose cache was written least recently, the oldest first. An empty database remains.
    """
    oldest_first = sorted((status.st_mtime, path) for path, status in _statuses(_databases(folder)))
    # count before measuring, because it merges the log of a killed process and renames damaged databases
    counts = [(path, _use(path, _count)) for _, path in oldest_first]
    for path in _useless(folder):
        path.unlink(missing_ok=True)
    for path, vectors in counts:
        excess = _bytes(folder) - max_bytes
        if excess <= 0:
            return
        if vectors:
            filled = max(1, path.stat().st_size - EMPTY_BYTES)
            kept = max(0, int(vectors * (1 - excess / filled)))
            _use(path, partial(_keep_latest, vectors=kept))
            if kept:
                return  # the excess is an estimate, and an error is not worth newer vectors


def _databases(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{SUFFIX}"))


def _useless(folder: Path) -> list[Path]:
    """Return the files of damaged databases and of earlier formats."""
    patterns = [f"*{SUFFIX}{SET_ASIDE}*", *[f"*{suffix}*" for suffix in OBSOLETE_SUFFIXES]]
    return [path for pattern in patterns for path in folder.glob(pattern)]


def _bytes(folder: Path) -> int:
    files = {*folder.glob(f"*{SUFFIX}*"), *_useless(folder)}
    return sum(status.st_size for _, status in _statuses(files))


def _statuses(paths: Iterable[Path]) -> Iterator[tuple[Path, os.stat_result]]:
    for path in paths:
        with suppress(FileNotFoundError):  # another process may close a database and remove its log
            yield path, path.stat()


def _use(path: Path, action: Callable[[sqlite3.Connection], int]) -> int:
    database = Database(path)
    try:
        return database.attempt(action, 0)
    finally:
        database.close()


def _count(database: sqlite3.Connection) -> int:
    """Return the number of vectors in the database."""
    return int(database.execute("SELECT count(*) FROM vectors").fetchone()[0])


def _keep_latest(database: sqlite3.Connection, vectors: int) -> int:
    """Remove all but the latest ``vectors``, shrink the file in place, and return how many are left.

    The file is never copied: its last pages are moved into free ones, some at a time.
    """
    last = database.execute(
        "SELECT id FROM vectors ORDER BY id DESC LIMIT 1 OFFSET ?", (vectors,)
    ).fetchone()
    if last:
        (first,) = database.execute("SELECT min(id) FROM vectors").fetchone()
        for start in range(first, last[0] + 1, _ROWS_AT_A_TIME):
            stop = min(start + _ROWS_AT_A_TIME, last[0] + 1)
            with transaction(database):
                database.execute("DELETE FROM vectors WHERE id >= ? AND id < ?", (start, stop))
    free, before = _free_pages(database), None
    while free and free != before:
        # one page for each row of the result
        database.execute(f"PRAGMA incremental_vacuum({_PAGES_AT_A_TIME})").fetchall()
        free, before = _free_pages(database), free
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return _count(database)


def _free_pages(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA freelist_count").fetchone()[0])
