"""What a worker does with a unit of sequences, here or in joblib's processes.

`_compute` hands out requests and units; a worker knows nothing of caches and estimators.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from joblib import effective_n_jobs
from sklearn.utils.parallel import Parallel, delayed

from sklearn_esm._cache import Key
from sklearn_esm._checkpoint import find_checkpoint
from sklearn_esm._identity import identify
from sklearn_esm._lanes import cores_taken, lanes, side_by_side
from sklearn_esm._readings import CacheName, Reading, Result
from sklearn_esm._registry import loaded_model, resolve_device
from sklearn_esm._room import within_memory

if TYPE_CHECKING:
    from sklearn_esm.engine import Unit

# tokens in a forward pass: few enough for a processor's cache, many enough to fill a GPU
BATCH_TOKENS = {"cpu": 512, "mps": 8192, "cuda": 32768}
_DAMAGED = "The weights are damaged: download or copy the checkpoint again."
_WIDER = {
    "float32": _DAMAGED,
    "int8": _DAMAGED,
    "bfloat16": "Pass dtype='float32'.",
    "float16": "Pass dtype='bfloat16' or 'float32', which reach further.",
}


@dataclass(frozen=True)
class Request:
    """What to compute, and everything a worker process needs for it; a few hundred bytes.

    ``model`` is a name, which each machine looks up for itself, or an absolute path.
    """

    model: str
    fingerprint: str
    reading: Reading
    device: str | None
    dtype: str
    window_length: int | None
    batch_tokens: int | None

    def tokens_per_batch(self) -> int:
        return self.batch_tokens or BATCH_TOKENS[self._planned_device().split(":")[0]]

    def lanes(self) -> int:
        """How many units this process runs at a time."""
        return 1 if self.reading.runs_users_code else lanes(self._planned_device())

    def _planned_device(self) -> str:
        # the one asked for, though only the workers may have it
        return self.device or resolve_device(None, self.dtype)

    def key(self, name: CacheName, sequence: str) -> Key:
        windowed = self.window_length is not None and len(sequence) > self.window_length
        window = self.window_length if windowed else 0
        return Key(self.fingerprint, self.dtype, *name, window or 0, sequence)


def run_units(
    request: Request, units: Iterable[Unit], n_jobs: int | None
) -> Iterator[tuple[Unit, list[Result]]]:
    """Each unit with its results, computed in this process or by joblib's workers."""
    workers = 1 if _inside_dask() else effective_n_jobs(n_jobs)
    if workers == 1:
        yield from side_by_side(partial(_run, request), units, request.lanes())
        return
    handed_out: deque[Unit] = deque()

    def tasks() -> Iterator[Any]:
        for unit in units:
            handed_out.append(unit)
            yield delayed(_run)(request, unit)

    for results in _by_joblib(tasks(), workers, n_jobs):
        yield handed_out.popleft(), results


def _by_joblib(tasks: Iterator[Any], workers: int, n_jobs: int | None) -> Iterator[list[Result]]:
    try:
        parallel = Parallel(n_jobs=n_jobs, return_as="generator")
    except ValueError:  # multiprocessing and Ray hand out lists only: a few units at a time
        with Parallel(n_jobs=n_jobs) as parallel:
            while some := list(islice(tasks, 4 * workers)):
                yield from parallel(some)
        return
    yield from parallel(tasks)


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


def _run(request: Request, unit: Unit) -> list[Result]:
    path = find_checkpoint(request.model)
    # a file replaced meanwhile, or another one on a worker's machine, must not fill this cache
    if identify(path).fingerprint != request.fingerprint:
        raise ValueError(
            f"The weights at {path} are not those this run began with. Fit again, or put the "
            "former file back; on several machines, give each the same file."
        )
    device = resolve_device(request.device, request.dtype)
    model = loaded_model(path, device, request.dtype)

    def results(some: Unit, batch_tokens: int) -> list[Result]:
        return list(request.reading.read(model, some, batch_tokens))

    parts, way_out = [unit], "window"
    if request.reading.one_by_one:
        parts, way_out = [unit.part([number]) for number in range(len(unit.rows))], "truncate"
    with cores_taken():
        try:
            return [
                result
                for part in parts
                for result in within_memory(results, part, request.tokens_per_batch(), model, way_out)
            ]
        except FloatingPointError as error:
            raise ValueError(
                f"{error} are not finite in {request.dtype}. {_WIDER[request.dtype]}"
            ) from error
