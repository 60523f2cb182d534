"""The cache in a folder: one SQLite database per checkpoint, shared by processes and kept on the disk.

A vector is returned only if its checksum is right. A damaged database is renamed. If the disk refuses,
the estimators continue without a cache.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from sklearn_esm._cache import _claims
from sklearn_esm._cache._interface import CacheInfo, Key, Traffic
from sklearn_esm._cache._sqlite import is_locked, is_refusal, rows_of, transaction

# increase the number if the format or the meaning of a pooling's name changes, or if earlier vectors
# were wrong: caches of version 1 held vectors of misread checkpoints and torch settings
_SUFFIX = ".v2.sqlite"
_SET_ASIDE = ".damaged"
_VECTORS_TABLE = """
CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB, checksum BLOB);
"""
_PAGE_BYTES = 16384  # with SQLite's default of 4,096, a vector of 320 numbers would waste a third
_WAIT = 60.0  # seconds to wait for another process, whose transactions take milliseconds
_LARGEST = 2**28  # bytes of one vector, because SQLite limits a value and contact maps can be larger

_traffic: dict[Path, Traffic] = {}
_T = TypeVar("_T")


class FolderCache:
    """The vectors of one checkpoint in a folder, open during one call.

    Parameters
    ----------
    folder : Path
        Folder of the cache, created at the first use.
    fingerprint : str
        SHA-256 of the checkpoint.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.traffic = _traffic.setdefault(folder, Traffic())
        self._path = folder / f"{fingerprint}{_SUFFIX}"
        self._owner = uuid.uuid4().bytes
        self._connection: sqlite3.Connection | None = None
        self._opened: int | None = None  # inode of the open file
        self._refused = False
        self._lock = threading.Lock()  # joblib calls from several threads

    def get(self, keys: Sequence[Key]) -> list[np.ndarray | None]:
        """Return the vector of each key, or None."""
        digests = [_digest(key) for key in keys]
        nothing: dict[bytes, bytes] = {}
        found = self._attempt(lambda database: _sound_vectors(database, digests), nothing)
        return [
            np.frombuffer(found[digest], dtype="<f4") if digest in found else None for digest in digests
        ]

    def put(self, vectors: Mapping[Key, np.ndarray]) -> None:
        """Store vectors in one transaction."""
        rows = []
        for key, vector in vectors.items():
            if vector.nbytes <= _LARGEST:
                digest, data = _digest(key), vector.astype("<f4").tobytes()
                rows.append((digest, data, _checksum(digest, data)))

        def store(database: sqlite3.Connection) -> None:
            with transaction(database):
                database.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)

        self._attempt(store, None)

    def claim(self, keys: Sequence[Key]) -> list[bool]:
        """Claim vectors, and return for each whether the claim was granted."""
        digests = [_digest(key) for key in keys]
        granted = self._attempt(
            lambda database: _claims.claim(database, self._owner, digests), set(digests)
        )
        return [digest in granted for digest in digests]

    def release(self, keys: Sequence[Key]) -> None:
        """Release claims."""
        digests = [_digest(key) for key in keys]
        if digests:
            self._attempt(lambda database: _claims.release(database, self._owner, digests), None)

    def count(self) -> int:
        """Return the number of vectors in the database."""
        return self._attempt(
            lambda database: int(database.execute("SELECT count(*) FROM vectors").fetchone()[0]), 0
        )

    def keep_latest(self, vectors: int) -> None:
        """Remove all but the latest ``vectors``, and shrink the file."""

        def shrink(database: sqlite3.Connection) -> None:
            with transaction(database):
                database.execute(
                    "DELETE FROM vectors WHERE rowid <= "
                    "(SELECT rowid FROM vectors ORDER BY rowid DESC LIMIT 1 OFFSET ?)",
                    (vectors,),
                )
            database.execute("VACUUM")

        self._attempt(shrink, None)

    def close(self) -> None:
        """Close the database. The last connection merges the write-ahead log."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _attempt(self, action: Callable[[sqlite3.Connection], _T], otherwise: _T) -> _T:
        """Run an action; retry once on a new database if the first one was damaged."""
        with self._lock:
            for _ in range(2):
                if self._refused:
                    break
                try:
                    if self._connection is None:
                        self._opened = self._inode()
                        self._connection = self._open()
                        self._opened = self._opened or self._inode()
                    return action(self._connection)
                except (sqlite3.Error, OSError, TypeError, UnicodeDecodeError) as error:
                    self.close()
                    refused = isinstance(error, sqlite3.Error) and is_refusal(error)
                    if refused or isinstance(error, OSError):
                        self._go_without(error)
                    else:
                        # TypeError: damage changed the type of a number in a row
                        # UnicodeDecodeError: SQLite's message quotes a damaged name
                        self._set_aside(error)
            return otherwise

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        patience = time.monotonic() + _WAIT
        while True:
            try:
                return _connect(str(self._path), writable=True)
            except sqlite3.OperationalError as error:
                # SQLite does not wait if two processes create a database at the same time
                if is_locked(error):
                    if time.monotonic() < patience:
                        time.sleep(0.01)
                        continue
                elif is_refusal(error):
                    # without write permission, SQLite reads a file only if it is declared immutable
                    with suppress(sqlite3.Error):
                        return _connect(f"{self._path.as_uri()}?immutable=1", writable=False)
                raise

    def _inode(self) -> int | None:
        try:
            return self._path.stat().st_ino
        except OSError:
            return None

    def _go_without(self, error: Exception) -> None:
        self._refused = True
        warnings.warn(
            f"The cache {self._path} cannot be used ({error}), so new vectors are not kept. "
            "Free space or give write permission there, or pass another folder.",
            stacklevel=2,
        )

    def _set_aside(self, error: Exception) -> None:
        if self._opened is None or self._opened != self._inode():
            return  # another process renamed it first
        aside = f"{self._path}{_SET_ASIDE}"
        try:
            os.replace(self._path, aside)
            for extra in ("-wal", "-shm"):
                if os.path.exists(f"{self._path}{extra}"):
                    os.replace(f"{self._path}{extra}", f"{aside}{extra}")
        except OSError as refusal:
            self._go_without(refusal)
            return
        warnings.warn(
            f"The cache {self._path} is damaged ({error}). It was renamed to {aside}, and its vectors "
            "are computed again.",
            stacklevel=2,
        )


def folder_info(folder: Path) -> CacheInfo:
    """Return the contents of a folder's databases, for all checkpoints."""
    traffic = _traffic.setdefault(folder, Traffic())
    vectors = sum(_use(path, FolderCache.count) for path in _databases(folder))
    return CacheInfo(str(folder), traffic.hits, traffic.misses, vectors, _bytes(folder))


