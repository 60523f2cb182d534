"""Distinct sequences to pooled vectors: cache lookup, units of what is missing, engine, pooling, cache.

The estimators call this room; it knows the engine, the cache and the registry, and no estimator.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from joblib import effective_n_jobs
from sklearn.utils.parallel import Parallel, delayed
from tqdm.auto import tqdm

from sklearn_esm._cache import Cache, Key
from sklearn_esm._checkpoint import Architecture, fingerprint
from sklearn_esm._pooling import Pooling, pool, pooled_width, residue_states
from sklearn_esm._registry import loaded_model
from sklearn_esm._sequences import shorten

if TYPE_CHECKING:
    from sklearn_esm.engine import Block, Unit

# tokens in a forward pass: few enough for a processor's cache, many enough to fill a GPU
_BATCH_TOKENS = {"cpu": 2048, "mps": 8192, "cuda": 32768}
_WIDER = {
    "float32": "The weights are damaged: download or copy the checkpoint again.",
    "bfloat16": "Pass dtype='float32'.",
    "float16": "Pass dtype='bfloat16' or 'float32', which reach further.",
}


@dataclass(frozen=True)
class Request:
    """What to compute, and everything a worker process needs for it; a few hundred bytes."""

    path: Path
    fingerprint: str
    architecture: Architecture
    layers: tuple[int, ...]
    poolings: tuple[Pooling, ...]  # empty: the states of the residues themselves
    device: str
    dtype: str
    window_length: int | None
    batch_tokens: int | None

    @property
    def tokens_per_batch(self) -> int:
        return self.batch_tokens or _BATCH_TOKENS[self.device.split(":")[0]]

    def columns(self) -> dict[tuple[int, int], slice]:
        """Where each ``(layer, number of the pooling)`` stands in a row of the matrix."""
        columns, start = {}, 0
        for layer, number in product(self.layers, range(len(self.poolings))):
            stop = start + pooled_width(self.poolings[number], self.architecture.width)
            columns[layer, number] = slice(start, stop)
            start = stop
        return columns

    def key(self, layer: int, pooling: str, sequence: str) -> Key:
        windowed = self.window_length is not None and len(sequence) > self.window_length
        window = self.window_length if windowed else 0
        return Key(self.fingerprint, self.dtype, layer, pooling, window or 0, sequence)


class _Result(NamedTuple):
    """One layer of equally long sequences, pooled in one way or not at all."""

    rows: tuple[int, ...]
    layer: int
    pooling: int  # its number in the request
    values: np.ndarray  # (sequences, k), or (sequences, residues, width) without pooling


def pooled_vectors(
    request: Request, sequences: Sequence[str], cache: Cache, n_jobs: int | None, verbose: bool
) -> np.ndarray:
    """Vectors of distinct sequences, ``(sequences, k)`` float32, from the cache or the model."""
    columns = request.columns()
    width = max(where.stop for where in columns.values())
    matrix = np.empty((len(sequences), width), dtype=np.float32)
    missing = [
        row
        for row, sequence in enumerate(sequences)
        if not _recall(request, sequence, columns, cache, matrix[row])
    ]
    for result in _results(request, [sequences[row] for row in missing], n_jobs, verbose):
        where = columns[result.layer, result.pooling]
        pooling = request.poolings[result.pooling]
        for number, vector in zip(result.rows, result.values, strict=True):
            row = missing[number]
            matrix[row, where] = vector
            if isinstance(pooling, str):
                cache.put(request.key(result.layer, pooling, sequences[row]), vector)
    return matrix


def residue_arrays(
    request: Request, sequences: Sequence[str], n_jobs: int | None, verbose: bool
) -> list[np.ndarray]:
    """States of every residue of distinct sequences, ``(residues, layers x width)`` float32 each."""
    width = request.architecture.width
    start = {layer: number * width for number, layer in enumerate(request.layers)}
    shape = len(request.layers) * width
    arrays = [np.empty((len(sequence), shape), dtype=np.float32) for sequence in sequences]
    for result in _results(request, sequences, n_jobs, verbose):
        first = start[result.layer]
        for row, states in zip(result.rows, result.values, strict=True):
            arrays[row][:, first : first + width] = states
    return arrays


def _recall(
    request: Request,
    sequence: str,
    columns: dict[tuple[int, int], slice],
    cache: Cache,
    out: np.ndarray,
) -> bool:
    """Fill a row from the cache; False where any part of it has to be computed."""
    for (layer, number), where in columns.items():
        pooling = request.poolings[number]
        if not isinstance(pooling, str):
            return False  # the name of a function does not tell what it does
        vector = cache.get(request.key(layer, pooling, sequence))
        if vector is None:
            return False
        out[where] = vector
    return True


def _results(
    request: Request, sequences: Sequence[str], n_jobs: int | None, verbose: bool
) -> Iterator[_Result]:
    """Results as the units are done, in this process or in joblib's workers."""
    if not sequences:
        return
    from sklearn_esm.engine import plan_units

    # planned before they are handed out, so that workers compute just what one process would
    units = plan_units(sequences, request.tokens_per_batch, request.window_length)
    if effective_n_jobs(n_jobs) == 1 or len(units) == 1:
        done: Iterable[list[_Result]] = (_run(request, unit) for unit in units)
    else:
        parallel = Parallel(n_jobs=n_jobs, return_as="generator")
        done = parallel(delayed(_run)(request, unit) for unit in units)
    with tqdm(
        total=sum(unit.residues for unit in units),
        desc="Embedding",
        unit=" residues",
        unit_scale=True,
        disable=not verbose,
    ) as progress:
        for unit, results in zip(units, done, strict=True):
            yield from results
            progress.update(unit.residues)


def _run(request: Request, unit: Unit) -> list[_Result]:
    from sklearn_esm.engine import run_unit

    # a file replaced meanwhile, or another one on a worker's machine, must not fill this cache
    if fingerprint(request.path) != request.fingerprint:
        raise ValueError(
            f"The weights at {request.path} are not those this run began with. Fit again, or put the "
            "former file back; on several machines, give each the same file."
        )
    model = loaded_model(request.path, request.device, request.dtype)
    has_eos = request.architecture.has_eos
    results = []
    for block in run_unit(model, unit, request.layers, request.tokens_per_batch):
        _check_finite(request, unit, block)
        if not request.poolings:
            states = residue_states(block.hidden, has_eos).copy()
            results.append(_Result(block.rows, block.layer, 0, states))
        for number, pooling in enumerate(request.poolings):
            vectors = pool(block.hidden, pooling, has_eos)
            results.append(_Result(block.rows, block.layer, number, vectors))
    return results


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
