"""Run work in a background thread, which Ctrl-C cannot interrupt.

Python raises KeyboardInterrupt in the main thread only. The work of a transform claims cache entries,
holds locks and opens transactions, so it runs in a background thread. The caller's thread only waits
for results. An interrupt there requests a stop, and the background thread then releases its resources.
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
    """Raised in a background thread after its caller has stopped waiting."""


class Stop:
    """A request to stop, set by the caller's thread and checked by the working threads."""

    def __init__(self) -> None:
        self.requested = False

    def check(self) -> None:
        """Raise `StoppedError` if a stop was requested."""
        if self.requested:
            raise StoppedError


def iterate_in_background(produce: Callable[[Stop], Iterator[T]]) -> Iterator[T]:
    """Yield the items of ``produce(stop)``, which runs in a background thread.

    At most two items wait for the caller. Exceptions of the generator are raised here. If the caller
    stops iterating, the generator is closed in its thread. The caller waits for that, except after a
    KeyboardInterrupt.
    """
    # SimpleQueue is written in C, so an interrupt cannot leave its locks held
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
            # again, because a KeyboardInterrupt can interrupt the line above
            _request_stop(stop, wanted)
        if thread.is_alive() and not isinstance(sys.exc_info()[1], KeyboardInterrupt):
            thread.join()


def call_in_background(function: Callable[[Stop], T]) -> T:
    """Return ``function(stop)``, called in a background thread."""
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
            items.close()  # in this thread, not during garbage collection
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
