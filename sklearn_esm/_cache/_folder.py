"""The cache in a folder: one SQLite database for each checkpoint, shared by processes and restarts.

Nothing here is trusted: a vector counts only with its checksum, a database that SQLite finds damaged
is set aside, and where the disk refuses, the estimators go on without a cache.
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
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from sklearn_esm._cache._interface import CacheInfo, Key, Traffic

# the number changes with the format, with what a pooling's name means, or where a fault let wrong
# vectors in: 1 held some of checkpoints and torch settings that were misread
_SUFFIX = ".v2.sqlite"
_SET_ASIDE = ".damaged"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB, checksum BLOB);
CREATE TABLE IF NOT EXISTS claims (key BLOB PRIMARY KEY, owner BLOB, process INTEGER, until REAL);
"""
_PAGE_BYTES = 16384  # of SQLite's 4,096 a vector of 320 numbers would waste a third
_KEYS_PER_QUERY = 500
_WAIT = 60.0  # seconds for another process's transaction, which takes milliseconds
_LARGEST = 2**28  # bytes of one vector: a contact map may be more than SQLite takes in one place
_CLAIM_SECONDS = 120.0  # then others stop waiting for whoever computes, and do it themselves
# what SQLite says where the file is sound and the disk, its rights or another process are not
_REFUSALS = (
    "locked",
    "locking protocol",  # of network file systems
    "readonly",
    "disk i/o error",
    "is full",
    "unable to open",
    "access permission",
)

_traffic: dict[Path, Traffic] = {}
_T = TypeVar("_T")


class FolderCache:
    """The vectors of one checkpoint in a folder, open for the length of one call.

    Parameters
    ----------
    folder : Path
        Made at the first use.
    fingerprint : str
        Of the checkpoint.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.traffic = _traffic.setdefault(folder, Traffic())
        self._path = folder / f"{fingerprint}{_SUFFIX}"
        self._owner = uuid.uuid4().bytes
        self._connection: sqlite3.Connection | None = None
        self._opened: int | None = None  # the inode of the file that the connection is to
        self._refused = False
        self._lock = threading.Lock()  # joblib asks for work from threads of its own

    def get(self, keys: Sequence[Key]) -> list[np.ndarray | None]:
        """Return the vectors stored under the keys, or None."""
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
            with _transaction(database):
                database.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)

        self._attempt(store, None)

    def claim(self, keys: Sequence[Key]) -> list[bool]:
        """Grant what no other living process has claimed lately."""
        digests = [_digest(key) for key in keys]

        def claim(database: sqlite3.Connection) -> set[bytes]:
            with _transaction(database):  # nobody else claims between look and claim
                now = time.time()
                # a write in any case: to one without the right to it everything is granted
                database.execute(
                    "DELETE FROM claims WHERE until NOT BETWEEN ? AND ?", (now, now + _CLAIM_SECONDS)
                )
                taken = {
                    key
                    for key, owner, process in _rows(database, "key, owner, process", "claims", digests)
                    if owner != self._owner and _is_alive(process)
                }
                mine = [digest for digest in digests if digest not in taken]
                database.executemany(
                    "INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?)",
                    [(digest, self._owner, os.getpid(), now + _CLAIM_SECONDS) for digest in mine],
                )
                return set(mine)

        granted = self._attempt(claim, set(digests))
        return [digest in granted for digest in digests]

    def release(self, keys: Sequence[Key]) -> None:
        """Give claims back."""
        if not keys:
            return
        rows = [(_digest(key), self._owner) for key in keys]

        def release(database: sqlite3.Connection) -> None:
            with _transaction(database):
                database.executemany("DELETE FROM claims WHERE key = ? AND owner = ?", rows)

        self._attempt(release, None)

    def count(self) -> int:
        """How many vectors the database holds."""
        return self._attempt(
            lambda database: int(database.execute("SELECT count(*) FROM vectors").fetchone()[0]), 0
        )

    def keep_latest(self, vectors: int) -> None:
        """Remove all but the latest ``vectors``, and give their room back to the disk."""

        def shrink(database: sqlite3.Connection) -> None:
            with _transaction(database):
                database.execute(
                    "DELETE FROM vectors WHERE rowid <= "
                    "(SELECT rowid FROM vectors ORDER BY rowid DESC LIMIT 1 OFFSET ?)",
                    (vectors,),
                )
            database.execute("VACUUM")

        self._attempt(shrink, None)

    def close(self) -> None:
        """Close the database; the last one to close it merges its write-ahead log."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _attempt(self, action: Callable[[sqlite3.Connection], _T], otherwise: _T) -> _T:
        """Run an action, a second time on a new database where the first was damaged."""
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
                    if isinstance(error, OSError) or _is_refusal(error):
                        self._go_without(error)
                    else:
                        # TypeError: damage has turned a number of a row into something else;
                        # UnicodeDecodeError: SQLite quotes a damaged name in its message
                        self._set_aside(error)
            return otherwise

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        patience = time.monotonic() + _WAIT
        while True:
            try:
                return _connect(str(self._path), writable=True)
            except sqlite3.OperationalError as error:
                # SQLite itself does not wait where two processes make a database at the same time
                if "locked" in str(error):
                    if time.monotonic() < patience:
                        time.sleep(0.01)
                        continue
                elif _is_refusal(error):
                    # without the right to write, SQLite reads only what it is told nobody writes
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
            f"The cache {self._path} cannot be used ({error}), so vectors computed now are not kept. "
            "Make room or give the right to write there, or pass another folder.",
            stacklevel=2,
        )

    def _set_aside(self, error: Exception) -> None:
        if self._opened is None or self._opened != self._inode():
            return  # another process was faster
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
            f"The cache {self._path} is damaged ({error}). It was set aside as {aside}, and its vectors "
            "are computed again.",
            stacklevel=2,
        )


