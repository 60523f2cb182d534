"""Helpers for SQLite: transactions, queries by number, and kinds of errors."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

_NUMBERS_PER_QUERY = 500
_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
# the file is sound, but the disk, the permissions or another process refuse
_REFUSALS = (
    *_LOCKED,
    sqlite3.SQLITE_PROTOCOL,  # locks on network file systems
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
)


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """Run statements in one transaction, which is rolled back after an exception."""
    with database:  # also rolls back after an interrupt between BEGIN and the first statement
        database.execute("BEGIN IMMEDIATE")
        yield


def rows_of(
    database: sqlite3.Connection, columns: str, table: str, numbers: Sequence[int]
) -> list[tuple[Any, ...]]:
    """Return columns of the rows with one of the numbers."""
    rows = []
    for start in range(0, len(numbers), _NUMBERS_PER_QUERY):
        part = numbers[start : start + _NUMBERS_PER_QUERY]
        marks = ",".join("?" * len(part))
        rows += database.execute(
            f"SELECT {columns} FROM {table} WHERE number IN ({marks})", part
        ).fetchall()
    return rows


def is_locked(error: sqlite3.Error) -> bool:
    """Return whether another connection holds a lock."""
    return _primary_code(error) in _LOCKED


def is_refusal(error: sqlite3.Error) -> bool:
    """Return whether the system refused an operation, and the database is not damaged."""
    return _primary_code(error) in _REFUSALS


def _primary_code(error: sqlite3.Error) -> int | None:
    # errors that Python itself raises have no code; the low byte of an extended code is the primary one
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
