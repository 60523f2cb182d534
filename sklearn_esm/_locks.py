"""Locks that a forked process can use, whatever the threads of its parent were doing."""

from __future__ import annotations

import os
import threading


def fork_safe_lock() -> threading.Lock:
    """Return a lock that a fork waits for, so that what it guards is whole in the child.

    Locks that are taken one inside the other must be made in the opposite order: a fork takes the
    latest first.
    """
    lock = threading.Lock()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=lock.acquire,
            after_in_parent=lock.release,
            after_in_child=lock._at_fork_reinit,  # type: ignore[attr-defined]
        )
    return lock
