"""Stop a forward pass between two blocks when nobody waits for its result."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_of_thread = threading.local()


@contextmanager
def stopped_by(check: Callable[[], None]) -> Iterator[None]:
    """Call ``check`` before each block that this thread runs; it raises to stop the pass."""
    _of_thread.check = check
    try:
        yield
    finally:
        del _of_thread.check


def check_stop() -> None:
    """Raise what the thread's ``check`` raises, if it has one."""
    check = getattr(_of_thread, "check", None)
    if check is not None:
        check()