def prune_folder(folder: Path, max_bytes: int) -> None:
    """Remove vectors until the folder's databases have about ``max_bytes``.

    Damaged databases are removed first. Then follow the vectors of the checkpoint whose cache was
    written least recently, the oldest first. An empty database remains.
    """
    oldest_first = sorted((status.st_mtime, path) for path, status in _statuses(_databases(folder)))
    # count before measuring, because it merges the log of a killed process and renames damaged databases
    counts = [(path, _use(path, FolderCache.count)) for _, path in oldest_first]
    for path in folder.glob(f"*{_SUFFIX}{_SET_ASIDE}*"):
        path.unlink(missing_ok=True)
    for path, vectors in counts:
        excess = _bytes(folder) - max_bytes
        if excess <= 0:
            return
        if vectors:
            kept = max(0, int(vectors * (1 - excess / path.stat().st_size)))
            _use(path, partial(FolderCache.keep_latest, vectors=kept))
            if kept:
                return  # the excess is an estimate, and an error is not worth newer vectors


def _databases(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{_SUFFIX}"))


def _bytes(folder: Path) -> int:
    return sum(status.st_size for _, status in _statuses(folder.glob(f"*{_SUFFIX}*")))


def _statuses(paths: Iterable[Path]) -> Iterator[tuple[Path, os.stat_result]]:
    for path in paths:
        with suppress(FileNotFoundError):  # another process may close a database and remove its log
            yield path, path.stat()


def _use(path: Path, action: Callable[[FolderCache], _T]) -> _T:
    cache = FolderCache(path.parent, path.name.removesuffix(_SUFFIX))
    try:
        return action(cache)
    finally:
        cache.close()


def _connect(database: str, writable: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(
        database, timeout=_WAIT, isolation_level=None, check_same_thread=False, uri=not writable
    )
    try:
        connection.text_factory = bytes  # damage may turn a blob into text that is not UTF-8
        if writable:
            connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
            connection.execute("PRAGMA journal_mode = WAL")
            # safe if the process is killed; a power failure loses only the last transactions
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.executescript(_VECTORS_TABLE + _claims.TABLE)
        else:
            connection.execute("SELECT count(*) FROM claims")
    except BaseException:
        connection.close()
        raise
    return connection


def _sound_vectors(database: sqlite3.Connection, digests: Sequence[bytes]) -> dict[bytes, bytes]:
    return {
        key: vector
        for key, vector, checksum in rows_of(database, "key, vector, checksum", "vectors", digests)
        if isinstance(vector, bytes) and checksum == _checksum(key, vector)
    }


def _digest(key: Key) -> bytes:
    # without the fingerprint, which is in the name of the database
    text = f"{key.dtype} {key.layer} {key.pooling} {key.window} {key.sequence}"
    if key.masked:
        text += f" {key.masked}"
    return hashlib.blake2b(text.encode(), digest_size=32).digest()


def _checksum(digest: bytes, vector: bytes) -> bytes:
    return hashlib.blake2b(digest + vector, digest_size=16).digest()
