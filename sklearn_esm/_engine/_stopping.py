"""Stop a forward pass between two blocks if its result is no longer needed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_of_thread = threading.local()


@contextmanager
def stopped_by(check: Callable[[], None]) -> Iterator[None]:
    """Call ``check`` before each block that this thread runs. It raises to stop the pass."""
    _of_thread.check = check
    try:
        yield
    finally:
        del _of_thread.check


def check_stop() -> None:
    """Call the ``check`` of this thread, if any."""
    check = getattr(_of_thread, "check", None)
    if check is not None:
        check()
