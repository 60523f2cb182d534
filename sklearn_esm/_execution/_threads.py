"""Run batches side by side on a CPU, each in a thread that uses one core.

Two batches on one core each finish sooner than two batches in turn on both cores: there, at the end
of each operation one core waits for the other, and small operations are not divided at all. No batch
runs in the caller's thread, whose torch settings (autocast, default device) would change the result.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

from joblib import cpu_count

from sklearn_esm._background import Stop
from sklearn_esm._execution._pieces import Batch

T = TypeVar("T")

_QUEUED = 2  # batches for each thread, including the one that is running
_POLL = 0.1  # seconds between two checks whether the caller still waits


def torch_threads() -> int | None:
    """Return how many threads torch uses in the caller's thread; None if torch is not imported."""
    torch = sys.modules.get("torch")
    return None if torch is None else torch.get_num_threads()


def batches_at_a_time(device: str, threads: int | None) -> int:
    """Return how many batches run side by side: on a CPU one for each of torch's threads."""
    import torch

    # only a torch built on OpenMP can set the number of threads for one thread alone
    if device != "cpu" or not torch.backends.openmp.is_available():
        return 1
    return threads or torch.get_num_threads()


def run_side_by_side(
    run: Callable[[Batch], T], batches: Iterable[Batch], count: int, threads: int | None, stop: Stop
) -> Iterator[tuple[Batch, T]]:
    """Yield each batch and what ``run`` returns for it, as they finish, computed in ``count`` threads.

    A ``wide`` batch runs alone, with all ``threads`` of torch. After a stop, batches that are running
    are not waited for.
    """
    pool = None
    running: dict[Future[T], Batch] = {}
    try:
        for batch in batches:
            if batch.wide or count == 1:
                yield from _finished(running, 0, stop)
                running[_submit_wide(run, batch, threads)] = batch
                yield from _finished(running, 0 if batch.wide else 1, stop)
                continue
            pool = pool or _start_threads(count)
            running[pool.submit(run, batch)] = batch
            yield from _finished(running, _QUEUED * count, stop)
        yield from _finished(running, 0, stop)
    finally:
        for future in running:
            future.cancel()
        if not stop.requested:
            wait(running)
        if pool:
            pool.shutdown(wait=not stop.requested)


def run_alone(run: Callable[[Batch], T], batch: Batch) -> T:
    """Return ``run(batch)``, called in a thread of its own with every core that torch uses."""
    return _submit_wide(run, batch, torch_threads()).result()


def _finished(running: dict[Future[T], Batch], at_most: int, stop: Stop) -> Iterator[tuple[Batch, T]]:
    """Yield what is done, and wait until at most ``at_most`` batches are left."""
    error: BaseException | None = None
    while running:
        stop.check()
        waiting = error is not None or len(running) > at_most
        done = wait(running, _POLL if waiting else 0, FIRST_COMPLETED).done
        if not done and not waiting:
            break
        for future in done:
            batch = running.pop(future)
            if future.cancelled():
                continue
            failure = future.exception()
            if failure is None:
                yield batch, future.result()
                continue
            # other threads finish what they have begun, so that it is not lost
            error = error or failure
            for other in running:
                other.cancel()
    if error:
        raise error


def _start_threads(count: int) -> ThreadPoolExecutor:
    """Start threads in each of which torch uses one core."""
    import torch

    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(count, thread_name_prefix="sklearn-esm")
    started = threading.Barrier(count + 1)

    def use_one_core() -> None:
        _use_threads(1)
        started.wait()

    try:
        for _ in range(count):
            pool.submit(use_one_core)
        started.wait()
    except BaseException:  # a thread could not be started, so the others must not wait for it
        started.abort()
        pool.shutdown()
        raise
    # also the default of the user's later threads, so it is restored
    torch.set_num_threads(threads)
    return pool


def _submit_wide(run: Callable[[Batch], T], batch: Batch, threads: int | None) -> Future[T]:
    """Run a batch in a thread that is kept, because OpenMP starts new threads for each new thread."""

    def run_wide() -> T:
        # OpenMP's threads do not exist in a forked process, which would wait for them for ever
        _use_threads(1 if _forked else threads)
        return run(batch)

    return _wide.submit(run_wide)


def _use_threads(number: int | None) -> None:
    """Set how many threads torch uses in the calling thread; None leaves torch's choice."""
    import torch

    # get_num_threads also sets the thread up, which would undo set_num_threads later
    if number not in (None, torch.get_num_threads()):
        torch.set_num_threads(number)


@contextmanager
def take_cores() -> Iterator[None]:
    """Wait until as many cores are free as torch uses in this thread; more threads would be slower.

    Raises
    ------
    RuntimeError
        If this process was forked while its parent was running a forward pass.
    """
    import torch

    if _forked_during_a_pass:
        raise RuntimeError(
            "This process was forked while its parent was running an ESM model, so torch's locks may be "
            "held here for ever. Start processes with 'spawn' or 'forkserver', or use joblib's 'loky' "
            "backend."
        )
    number = min(torch.get_num_threads(), _cores.count)
    _cores.take(number)
    try:
        yield
    finally:
        _cores.release(number)


class _Cores:
    def __init__(self, count: int) -> None:
        self.count = self.free = count
        self._changed = threading.Condition()

    def take(self, number: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self.free >= number)
            self.free -= number

    def release(self, number: int) -> None:
        with self._changed:
            self.free += number
            self._changed.notify_all()


def _new_wide() -> ThreadPoolExecutor:
    # threads are started when all others are busy, and `take_cores` lets few run at a time
    return ThreadPoolExecutor(cpu_count(), thread_name_prefix="sklearn-esm-wide")


_cores = _Cores(cpu_count())
_wide = _new_wide()
_forked_during_a_pass = False
_forked = False


def _reset_in_child() -> None:
    # the threads that had taken cores do not exist in the child, so nobody would release them
    global _cores, _wide, _forked, _forked_during_a_pass
    _forked = True
    _forked_during_a_pass = _forked_during_a_pass or _cores.free < _cores.count
    _cores, _wide = _Cores(_cores.count), _new_wide()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_in_child)