def folder_info(folder: Path) -> CacheInfo:
    """What the databases of a folder hold, for all checkpoints."""
    traffic = _traffic.setdefault(folder, Traffic())
    vectors = sum(_use(path, FolderCache.count) for path in _databases(folder))
    return CacheInfo(str(folder), traffic.hits, traffic.misses, vectors, _bytes(folder))


def prune_folder(folder: Path, max_bytes: int) -> None:
    """Remove vectors until the folder's databases take about ``max_bytes``.

    What was set aside as damaged goes first, then the vectors of the checkpoint whose cache was
    written to the longest ago, the oldest of them first. An empty database is left.
    """
    oldest_first = sorted((status.st_mtime, path) for path, status in _statuses(_databases(folder)))
    # before anything is measured: it merges a log that a killed process left, and sets damage aside
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
                return  # what is still too much is an error of estimation, not worth newer vectors


def _databases(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{_SUFFIX}"))


def _bytes(folder: Path) -> int:
    return sum(status.st_size for _, status in _statuses(folder.glob(f"*{_SUFFIX}*")))


def _statuses(paths: Iterable[Path]) -> Iterator[tuple[Path, os.stat_result]]:
    for path in paths:
        with suppress(FileNotFoundError):  # logs come and go with whoever has the database open
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
        connection.text_factory = bytes  # damage may turn a blob into text, which need not be UTF-8
        if writable:
            connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
            connection.execute("PRAGMA journal_mode = WAL")
            # safe against a kill at any moment; a loss of power loses the last transactions alone
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.executescript(_SCHEMA)
        else:
            connection.execute("SELECT count(*) FROM claims")
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    with database:  # rolls back, too, where an interrupt arrives just after the transaction began
        database.execute("BEGIN IMMEDIATE")
        yield


def _rows(
    database: sqlite3.Connection, columns: str, table: str, digests: Sequence[bytes]
) -> list[tuple[Any, ...]]:
    rows = []
    for start in range(0, len(digests), _KEYS_PER_QUERY):
        part = digests[start : start + _KEYS_PER_QUERY]
        marks = ",".join("?" * len(part))
        rows += database.execute(
            f"SELECT {columns} FROM {table} WHERE key IN ({marks})", part
        ).fetchall()
    return rows


def _sound_vectors(database: sqlite3.Connection, digests: Sequence[bytes]) -> dict[bytes, bytes]:
    return {
        key: vector
        for key, vector, checksum in _rows(database, "key, vector, checksum", "vectors", digests)
        if isinstance(vector, bytes) and checksum == _checksum(key, vector)
    }


def _digest(key: Key) -> bytes:
    # the fingerprint is the database's name
    text = f"{key.dtype} {key.layer} {key.pooling} {key.window} {key.sequence}"
    if key.masked:
        text += f" {key.masked}"
    return hashlib.blake2b(text.encode(), digest_size=32).digest()


def _checksum(digest: bytes, vector: bytes) -> bytes:
    return hashlib.blake2b(digest + vector, digest_size=16).digest()


def _is_refusal(error: Exception) -> bool:
    message = str(error).lower()
    return isinstance(error, sqlite3.OperationalError) and any(r in message for r in _REFUSALS)


def _is_alive(process: int) -> bool:
    if os.name == "nt":
        return True  # to ask there is to kill: the claim runs out by itself
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True  # somebody else's, or damage
    return True
