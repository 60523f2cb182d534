"""Run work in a thread of its own, where Ctrl-C cannot interrupt it halfway.

Python raises KeyboardInterrupt in the main thread only. The work behind a transform claims cache
entries, holds locks and opens transactions. It runs in a background thread, and the caller's thread
only waits for results: an interrupt there stops the work, which then releases what it holds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")

_WAKE_UP = 1.0  # seconds; Windows delivers Ctrl-C between two waits, not during one
_ITEM, _ERROR, _END = range(3)


class StoppedError(Exception):
    """Raised in a background thread whose caller no longer waits for results."""


class Stop:
    """A request to stop, made by the caller's thread and checked by the threads that work for it."""

    def __init__(self) -> None:
        self.requested = False

    def check(self) -> None:
        """Raise `StoppedError` if the caller no longer waits."""
        if self.requested:
            raise StoppedError


def iterate_in_background(produce: Callable[[Stop], Iterator[T]]) -> Iterator[T]:
    """Yield the items of ``produce(stop)``, which runs in a thread of its own.

    At most two items wait for the caller. An exception of the generator is raised here. When the
    caller stops iterating, the generator is closed in its thread. After a KeyboardInterrupt the
    caller does not wait for that.
    """
    # SimpleQueue is written in C: an interrupt cannot leave one of its locks held
    ready: SimpleQueue[tuple[int, Any]] = SimpleQueue()
    wanted: SimpleQueue[None] = SimpleQueue()  # one token for each item that may be put
    stop = Stop()
    thread = Thread(target=_produce, args=(produce, stop, ready, wanted), name="sklearn-esm")
    try:
        thread.start()
        wanted.put(None)
        while True:
            wanted.put(None)
            kind, value = _next(ready)
            if kind == _END:
                break
            if kind == _ERROR:
                raise value
            yield value
    finally:
        try:
            _request_stop(stop, wanted)
        finally:
            # once more, because a KeyboardInterrupt may have struck in the line above
            _request_stop(stop, wanted)
        if thread.is_alive() and not isinstance(sys.exc_info()[1], KeyboardInterrupt):
            thread.join()


def call_in_background(function: Callable[[Stop], T]) -> T:
    """Return ``function(stop)``, called in a thread of its own."""
    (result,) = iterate_in_background(lambda stop: (function(stop) for _ in range(1)))
    return result


def _produce(
    produce: Callable[[Stop], Iterator[T]],
    stop: Stop,
    ready: SimpleQueue[tuple[int, Any]],
    wanted: SimpleQueue[None],
) -> None:
    try:
        items: Any = produce(stop)
        try:
            for item in items:
                wanted.get()
                if stop.requested:
                    break
                ready.put((_ITEM, item))
        finally:
            items.close()  # here, not whenever the generator is garbage-collected
    except BaseException as error:
        ready.put((_ERROR, error))
    else:
        ready.put((_END, None))


def _next(ready: SimpleQueue[tuple[int, Any]]) -> tuple[int, Any]:
    while True:
        try:
            return ready.get(timeout=_WAKE_UP)
        except Empty:
            continue


def _request_stop(stop: Stop, wanted: SimpleQueue[None]) -> None:
    stop.requested = True
    wanted.put(None)  # wakes the thread if it waits for the caller
