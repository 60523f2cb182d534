"""Locks that stay usable in a forked process."""

from __future__ import annotations

import os
import threading


def fork_safe_lock() -> threading.Lock:
    """Return a lock that ``os.fork`` acquires, so that the data it guards are consistent in the child.

    Nested locks must be created innermost first, because a fork acquires the newest lock first.
    """
    lock = threading.Lock()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=lock.acquire,
            after_in_parent=lock.release,
            after_in_child=lock._at_fork_reinit,  # type: ignore[attr-defined]
        )
    return lock
