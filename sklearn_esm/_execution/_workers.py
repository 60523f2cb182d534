"""Run batches through the model, in threads of this process or in joblib's workers."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any

from joblib import effective_n_jobs
from sklearn.utils.parallel import Parallel, delayed

from sklearn_esm._background import Stop
from sklearn_esm._checkpoints._hub import downloads_stopped_by
from sklearn_esm._execution._outputs import Parts, Result
from sklearn_esm._execution._passes import run_in_passes
from sklearn_esm._execution._pieces import Batch, cut
from sklearn_esm._execution._request import Request
from sklearn_esm._execution._requested_model import RequestedModel
from sklearn_esm._execution._threads import (
    batches_at_a_time,
    run_alone,
    run_side_by_side,
    take_cores,
    torch_threads,
)

_DAMAGED = "The weights are damaged. Download or copy the checkpoint again."
_REMEDIES = {
    "float32": _DAMAGED,
    "int8": _DAMAGED,
    "bfloat16": "Set dtype='float32'.",
    "float16": "Set dtype='bfloat16' or 'float32', which have a larger range.",
}


class Workers:
    """What runs the batches of a request: threads of this process, or joblib's workers.

    Must be created in the caller's thread, because joblib's contexts and torch's thread counts belong
    to a thread.

    Parameters
    ----------
    n_jobs : int or None
        Number of joblib workers.
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
    def use_joblib(self) -> bool:
        """Whether joblib's workers run the batches, and call the user's functions there."""
        return self._parallel is not None

    def batches_at_a_time(self, request: Request) -> int:
        """Return how many batches run side by side in each process."""
        return batches_at_a_time(request.planned_device(), self._threads)

    def run(
        self, request: Request, batches: Iterable[Batch], stop: Stop
    ) -> Iterator[tuple[Batch, list[Result]]]:
        """Yield each batch with its results when it is done."""
        if self._parallel is None:
            run = partial(_run_here, RequestedModel(request), stop)
            count = self.batches_at_a_time(request)
            yield from run_side_by_side(run, batches, count, self._threads, stop)
            return
        submitted: deque[Batch] = deque()

        def tasks() -> Iterator[Any]:
            for batch in batches:
                submitted.append(batch)
                yield delayed(_run_in_worker)(request, batch)

        for results in self._in_order(tasks()):
            stop.check()
            yield submitted.popleft(), results

    def _in_order(self, tasks: Iterator[Any]) -> Iterator[list[Result]]:
        if not self._returns_lists:
            yield from self._parallel(tasks)
            return
        with self._parallel as parallel:
            while some := list(islice(tasks, 4 * self._count)):  # a few at a time, so that none waits
                yield from parallel(some)


def _inside_dask() -> bool:
    """Return whether this is a task of Dask, to which any ``n_jobs`` but 1 means the whole cluster.

    Such a task computes everything itself. If it submitted tasks, all workers could end up waiting
    for entries that one of them has claimed, and none would be left to compute them.
    """
    if "distributed" not in sys.modules:
        return False
    from distributed import get_worker

    try:
        get_worker()
    except ValueError:
        return False
    return True


def run_batch(requested: RequestedModel, batch: Batch) -> list[Result]:
    """Run a batch through the model; pooling functions are left to `Output.apply_functions`."""
    request = requested.request
    model = requested.load()
    parts: Parts = {}
    try:
        with take_cores():
            results = run_in_passes(
                lambda pieces: request.output.run(model, pieces, parts),
                cut(batch, request.window_length),
                request.tokens_per_batch() if request.output.several_per_pass else 1,
                model,
            )
    except FloatingPointError as error:
        raise ValueError(
            f"{error} are not finite in {request.dtype}. {_REMEDIES[request.dtype]}"
        ) from error
    # a file that is overwritten while it is mapped changes the weights
    requested.check()
    return results


def _run_here(requested: RequestedModel, stop: Stop, batch: Batch) -> list[Result]:
    from sklearn_esm._engine import stopped_by

    with stopped_by(stop.check), downloads_stopped_by(stop.check):
        return run_batch(requested, batch)


def _run_in_worker(request: Request, batch: Batch) -> list[Result]:
    results = run_alone(partial(run_batch, RequestedModel(request)), batch)
    return [request.output.apply_functions(result) for result in results]
