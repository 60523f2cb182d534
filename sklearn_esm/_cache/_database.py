"""The SQLite database of one checkpoint's vectors, which may be damaged, refused or shared.

A damaged database is renamed. If the disk refuses, the estimators continue without a cache.
"""

from __future__ import annotations

import os
import sqlite3
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from sklearn_esm._cache import _claims
from sklearn_esm._cache._sqlite import is_locked, is_refusal

# increase the number if the format or the meaning of a pooling's name changes, or if earlier vectors
# were wrong; then add the former one to the obsolete suffixes
SUFFIX = ".v3.sqlite"
OBSOLETE_SUFFIXES = (".v1.sqlite", ".v2.sqlite")
SET_ASIDE = ".damaged"
# a number has 8 bytes of its key's digest, so that the index is small. Rows are appended in the order
# in which they are computed, so that a commit writes few pages
_VECTORS_TABLE = """
CREATE TABLE IF NOT EXISTS vectors (
    id INTEGER PRIMARY KEY, number INTEGER UNIQUE, checksum BLOB, vector BLOB
);
"""
# smaller pages are slower to read and waste more, larger ones make the index slower to write: each new
# vector changes one of its pages
_PAGE_BYTES = 16384
EMPTY_BYTES = 5 * _PAGE_BYTES  # of a database without vectors
_PAGE_CACHE_KIB = 16_384  # holds the index of a million vectors
_LOG_PAGES = 1024  # the log is merged when it is larger, so that pages of the index are merged rarely
_WAIT = 60.0  # seconds to wait for another process, whose transactions take milliseconds

_T = TypeVar("_T")


class Database:
    """A database that is opened at the first use, replaced if damaged, and given up if refused.

    Parameters
    ----------
    path : Path
        File of the database, created at the first use with its folder.
    """

    def __init__(self, path: Path) -> None:
        self.connection: sqlite3.Connection | None = None
        self._path = path
        self._opened: int | None = None  # inode of the open file
        self._refused = False

    def attempt(self, action: Callable[[sqlite3.Connection], _T], otherwise: _T) -> _T:
        """Run an action; retry once on a new database if the first one was damaged."""
        for _ in range(2):
            if self._refused:
                break
            try:
                if self.connection is None:
                    self._opened = self._inode()
                    self.connection = self._open()
                    self._opened = self._opened or self._inode()
                return action(self.connection)
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

    def close(self) -> None:
        """Close the database. The last connection merges the write-ahead log."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None

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
        aside = f"{self._path}{SET_ASIDE}"
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


def _connect(database: str, writable: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(
        database, timeout=_WAIT, isolation_level=None, check_same_thread=False, uri=not writable
    )
    try:
        connection.text_factory = bytes  # damage may turn a blob into text that is not UTF-8
        connection.execute(f"PRAGMA cache_size = -{_PAGE_CACHE_KIB}")
        if writable:
            connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
            if connection.execute("PRAGMA page_count").fetchone()[0] == 0:
                # pruning shrinks the file in place; in an existing file this would be a write
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
            # safe if the process is killed; a power failure loses only the last transactions
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.executescript(_VECTORS_TABLE + _claims.TABLE)
        else:
            connection.execute("SELECT count(*) FROM claims")
    except BaseException:
        connection.close()
        raise
    return connection
