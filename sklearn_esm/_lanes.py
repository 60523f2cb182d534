"""Forward passes side by side on a processor, each in a thread of its own with one core to itself.

Two batches on a core each are done sooner than two batches in turn on both cores: there, each
operation ends with one core waiting for the other, and small ones are not divided at all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from joblib import cpu_count

if TYPE_CHECKING:
    from sklearn_esm.engine import Unit

T = TypeVar("T")

_AHEAD = 2  # units for each lane, the one it works on among them


def lanes(device: str) -> int:
    """How many units run at a time in this process: one for each of torch's threads on a processor."""
    import torch

    # a number of threads can be set for one thread alone only where torch is built on OpenMP
    if device != "cpu" or not torch.backends.openmp.is_available():
        return 1
    return torch.get_num_threads()


def side_by_side(
    run: Callable[[Unit], T], units: Iterable[Unit], count: int
) -> Iterator[tuple[Unit, T]]:
    """Each unit and what ``run`` returns for it, as they are done, computed in ``count`` lanes.

    A unit that is ``wide`` runs in the caller's thread instead, with every core, and so does all
    where there is one lane.
    """
    pool = None
    running: dict[Future[T], Unit] = {}
    try:
        for unit in units:
            if unit.wide or count == 1:
                yield from _finished(running, 0)
                yield unit, run(unit)
                continue
            pool = pool or _open_lanes(count)
            running[pool.submit(run, unit)] = unit
            yield from _finished(running, _AHEAD * count)
        yield from _finished(running, 0)
    finally:
        if pool:
            pool.shutdown(cancel_futures=True)


def _finished(running: dict[Future[T], Unit], at_most: int) -> Iterator[tuple[Unit, T]]:
    """What is done by now, and what more is waited for until no more than ``at_most`` are left."""
    error: BaseException | None = None
    while running:
        waiting = error is not None or len(running) > at_most
        done = wait(running, None if waiting else 0, FIRST_COMPLETED).done
        if not done:
            break
        for future in done:
            unit = running.pop(future)
            if future.cancelled():
                continue
            failure = future.exception()
            if failure is None:
                yield unit, future.result()
                continue
            # what the other lanes have begun is finished first, so that it is not lost
            error = error or failure
            for other in running:
                other.cancel()
    if error:
        raise error


def _open_lanes(count: int) -> ThreadPoolExecutor:
    import torch

    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(count, thread_name_prefix="sklearn-esm")
    begun = threading.Barrier(count + 1)

    def narrow() -> None:
        torch.get_num_threads()  # sets the thread up, which would undo the next line later
        torch.set_num_threads(1)
        begun.wait()

    try:
        for _ in range(count):
            pool.submit(narrow)
        begun.wait()
    except BaseException:  # an interrupt, or no thread to be had: nobody must wait for the others
        begun.abort()
        pool.shutdown()
        raise
    # it set what threads of the user's that begin later get, too: put that back
    torch.set_num_threads(threads)
    return pool


@contextmanager
def cores_taken() -> Iterator[None]:
    """Wait until as many cores are free as torch has threads here; more at a time would be slower."""
    import torch

    cores = _cores()
    number = min(torch.get_num_threads(), cores.count)
    cores.take(number)
    try:
        yield
    finally:
        cores.give_back(number)


class _Cores:
    def __init__(self, count: int) -> None:
        self.count = self._free = count
        self._changed = threading.Condition()

    def take(self, number: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._free >= number)
            self._free -= number

    def give_back(self, number: int) -> None:
        with self._changed:
            self._free += number
            self._changed.notify_all()


@cache
def _cores() -> _Cores:
    return _Cores(cpu_count())
