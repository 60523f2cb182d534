"""Distinct sequences to vectors: cache lookup, units of what is missing, workers, cache.

The estimators call this room; it knows the caches and the workers, and no estimator.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, NoReturn

import numpy as np
from tqdm import TqdmWarning

from sklearn_esm._cache import Cache, Key
from sklearn_esm._readings import Result
from sklearn_esm._sequences import residues_run
from sklearn_esm._work import Request, run_units

if TYPE_CHECKING:
    from sklearn_esm.engine import Unit

with warnings.catch_warnings():
    # in a notebook without ipywidgets the bar is text; who imports us need not hear of it
    warnings.simplefilter("ignore", category=TqdmWarning)
    from tqdm.auto import tqdm

_PATIENCE = 0.05  # seconds between two looks at what another worker is computing


def filled_matrix(
    request: Request,
    sequences: Sequence[str],
    widths: Sequence[int],
    cache: Cache,
    n_jobs: int | None,
    verbose: bool,
) -> np.ndarray:
    """The columns of distinct sequences side by side, ``(sequences, sum of widths)`` float32."""
    ends = np.cumsum(widths)  # (columns,)
    matrix = np.empty((len(sequences), ends[-1]), dtype=np.float32)
    for row, column, vector in _vectors(request, sequences, cache, n_jobs, verbose):
        matrix[row, ends[column] - widths[column] : ends[column]] = vector
    return matrix


def arrays_of(
    request: Request, sequences: Sequence[str], cache: Cache, n_jobs: int | None, verbose: bool
) -> list[list[np.ndarray]]:
    """Every column of distinct sequences, an array of any shape for each."""
    nothing = np.empty(0, dtype=np.float32)
    arrays = [[nothing] * len(request.reading.names) for _ in sequences]
    for row, column, array in _vectors(request, sequences, cache, n_jobs, verbose):
        arrays[row][column] = array
    return arrays


def fill_cache(
    request: Request, sequences: Sequence[str], cache: Cache, n_jobs: int | None, verbose: bool
) -> None:
    """Put the vectors of distinct sequences into the cache, and keep none of them here."""
    for _ in _vectors(request, sequences, cache, n_jobs, verbose):
        pass


_Vector = tuple[int, int, np.ndarray]  # the sequence's row, the column, and what belongs there


def _vectors(
    request: Request, sequences: Sequence[str], cache: Cache, n_jobs: int | None, verbose: bool
) -> Iterator[_Vector]:
    """Every vector asked for, once: first what is cached, then the others as they are computed."""
    missing: list[int] = []
    yield from _recall(request, sequences, range(len(sequences)), cache, missing)
    if not missing:
        return
    with _progress([sequences[row] for row in missing], verbose) as progress:
        while missing:
            elsewhere: list[int] = []
            yield from _compute(request, sequences, missing, cache, n_jobs, elsewhere, progress)
            missing = []
            yield from _recall(request, sequences, elsewhere, cache, missing)
            progress.update(sum(residues_run(sequences[row]) for row in set(elsewhere) - set(missing)))
            if missing:
                time.sleep(_PATIENCE)


def _recall(
    request: Request, sequences: Sequence[str], rows: Sequence[int], cache: Cache, missing: list[int]
) -> Iterator[_Vector]:
    """Vectors of the rows that are in the cache whole; the other rows are added to ``missing``."""
    together = request.reading.looked_up_together
    for start in range(0, len(rows), together):
        some = rows[start : start + together]
        found = _look_up(request, [sequences[row] for row in some], cache)
        for row, vectors in zip(some, found, strict=True):
            if vectors is None:
                missing.append(row)
            else:
                yield from ((row, column, vector) for column, vector in enumerate(vectors))
        cache.traffic.add(hits=sum(vectors is not None for vectors in found))


def _compute(
    request: Request,
    sequences: Sequence[str],
    rows: Sequence[int],
    cache: Cache,
    n_jobs: int | None,
    elsewhere: list[int],
    progress: tqdm[NoReturn],
) -> Iterator[_Vector]:
    """Vectors of the rows that no other worker computes; the other rows are added to ``elsewhere``."""
    under_way: dict[int, list[Key]] = {}  # claims by the first row of their unit

    def units() -> Iterator[Unit]:
        for planned in _plan(request, [sequences[row] for row in rows]):
            unit = replace(planned, rows=tuple(rows[number] for number in planned.rows))
            unit, claims = _claim(request, unit, cache, elsewhere)
            if unit.rows:
                under_way[unit.rows[0]] = claims
                yield unit

    try:
        for unit, results in run_units(request, units(), n_jobs):
            cache.put(_entries(request, sequences, results))
            cache.release(under_way[unit.rows[0]])
            del under_way[unit.rows[0]]
            cache.traffic.add(misses=len(unit.rows))
            progress.update(unit.residues)
            for result in results:
                column = result.column
                yield from ((row, column, v) for row, v in zip(result.rows, result.values, strict=True))
    finally:
        for claims in under_way.values():
            cache.release(claims)


def _claim(request: Request, unit: Unit, cache: Cache, elsewhere: list[int]) -> tuple[Unit, list[Key]]:
    """What of a unit is this caller's to compute, and its claims; the other rows go ``elsewhere``."""
    name = request.reading.names[0]
    if name is None:
        return unit, []
    claims = [request.key(name, sequence) for sequence in unit.sequences]
    granted = cache.claim(claims)
    try:
        # looked up once more, now that no other worker can begin: one may have finished meanwhile
        found = _look_up(request, unit.sequences, cache)
    except BaseException:  # an interrupt too: a claim that is kept makes others wait
        cache.release([key for key, mine in zip(claims, granted, strict=True) if mine])
        raise
    mine = [number for number, vectors in enumerate(found) if granted[number] and vectors is None]
    others = sorted(set(range(len(claims))) - set(mine))
    cache.release([claims[number] for number in others if granted[number]])
    elsewhere.extend(unit.rows[number] for number in others)
    return unit.part(mine), [claims[number] for number in mine]


def _look_up(request: Request, sequences: Sequence[str], cache: Cache) -> list[list[np.ndarray] | None]:
    """The cached vectors of each sequence, one for each column, or None where one is missing."""
    names = [name for name in request.reading.names if name is not None]
    if len(names) < len(request.reading.names):
        return [None] * len(sequences)
    found = iter(cache.get([request.key(name, sequence) for sequence in sequences for name in names]))
    rows: list[list[np.ndarray] | None] = []
    for _ in sequences:
        vectors = [vector for vector in islice(found, len(names)) if vector is not None]
        rows.append(vectors if len(vectors) == len(names) else None)
    return rows


def _entries(request: Request, sequences: Sequence[str], results: list[Result]) -> dict[Key, np.ndarray]:
    entries = {}
    names = request.reading.names
    for result in results:
        name = names[result.column]
        if name is not None:
            for row, vector in zip(result.rows, result.values, strict=True):
                entries[request.key(name, sequences[row])] = vector
    return entries


def _plan(request: Request, sequences: Sequence[str]) -> list[Unit]:
    from sklearn_esm.engine import plan_units

    lanes = request.lanes()
    # planned before they are handed out, so that workers compute just what one process would
    return plan_units(sequences, request.tokens_per_batch(), request.window_length, lanes)


def _progress(sequences: Sequence[str], verbose: bool) -> tqdm[NoReturn]:
    return tqdm(
        total=sum(map(residues_run, sequences)),
        desc="Running the model",
        unit=" residues",
        unit_scale=True,
        disable=not verbose,
    )
