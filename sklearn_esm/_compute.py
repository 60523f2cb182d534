"""Distinct sequences to vectors: cache lookup, units of what is missing, workers, cache.

The estimators call this room; it knows the caches and the workers, and no estimator.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, NoReturn

import numpy as np
from tqdm.auto import tqdm

from sklearn_esm._cache import Cache, Key
from sklearn_esm._work import Request, Result, run_units

if TYPE_CHECKING:
    from sklearn_esm.engine import Unit

_LOOKUP = 1000  # vectors looked up at a time
_PATIENCE = 0.05  # seconds between two looks at what another worker is computing


def pooled_vectors(
    request: Request, sequences: Sequence[str], cache: Cache, n_jobs: int | None, verbose: bool
) -> np.ndarray:
    """Vectors of distinct sequences, ``(sequences, k)`` float32, from the cache or the model."""
    width = sum(request.widths) * len(request.layers)
    matrix = np.empty((len(sequences), width), dtype=np.float32)
    for row, where, vector in _vectors(request, sequences, cache, n_jobs, verbose):
        matrix[row, where] = vector
    return matrix


def fill_cache(
    request: Request, sequences: Sequence[str], cache: Cache, n_jobs: int | None, verbose: bool
) -> None:
    """Put the vectors of distinct sequences into the cache, and keep none of them here."""
    for _ in _vectors(request, sequences, cache, n_jobs, verbose):
        pass


def residue_arrays(
    request: Request, sequences: Sequence[str], n_jobs: int | None, verbose: bool
) -> list[np.ndarray]:
    """States of every residue of distinct sequences, ``(residues, layers x width)`` float32 each."""
    width = request.architecture.width
    start = {layer: number * width for number, layer in enumerate(request.layers)}
    shape = len(request.layers) * width
    arrays = [np.empty((len(sequence), shape), dtype=np.float32) for sequence in sequences]
    if not sequences:
        return arrays
    with _progress(sequences, verbose) as progress:
        for unit, results in run_units(request, _plan(request, sequences), n_jobs):
            for result in results:
                first = start[result.layer]
                for row, states in zip(result.rows, result.values, strict=True):
                    arrays[row][:, first : first + width] = states
            progress.update(unit.residues)
    return arrays


_Vector = tuple[int, slice, np.ndarray]  # the sequence's row, the columns, and what belongs there


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
            progress.update(sum(len(sequences[row]) for row in set(elsewhere) - set(missing)))
            if missing:
                time.sleep(_PATIENCE)


def _recall(
    request: Request, sequences: Sequence[str], rows: Sequence[int], cache: Cache, missing: list[int]
) -> Iterator[_Vector]:
    """Vectors of the rows that are in the cache whole; the other rows are added to ``missing``."""
    columns = request.columns().values()
    together = max(1, _LOOKUP // len(columns))
    for start in range(0, len(rows), together):
        some = rows[start : start + together]
        found = _look_up(request, [sequences[row] for row in some], cache)
        for row, vectors in zip(some, found, strict=True):
            if vectors is None:
                missing.append(row)
            else:
                yield from ((row, *column) for column in zip(columns, vectors, strict=True))
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
    columns = request.columns()
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
                where = columns[result.layer, result.pooling]
                yield from ((row, where, v) for row, v in zip(result.rows, result.values, strict=True))
    finally:
        for claims in under_way.values():
            cache.release(claims)


def _claim(request: Request, unit: Unit, cache: Cache, elsewhere: list[int]) -> tuple[Unit, list[Key]]:
    """What of a unit is this caller's to compute, and its claims; the other rows go ``elsewhere``."""
    pooling = request.poolings[0]
    if not isinstance(pooling, str):
        return unit, []
    claims = [request.key(request.layers[0], pooling, sequence) for sequence in unit.sequences]
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
    columns = list(request.columns())
    keys = []
    for sequence in sequences:
        for layer, number in columns:
            pooling = request.poolings[number]
            if not isinstance(pooling, str):
                return [None] * len(sequences)  # the name of a function does not tell what it does
            keys.append(request.key(layer, pooling, sequence))
    found = iter(cache.get(keys))
    rows: list[list[np.ndarray] | None] = []
    for _ in sequences:
        vectors = [vector for vector in islice(found, len(columns)) if vector is not None]
        rows.append(vectors if len(vectors) == len(columns) else None)
    return rows


def _entries(request: Request, sequences: Sequence[str], results: list[Result]) -> dict[Key, np.ndarray]:
    entries = {}
    for result in results:
        pooling = request.poolings[result.pooling]
        if isinstance(pooling, str):
            for row, vector in zip(result.rows, result.values, strict=True):
                entries[request.key(result.layer, pooling, sequences[row])] = vector
    return entries


def _plan(request: Request, sequences: Sequence[str]) -> list[Unit]:
    from sklearn_esm.engine import plan_units

    lanes = request.lanes()
    # planned before they are handed out, so that workers compute just what one process would
    return plan_units(sequences, request.tokens_per_batch(), request.window_length, lanes)


def _progress(sequences: Sequence[str], verbose: bool) -> tqdm[NoReturn]:
    return tqdm(
        total=sum(map(len, sequences)),
        desc="Embedding",
        unit=" residues",
        unit_scale=True,
        disable=not verbose,
    )
