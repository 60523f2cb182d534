"""Claims in the folder cache: which process computes which vector."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Collection, Sequence

from sklearn_esm._cache._sqlite import rows_of, transaction

TABLE = """
CREATE TABLE IF NOT EXISTS claims (
    number INTEGER PRIMARY KEY, owner BLOB, process INTEGER, until REAL
);
"""
_CLAIM_SECONDS = 120.0  # then others stop waiting and compute the vector themselves


def claim(database: sqlite3.Connection, owner: bytes, numbers: Sequence[int]) -> set[int]:
    """Claim the numbers that no other living process has claimed within ``_CLAIM_SECONDS``.

    Returns
    -------
    set of int
        The granted numbers.
    """
    with transaction(database):  # no other process can claim between the query and the insert
        now = time.time()
        # always a write, so that a read-only database raises an error and every claim is granted
        database.execute(
            "DELETE FROM claims WHERE until NOT BETWEEN ? AND ?", (now, now + _CLAIM_SECONDS)
        )
        taken = {
            number
            for number, other, process in rows_of(database, "number, owner, process", "claims", numbers)
            if other != owner and _is_alive(process)
        }
        granted = set(numbers) - taken
        database.executemany(
            "INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?)",
            [(number, owner, os.getpid(), now + _CLAIM_SECONDS) for number in granted],
        )
        return granted


def release(database: sqlite3.Connection, owner: bytes, numbers: Collection[int]) -> None:
    """Remove the owner's claims on the numbers, in the transaction of the caller."""
    database.executemany(
        "DELETE FROM claims WHERE number = ? AND owner = ?", [(number, owner) for number in numbers]
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
