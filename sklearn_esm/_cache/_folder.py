"""The cache in a folder: one SQLite database per checkpoint, shared by processes and kept on the disk.

A vector is returned only if its checksum is right.
"""

from __future__ import annotations

import math
import sqlite3
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from sklearn_esm._cache import _claims
from sklearn_esm._cache._database import SUFFIX, Database
from sklearn_esm._cache._digests import checksum_of, digests_of, numbers_of
from sklearn_esm._cache._interface import Key, Traffic
from sklearn_esm._cache._sqlite import rows_of, transaction

_COMMIT_SECONDS = 1.0  # a kill loses the vectors of about this time
_COMMIT_BYTES = 2**25  # of the vectors that wait for a commit
_LARGEST = 2**28  # bytes of one vector, because SQLite limits a value and contact maps can be larger
_FLOAT = np.dtype("<f4")

_traffic: dict[Path, Traffic] = {}


class FolderCache:
    """The vectors of one checkpoint in a folder, open during one call.

    Vectors are committed about once a second, and at the end. Until then they wait in memory, where
    `get` finds them.

    Parameters
    ----------
    folder : Path
        Folder of the cache, created at the first use.
    fingerprint : str
        SHA-256 of the checkpoint.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.traffic = traffic_of(folder)
        self._database = Database(folder / f"{fingerprint}{SUFFIX}")
        self._owner = uuid.uuid4().bytes
        self._waiting: dict[bytes, bytes] = {}  # vectors to commit, by digest
        self._waiting_bytes = 0
        self._released: set[int] = set()  # claims to release in the same transaction
        self._committed = -math.inf  # time of the last commit
        self._lock = threading.Lock()  # joblib calls from several threads

    def get(self, keys: Sequence[Key]) -> list[np.ndarray | None]:
        """Return the vector of each key, or None."""
        digests = digests_of(keys)
        nothing: dict[bytes, bytes] = {}
        with self._lock:
            found = self._database.attempt(partial(_sound_vectors, digests=digests), nothing)
            if self._waiting:
                found |= {digest: self._waiting[digest] for digest in digests if digest in self._waiting}
        return [np.frombuffer(found[digest], _FLOAT) if digest in found else None for digest in digests]

    def put(self, vectors: Mapping[Key, np.ndarray], released: Sequence[Key] = ()) -> None:
        """Store vectors and release claims, in one transaction with others of about a second."""
        small = {key: vector for key, vector in vectors.items() if vector.nbytes <= _LARGEST}
        data = [vector.astype(_FLOAT, copy=False).tobytes() for vector in small.values()]
        digests, numbers = digests_of(small), numbers_of(digests_of(released))
        with self._lock:
            self._waiting.update(zip(digests, data, strict=True))
            self._waiting_bytes += sum(map(len, data))
            self._released.update(numbers)
            if (
                self._waiting_bytes >= _COMMIT_BYTES
                or time.monotonic() - self._committed >= _COMMIT_SECONDS
            ):
                self._commit()

    def claim(self, keys: Sequence[Key]) -> list[bool]:
        """Claim vectors, and return for each whether the claim was granted."""
        numbers = numbers_of(digests_of(keys))
        with self._lock:
            granted = self._database.attempt(
                partial(_claims.claim, owner=self._owner, numbers=numbers), set(numbers)
            )
            self._released -= granted
        return [number in granted for number in numbers]

    def release(self, keys: Sequence[Key]) -> None:
        """Release claims, and commit what waits, because the caller may wait for other processes now."""
        numbers = numbers_of(digests_of(keys))
        with self._lock:
            self._released.update(numbers)
            self._commit()

    def close(self) -> None:
        """Commit, and close the database."""
        with self._lock:
            try:
                self._commit()
            finally:
                self._database.close()

    def _commit(self) -> None:
        if not self._waiting and not self._released:
            return
        rows = [
            (number, checksum_of(digest, vector), vector)
            for number, (digest, vector) in zip(
                numbers_of(list(self._waiting)), self._waiting.items(), strict=True
            )
        ]

        def store(database: sqlite3.Connection) -> None:
            with transaction(database):
                database.executemany(
                    "INSERT OR REPLACE INTO vectors (number, checksum, vector) VALUES (?, ?, ?)", rows
                )
                _claims.release(database, self._owner, self._released)

        self._database.attempt(store, None)
        self._waiting = {}
        self._waiting_bytes = 0
        self._released = set()
        self._committed = time.monotonic()


def traffic_of(folder: Path) -> Traffic:
    """Return the numbers of hits and misses of this process in a folder."""
    return _traffic.setdefault(folder, Traffic())


def _sound_vectors(database: sqlite3.Connection, digests: Sequence[bytes]) -> dict[bytes, bytes]:
    digest_of = dict(zip(numbers_of(digests), digests, strict=True))
    found = {}
    for number, checksum, vector in rows_of(
        database, "number, checksum, vector", "vectors", list(digest_of)
    ):
        digest = digest_of.get(number, b"")  # a damaged row may have any number
        if isinstance(vector, bytes) and checksum == checksum_of(digest, vector):
            found[digest] = vector
    return found
