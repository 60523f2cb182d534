"""Run units of sequences through the model, in threads of this process or in joblib's workers."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from joblib import effective_n_jobs
from sklearn.utils.parallel import Parallel, delayed

from sklearn_esm._background import Stop
from sklearn_esm._checkpoints._fingerprint import Identity, identify
from sklearn_esm._checkpoints._locate import find_checkpoint
from sklearn_esm._execution._models import loaded_model, resolve_device
from sklearn_esm._execution._out_of_memory import within_memory
from sklearn_esm._execution._outputs import Result
from sklearn_esm._execution._request import Request
from sklearn_esm._execution._threads import cores_taken, lanes, run_alone, side_by_side, torch_threads

if TYPE_CHECKING:
    from sklearn_esm._engine import Unit

_DAMAGED = "The weights are damaged: download or copy the checkpoint again."
_WIDER = {
    "float32": _DAMAGED,
    "int8": _DAMAGED,
    "bfloat16": "Pass dtype='float32'.",
    "float16": "Pass dtype='bfloat16' or 'float32', which reach further.",
}


class Workers:
    """What runs the units of a request: threads of this process, or joblib's workers.

    Made in the caller's thread, because joblib's contexts and torch's thread counts are kept by thread.

    Parameters
    ----------
    n_jobs : int or None
        As joblib reads it.
    """

    def __init__(self, n_jobs: int | None) -> None:
        self._threads = torch_threads()
        self._count = 1 if _inside_dask() else effective_n_jobs(n_jobs)
        self._parallel: Any = None
        self._returns_lists = False
        if self._count > 1:
            try:
                self._parallel = Parallel(n_jobs=n_jobs, return_as="generator")
            except ValueError:  # multiprocessing and Ray return lists only
                self._parallel = Parallel(n_jobs=n_jobs)
                self._returns_lists = True

    @property
    def elsewhere(self) -> bool:
        """Whether joblib's workers run the units, and call the user's functions there."""
        return self._parallel is not None

    def lanes(self, request: Request) -> int:
        """Return how many units run at a time in this process."""
        return lanes(request.planned_device(), self._threads)

    def run(
        self, request: Request, units: Iterable[Unit], stop: Stop
    ) -> Iterator[tuple[Unit, list[Result]]]:
        """Yield each unit with its results as they are done."""
        if self._parallel is None:
            run = partial(_run_here, request, stop)
            yield from side_by_side(run, units, self.lanes(request), self._threads, stop)
            return
        handed_out: deque[Unit] = deque()

        def tasks() -> Iterator[Any]:
            for unit in units:
                handed_out.append(unit)
                yield delayed(_run_in_worker)(request, unit)

        for results in self._in_order(tasks()):
            stop.check()
            yield handed_out.popleft(), results

    def _in_order(self, tasks: Iterator[Any]) -> Iterator[list[Result]]:
        if not self._returns_lists:
            yield from self._parallel(tasks)
            return
        with self._parallel as parallel:
            while some := list(islice(tasks, 4 * self._count)):  # a few at a time, so that none waits
                yield from parallel(some)


def _inside_dask() -> bool:
    """Whether this is a task of Dask, to which any ``n_jobs`` but 1 means the whole cluster.

    From there nothing is handed on: all the workers could end up waiting for vectors that one task
    has claimed, and none would be left to compute them.
    """
    if "distributed" not in sys.modules:
        return False
    from distributed import get_worker

    try:
        get_worker()
    except ValueError:
        return False
    return True


def run_unit(request: Request, unit: Unit) -> list[Result]:
    """Run a unit through the model; functions of the user's are left to `Reading.finished`."""
    identity = _requested_model(request)
    model = loaded_model(identity, resolve_device(request.device, request.dtype), request.dtype)

    def results(some: Unit, batch_tokens: int) -> list[Result]:
        return list(request.reading.read(model, some, batch_tokens))

    parts, way_out = [unit], "window"
    if request.reading.one_by_one:
        parts, way_out = [unit.part([number]) for number in range(len(unit.rows))], "truncate"
    try:
        with cores_taken():
            computed = [
                result
                for part in parts
                for result in within_memory(results, part, request.tokens_per_batch(), model, way_out)
            ]
    except FloatingPointError as error:
        raise ValueError(
            f"{error} are not finite in {request.dtype}. {_WIDER[request.dtype]}"
        ) from error
    # once more: a file rewritten while it was mapped may have changed the weights halfway
    _requested_model(request)
    return computed


def _run_here(request: Request, stop: Stop, unit: Unit) -> list[Result]:
    from sklearn_esm._engine import stopped_by

    with stopped_by(stop.check):
        return run_unit(request, unit)


def _run_in_worker(request: Request, unit: Unit) -> list[Result]:
    return [request.reading.finished(result) for result in run_alone(partial(run_unit, request), unit)]


def _requested_model(request: Request) -> Identity:
    """Return the identity of the request's checkpoint.

    Raises
    ------
    ValueError
        If its weights are not those the request was made for. They must not fill this cache.
    """
    identity = identify(find_checkpoint(request.model))
    if identity.fingerprint != request.fingerprint:
        raise ValueError(
            f"The weights at {identity.path} are not those this run began with. Fit again, or put the "
            "former file back; on several machines, give each the same file."
        )
    return identity
