"""Forward passes side by side on a CPU, each in a thread of its own with one core to itself.

Two batches on a core each are done sooner than two batches in turn on both cores: there, each
operation ends with one core waiting for the other, and small ones are not divided at all. No pass
runs in the caller's thread, whose torch settings (autocast, default device) would change the result.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from joblib import cpu_count

from sklearn_esm._background import Stop

if TYPE_CHECKING:
    from sklearn_esm._engine import Unit

T = TypeVar("T")

_AHEAD = 2  # units for each lane, the one it works on among them
_POLL = 0.1  # seconds between two looks at whether the caller still waits


def torch_threads() -> int | None:
    """Return how many threads torch uses in the caller's thread; None if torch is not imported."""
    torch = sys.modules.get("torch")
    return None if torch is None else torch.get_num_threads()


def lanes(device: str, threads: int | None) -> int:
    """Return how many units run at a time: on a CPU one for each of torch's threads."""
    import torch

    # a number of threads can be set for one thread alone only where torch is built on OpenMP
    if device != "cpu" or not torch.backends.openmp.is_available():
        return 1
    return threads or torch.get_num_threads()


def side_by_side(
    run: Callable[[Unit], T], units: Iterable[Unit], count: int, threads: int | None, stop: Stop
) -> Iterator[tuple[Unit, T]]:
    """Yield each unit and what ``run`` returns for it, as they are done, computed in ``count`` lanes.

    A unit that is ``wide`` runs alone, with all ``threads`` of torch. If the caller has stopped, units
    that are running are not waited for.
    """
    pool = None
    running: dict[Future[T], Unit] = {}
    try:
        for unit in units:
            if unit.wide or count == 1:
                yield from _finished(running, 0, stop)
                running[_submit_wide(run, unit, threads)] = unit
                yield from _finished(running, 0 if unit.wide else 1, stop)
                continue
            pool = pool or _open_lanes(count)
            running[pool.submit(run, unit)] = unit
            yield from _finished(running, _AHEAD * count, stop)
        yield from _finished(running, 0, stop)
    finally:
        for future in running:
            future.cancel()
        if not stop.requested:
            wait(running)
        if pool:
            pool.shutdown(wait=not stop.requested)


def run_alone(run: Callable[[Unit], T], unit: Unit) -> T:
    """Return ``run(unit)``, called in a thread of its own with every core torch uses."""
    return _submit_wide(run, unit, torch_threads()).result()


def _finished(running: dict[Future[T], Unit], at_most: int, stop: Stop) -> Iterator[tuple[Unit, T]]:
    """Yield what is done by now, and wait for more until no more than ``at_most`` are left."""
    error: BaseException | None = None
    while running:
        stop.check()
        waiting = error is not None or len(running) > at_most
        done = wait(running, _POLL if waiting else 0, FIRST_COMPLETED).done
        if not done and not waiting:
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
    """Start threads with one thread of torch each."""
    import torch

    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(count, thread_name_prefix="sklearn-esm")
    begun = threading.Barrier(count + 1)

    def narrow() -> None:
        _use_threads(1)
        begun.wait()

    try:
        for _ in range(count):
            pool.submit(narrow)
        begun.wait()
    except BaseException:  # no thread can be started: nobody must wait for the others
        begun.abort()
        pool.shutdown()
        raise
    # it set what threads of the user's that begin later get, too: put that back
    torch.set_num_threads(threads)
    return pool


def _submit_wide(run: Callable[[Unit], T], unit: Unit, threads: int | None) -> Future[T]:
    """Run a unit in a thread that is kept, because OpenMP starts threads anew for each new thread."""

    def run_wide() -> T:
        # OpenMP's threads do not exist in a forked process, and more than one would wait for them
        _use_threads(1 if _forked else threads)
        return run(unit)

    return _wide.submit(run_wide)


def _use_threads(number: int | None) -> None:
    """Have torch use so many threads in the thread that calls; None is torch's own choice."""
    import torch

    # get_num_threads also sets the thread up, which would undo set_num_threads later
    if number not in (None, torch.get_num_threads()):
        torch.set_num_threads(number)


@contextmanager
def cores_taken() -> Iterator[None]:
    """Wait until as many cores are free as torch has threads here; more at a time would be slower.

    Raises
    ------
    RuntimeError
        If this process was forked while its parent was running a forward pass.
    """
    import torch

    if _forked_during_a_pass:
        raise RuntimeError(
            "This process was forked while a thread of its parent was running an ESM model, so torch's "
            "locks may be held for ever here. Start processes with 'spawn' or 'forkserver', or use "
            "joblib's 'loky' backend."
        )
    number = min(torch.get_num_threads(), _cores.count)
    _cores.take(number)
    try:
        yield
    finally:
        _cores.give_back(number)


class _Cores:
    def __init__(self, count: int) -> None:
        self.count = self.free = count
        self._changed = threading.Condition()

    def take(self, number: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self.free >= number)
            self.free -= number

    def give_back(self, number: int) -> None:
        with self._changed:
            self.free += number
            self._changed.notify_all()


def _new_wide() -> ThreadPoolExecutor:
    # threads are started when all others are busy: `cores_taken` lets few run at a time
    return ThreadPoolExecutor(cpu_count(), thread_name_prefix="sklearn-esm-wide")


_cores = _Cores(cpu_count())
_wide = _new_wide()
_forked_during_a_pass = False
_forked = False


def _begin_anew_in_child() -> None:
    # the threads that had taken cores do not exist in the child, and will not give them back
    global _cores, _wide, _forked, _forked_during_a_pass
    _forked = True
    _forked_during_a_pass = _forked_during_a_pass or _cores.free < _cores.count
    _cores, _wide = _Cores(_cores.count), _new_wide()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew_in_child)
