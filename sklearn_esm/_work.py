"""What a worker does with a unit of sequences, here or in joblib's processes: engine and pooling.

`_compute` hands out requests and units; a worker knows nothing of caches and estimators.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice, product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from joblib import effective_n_jobs
from sklearn.utils.parallel import Parallel, delayed

from sklearn_esm._cache import Key
from sklearn_esm._checkpoint import Architecture, find_checkpoint
from sklearn_esm._identity import identify
from sklearn_esm._lanes import cores_taken, lanes, side_by_side
from sklearn_esm._pooling import Pooling, pool, residue_states
from sklearn_esm._registry import loaded_model, resolve_device
from sklearn_esm._room import within_memory
from sklearn_esm._sequences import shorten

if TYPE_CHECKING:
    from sklearn_esm.engine import Block, Unit

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
    architecture: Architecture
    layers: tuple[int, ...]
    poolings: tuple[Pooling, ...]  # empty: the states of the residues themselves
    widths: tuple[int, ...]  # how many numbers each pooling makes
    device: str | None
    dtype: str
    window_length: int | None
    batch_tokens: int | None

    def tokens_per_batch(self) -> int:
        return self.batch_tokens or BATCH_TOKENS[self._planned_device().split(":")[0]]

    def lanes(self) -> int:
        """How many units this process runs at a time."""
        if any(callable(pooling) for pooling in self.poolings):
            return 1  # a user's function runs in the user's thread
        return lanes(self._planned_device())

    def _planned_device(self) -> str:
        # the one asked for, though only the workers may have it
        return self.device or resolve_device(None, self.dtype)

    def columns(self) -> dict[tuple[int, int], slice]:
        """Where each ``(layer, number of the pooling)`` stands in a row of the matrix."""
        columns, start = {}, 0
        for layer, number in product(self.layers, range(len(self.poolings))):
            columns[layer, number] = slice(start, start + self.widths[number])
            start += self.widths[number]
        return columns

    def key(self, layer: int, pooling: str, sequence: str) -> Key:
        windowed = self.window_length is not None and len(sequence) > self.window_length
        window = self.window_length if windowed else 0
        return Key(self.fingerprint, self.dtype, layer, pooling, window or 0, sequence)


class Result(NamedTuple):
    """One layer of equally long sequences, pooled in one way or not at all."""

    rows: tuple[int, ...]
    layer: int
    pooling: int  # its number in the request
    values: np.ndarray  # (sequences, k), or (sequences, residues, width) without pooling


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
    from sklearn_esm.engine import run_unit

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
        blocks = run_unit(model, some, request.layers, batch_tokens)
        return [result for block in blocks for result in _pooled(request, some, block)]

    with cores_taken():
        return within_memory(results, unit, request.tokens_per_batch(), model)


def _pooled(request: Request, unit: Unit, block: Block) -> Iterator[Result]:
    _check_finite(request, unit, block)
    has_eos = request.architecture.has_eos
    if not request.poolings:
        states = residue_states(block.hidden, has_eos).copy()
        yield Result(block.rows, block.layer, 0, states)
    for number, pooling in enumerate(request.poolings):
        vectors = pool(block.hidden, pooling, has_eos, request.widths[number])
        yield Result(block.rows, block.layer, number, vectors)


def _check_finite(request: Request, unit: Unit, block: Block) -> None:
    # before pooling: a maximum would hide -inf, and a mean of inf and -inf makes numpy warn
    if np.isfinite(block.hidden).all():
        return
    finite = np.isfinite(block.hidden).all(axis=(1, 2))  # (sequences,)
    sequence = unit.sequences[unit.rows.index(block.rows[finite.argmin()])]
    raise ValueError(
        f"The states of {shorten(sequence)} ({len(sequence)} residues) at layer {block.layer} are "
        f"not finite in {request.dtype}. {_WIDER[request.dtype]}"
    )
