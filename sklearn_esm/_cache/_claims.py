"""Claims in the folder cache: which process computes which vector."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Sequence

from sklearn_esm._cache._sqlite import rows_of, transaction

TABLE = """
CREATE TABLE IF NOT EXISTS claims (key BLOB PRIMARY KEY, owner BLOB, process INTEGER, until REAL);
"""
_CLAIM_SECONDS = 120.0  # then others stop waiting and compute the vector themselves


def claim(database: sqlite3.Connection, owner: bytes, keys: Sequence[bytes]) -> set[bytes]:
    """Claim the keys that no other living process has claimed within ``_CLAIM_SECONDS``.

    Returns
    -------
    set of bytes
        The granted keys.
    """
    with transaction(database):  # no other process can claim between the query and the insert
        now = time.time()
        # always a write, so that a read-only database raises an error and every claim is granted
        database.execute(
            "DELETE FROM claims WHERE until NOT BETWEEN ? AND ?", (now, now + _CLAIM_SECONDS)
        )
        taken = {
            key
            for key, other, process in rows_of(database, "key, owner, process", "claims", keys)
            if other != owner and _is_alive(process)
        }
        granted = set(keys) - taken
        database.executemany(
            "INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?)",
            [(key, owner, os.getpid(), now + _CLAIM_SECONDS) for key in granted],
        )
        return granted


def release(database: sqlite3.Connection, owner: bytes, keys: Sequence[bytes]) -> None:
    """Remove the owner's claims on the keys."""
    with transaction(database):
        database.executemany(
            "DELETE FROM claims WHERE key = ? AND owner = ?", [(key, owner) for key in keys]
        )


def _is_alive(process: int) -> bool:
    if os.name == "nt":
        return True  # os.kill would end the process there; the claim expires instead
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True  # a process of another user, or a damaged number
    return True
