"""Look up in the cache, run what is missing, and store it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import NamedTuple, NoReturn

import numpy as np
from tqdm import TqdmWarning

from sklearn_esm._background import Stop, iterate_in_background
from sklearn_esm._cache import Cache, Key, Where, open_cache
from sklearn_esm._execution._claims import Claims, claims_on
from sklearn_esm._execution._outputs import Result
from sklearn_esm._execution._pieces import Batch, Item, plan_batches, residues_read
from sklearn_esm._execution._request import Request
from sklearn_esm._execution._workers import Workers

with warnings.catch_warnings():
    # in a notebook without ipywidgets the bar is text, which is no reason to warn on import
    warnings.simplefilter("ignore", category=TqdmWarning)
    from tqdm.auto import tqdm

_POLL = 0.05  # seconds between two lookups of what another worker is computing


class Source(NamedTuple):
    """Where results come from: the cache, and workers for what it does not have.

    The fields are parameters of the estimator.
    """

    cache: Where
    n_jobs: int | None
    verbose: bool


def results_of(request: Request, items: Sequence[Item], source: Source) -> Iterator[Result]:
    """Yield every column of distinct items once, whether cached or computed.

    The user's pooling functions are called in the thread that iterates, which holds no claim or lock.

    Raises
    ------
    RuntimeError
        If a column of an item has no result, which would leave a row of the output unset.
    """
    if not items:
        return
    workers = Workers(source.n_jobs)
    produce = partial(_results, request, items, source, workers)
    arrived = [bytearray(len(items)) for _ in request.output.names]  # a byte for each item and column
    for results in iterate_in_background(produce):
        for result in results if workers.use_joblib else map(request.output.apply_functions, results):
            yield result
            column = arrived[result.column]
            for row in result.rows:
                column[row] = 1
    if any(0 in column for column in arrived):
        raise RuntimeError("Some sequences have no result. Please report this bug of sklearn-esm.")


def _results(
    request: Request, items: Sequence[Item], source: Source, workers: Workers, stop: Stop
) -> Iterator[list[Result]]:
    """Yield what is cached, then the rest as it is computed, here or by another process."""
    with open_cache(source.cache, request.fingerprint) as cache:
        missing: list[int] = []
        yield from _cached(request, items, range(len(items)), cache, missing)
        if not missing:
            return
        with _progress(request, [items[row] for row in missing], source.verbose) as progress:
            while missing:
                waiting: list[int] = []
                with claims_on(cache) as claims:
                    batches = _claimed_batches(request, items, missing, cache, claims, workers, waiting)
                    for batch, results in workers.run(request, batches, stop):
                        cache.put(_entries(request, items, results))
                        claims.release(_claim_keys(request, batch))
                        cache.traffic.add(misses=len(batch.rows))
                        _advance(progress, request, batch.items)
                        yield results
                missing = []
                yield from _cached(request, items, waiting, cache, missing)
                arrived = set(waiting) - set(missing)
                _advance(progress, request, [items[row] for row in arrived])
                if missing:
                    stop.check()
                    time.sleep(_POLL)


def _cached(
    request: Request, items: Sequence[Item], rows: Sequence[int], cache: Cache, missing: list[int]
) -> Iterator[list[Result]]:
    """Yield the rows whose columns are all in the cache, and add the others to ``missing``."""
    size = request.output.lookup_size
    for start in range(0, len(rows), size):
        some = rows[start : start + size]
        found = _look_up(request, [items[row] for row in some], cache)
        present = {row: vectors for row, vectors in zip(some, found, strict=True) if vectors is not None}
        missing.extend([row for row in some if row not in present])
        if present:
            columns = zip(*present.values(), strict=True)
            yield [Result(tuple(present), number, column) for number, column in enumerate(columns)]
        cache.traffic.add(hits=len(present))


def _claimed_batches(
    request: Request,
    items: Sequence[Item],
    rows: Sequence[int],
    cache: Cache,
    claims: Claims,
    workers: Workers,
    waiting: list[int],
) -> Iterator[Batch]:
    """Yield batches of the rows that nobody else computes, and add the others to ``waiting``.

    They are planned before they are claimed, so that workers run the batches that one process would.
    """
    planned = plan_batches(
        [items[row] for row in rows],
        request.tokens_per_batch(),
        request.window_length,
        workers.batches_at_a_time(request),
    )
    for batch in planned:
        batch = batch._replace(rows=tuple([rows[number] for number in batch.rows]))
        keys = _claim_keys(request, batch)
        if keys:
            granted = claims.take(keys)
            # looked up again now that nobody else can start: somebody may just have finished
            found = _look_up(request, batch.items, cache)
            mine = [n for n, vectors in enumerate(found) if granted[n] and vectors is None]
            others = sorted(set(range(len(keys))) - set(mine))
            claims.release([keys[number] for number in others])
            waiting.extend([batch.rows[number] for number in others])
            batch = batch.part(mine)
        if batch.rows:
            yield batch


def _claim_keys(request: Request, batch: Batch) -> list[Key]:
    """Return the key of each item's first column, which stands for all; none if nothing is cached."""
    name = request.output.names[0]
    if name is None or None in request.output.names:
        return []
    return [request.key(name, item) for item in batch.items]


def _look_up(request: Request, items: Sequence[Item], cache: Cache) -> list[list[np.ndarray] | None]:
    """Return the cached vectors of each item, one for each column; None if one is missing."""
    names = [name for name in request.output.names if name is not None]
    if len(names) < len(request.output.names):
        return [None] * len(items)
    found = iter(cache.get([request.key(name, item) for item in items for name in names]))
    rows: list[list[np.ndarray] | None] = []
    for item in items:
        vectors = [
            vector
            for size, vector in zip(request.output.sizes(item), islice(found, len(names)), strict=True)
            # another length is damage: numpy would repeat a single number over a whole row
            if vector is not None and vector.size == size
        ]
        rows.append(vectors if len(vectors) == len(names) else None)
    return rows


def _entries(request: Request, items: Sequence[Item], results: list[Result]) -> dict[Key, np.ndarray]:
    entries = {}
    for result in results:
        name = request.output.names[result.column]
        if name is not None:
            for row, vector in zip(result.rows, result.values, strict=True):
                entries[request.key(name, items[row])] = vector
    return entries


def _progress(request: Request, items: Sequence[Item], verbose: bool) -> tqdm[NoReturn]:
    """Return a progress bar of the residues that the model reads for items."""
    total = sum(residues_read(item, request.window_length) for item in items) if verbose else None
    what, unit = "Running the model", " residues"
    return tqdm(desc=what, total=total, unit=unit, unit_scale=True, disable=not verbose)


def _advance(progress: tqdm[NoReturn], request: Request, items: Sequence[Item]) -> None:
    if not progress.disable:
        progress.update(sum(residues_read(item, request.window_length) for item in items))
