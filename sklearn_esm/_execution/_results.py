"""Distinct sequences to vectors: cache lookup, units of what is missing, workers, cache."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import numpy as np
from tqdm import TqdmWarning

from sklearn_esm._background import Stop, iterate_in_background
from sklearn_esm._cache import Cache, Key, Where, open_cache
from sklearn_esm._execution._outputs import Result
from sklearn_esm._execution._request import Request
from sklearn_esm._execution._workers import Workers
from sklearn_esm._sequences import residues_run

if TYPE_CHECKING:
    from sklearn_esm._engine import Unit

with warnings.catch_warnings():
    # in a notebook without ipywidgets the bar is text; who imports us need not hear of it
    warnings.simplefilter("ignore", category=TqdmWarning)
    from tqdm.auto import tqdm

_PATIENCE = 0.05  # seconds between two looks at what another worker is computing


class Source(NamedTuple):
    """Where vectors come from: a cache by the estimator's parameter, and workers for the others."""

    cache: Where
    n_jobs: int | None
    verbose: bool


def filled_matrix(
    request: Request, sequences: Sequence[str], widths: Sequence[int], source: Source
) -> np.ndarray:
    """Return the columns of distinct sequences side by side, ``(sequences, sum of widths)`` float32."""
    ends = np.cumsum(widths)  # (columns,)
    matrix = np.empty((len(sequences), ends[-1]), dtype=np.float32)
    filled = np.zeros((len(sequences), len(widths)), dtype=bool)
    for result in results_of(request, sequences, source):
        columns = slice(ends[result.column] - widths[result.column], ends[result.column])
        for row, vector in zip(result.rows, result.values, strict=True):
            matrix[row, columns] = vector
            filled[row, result.column] = True
    _check_complete(bool(filled.all()))
    return matrix


def arrays_of(request: Request, sequences: Sequence[str], source: Source) -> list[list[np.ndarray]]:
    """Return every column of distinct sequences, an array of any shape for each."""
    nothing = np.empty(0, dtype=np.float32)
    arrays = [[nothing] * len(request.reading.names) for _ in sequences]
    for result in results_of(request, sequences, source):
        for row, array in zip(result.rows, result.values, strict=True):
            arrays[row][result.column] = array
    _check_complete(all(array is not nothing for row in arrays for array in row))
    return arrays


def results_of(request: Request, sequences: Sequence[str], source: Source) -> Iterator[Result]:
    """Yield every column of distinct sequences once, whether cached or computed.

    Functions of the user's are called in the thread that iterates, which holds nothing meanwhile.
    """
    workers = Workers(source.n_jobs)
    produce = partial(_results, request, sequences, source, workers)
    for results in iterate_in_background(produce):
        yield from results if workers.elsewhere else map(request.reading.finished, results)


def _check_complete(complete: bool) -> None:
    if not complete:
        raise RuntimeError(
            "Some sequences were left without a result. Report this fault of sklearn-esm, please."
        )


def _results(
    request: Request, sequences: Sequence[str], source: Source, workers: Workers, stop: Stop
) -> Iterator[list[Result]]:
    """Yield what is cached, then the others as they are computed."""
    with open_cache(source.cache, request.fingerprint) as cache:
        missing: list[int] = []
        yield from _recall(request, sequences, range(len(sequences)), cache, missing)
        if not missing:
            return
        with _progress([sequences[row] for row in missing], source.verbose) as progress:
            while missing:
                elsewhere: list[int] = []
                yield from _compute(
                    request, sequences, missing, cache, workers, elsewhere, progress, stop
                )
                missing = []
                yield from _recall(request, sequences, elsewhere, cache, missing)
                come = set(elsewhere) - set(missing)
                progress.update(sum(residues_run(sequences[row]) for row in come))
                if missing:
                    stop.check()
                    time.sleep(_PATIENCE)


def _recall(
    request: Request, sequences: Sequence[str], rows: Sequence[int], cache: Cache, missing: list[int]
) -> Iterator[list[Result]]:
    """Yield the rows that are in the cache whole; the other rows are added to ``missing``."""
    together = request.reading.looked_up_together
    for start in range(0, len(rows), together):
        some = rows[start : start + together]
        found = _look_up(request, [sequences[row] for row in some], cache)
        present = {row: vectors for row, vectors in zip(some, found, strict=True) if vectors is not None}
        missing.extend(row for row in some if row not in present)
        if present:
            columns = zip(*present.values(), strict=True)
            yield [Result(tuple(present), number, column) for number, column in enumerate(columns)]
        cache.traffic.add(hits=len(present))


def _compute(
    request: Request,
    sequences: Sequence[str],
    rows: Sequence[int],
    cache: Cache,
    workers: Workers,
    elsewhere: list[int],
    progress: tqdm[NoReturn],
    stop: Stop,
) -> Iterator[list[Result]]:
    """Yield the rows that no other worker computes; the other rows are added to ``elsewhere``."""
    under_way: dict[int, list[Key]] = {}  # claims by the first row of their unit

    def units() -> Iterator[Unit]:
        for planned in _plan(request, [sequences[row] for row in rows], workers):
            stop.check()
            unit = replace(planned, rows=tuple(rows[number] for number in planned.rows))
            unit, claims = _claim(request, unit, cache, elsewhere)
            if unit.rows:
                under_way[unit.rows[0]] = claims
                yield unit

    try:
        for unit, results in workers.run(request, units(), stop):
            cache.put(_entries(request, sequences, results))
            cache.release(under_way[unit.rows[0]])
            del under_way[unit.rows[0]]
            cache.traffic.add(misses=len(unit.rows))
            progress.update(unit.residues)
            yield results
    finally:
        for claims in under_way.values():
            cache.release(claims)


def _claim(request: Request, unit: Unit, cache: Cache, elsewhere: list[int]) -> tuple[Unit, list[Key]]:
    """What of a unit is this caller's to compute, and its claims; the other rows go ``elsewhere``."""
    name = request.reading.names[0]
    if name is None or None in request.reading.names:
        return unit, []  # nothing is served from the cache, so nobody would wait for it
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
    """Return the cached vectors of each sequence, one for each column; None where one is missing."""
    names = [name for name in request.reading.names if name is not None]
    if len(names) < len(request.reading.names):
        return [None] * len(sequences)
    found = iter(cache.get([request.key(name, sequence) for sequence in sequences for name in names]))
    rows: list[list[np.ndarray] | None] = []
    for sequence in sequences:
        sizes = request.reading.sizes(sequence)
        vectors = [
            vector
            for size, vector in zip(sizes, islice(found, len(names)), strict=True)
            # another length is damage: numpy would repeat a single number over a whole row
            if vector is not None and vector.size == size
        ]
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


def _plan(request: Request, sequences: Sequence[str], workers: Workers) -> list[Unit]:
    from sklearn_esm._engine import plan_units

    lanes = workers.lanes(request)
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
