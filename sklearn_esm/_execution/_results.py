"""Look up in the cache, run what is missing, and store it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import compress, islice
from typing import Any, NamedTuple

import numpy as np

from sklearn_esm._background import Stop, iterate_in_background
from sklearn_esm._cache import MEMORY_CACHE, Cache, Key, Where, open_cache, warn_if_forgotten
from sklearn_esm._cache._interface import NoCache
from sklearn_esm._cache._memory import vector_bytes
from sklearn_esm._execution._claims import Claims, claimed_together, claims_on
from sklearn_esm._execution._outputs import Result
from sklearn_esm._execution._pieces import Batch, Item, plan_batches
from sklearn_esm._execution._progress import Progress
from sklearn_esm._execution._request import Request
from sklearn_esm._execution._workers import Workers

_POLL = 0.05  # seconds between two lookups of what another worker is computing


class Source(NamedTuple):
    """Where results come from: the cache, and workers for what it does not have.

    The fields are parameters of the estimator, or a progress bar that several calls share.
    """

    cache: Where
    n_jobs: int | None
    verbose: bool | Progress


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
    if source.cache == "memory":
        _warn_if_forgotten(request, items)
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


def _warn_if_forgotten(request: Request, items: Sequence[Item]) -> None:
    """Warn if the memory cache has no room for every column of all items."""
    if None in request.output.names:
        return  # nothing is cached

    def needed(item: Item) -> int:
        return sum([vector_bytes(size, *item) for size in request.output.sizes(item)])

    longest = max([len(sequence) for sequence, _ in items], default=0)
    masked = range(longest) if any(masked for _, masked in items) else ()
    # the first number is an upper bound, and costs little
    if len(items) * needed(Item("A" * longest, tuple(masked))) > MEMORY_CACHE.max_bytes:
        warn_if_forgotten(sum(map(needed, items)))


def _results(
    request: Request, items: Sequence[Item], source: Source, workers: Workers, stop: Stop
) -> Iterator[list[Result]]:
    """Yield what is cached, then the rest as it is computed, here or by another process."""
    with open_cache(source.cache, request.fingerprint) as cache:
        missing: list[int] = []
        if _is_cached(request, cache):
            yield from _cached(request, items, range(len(items)), cache, missing)
        else:
            missing = list(range(len(items)))
        if not missing:
            return
        with _progress(request, [items[row] for row in missing], source.verbose) as advance:
            while missing:
                waiting: list[int] = []
                with claims_on(cache) as claims:
                    batches = _claimed_batches(request, items, missing, cache, claims, workers, waiting)
                    for batch, results in workers.run(request, batches, stop):
                        claims.store(
                            _entries(request, items, results, cache),
                            _claim_keys(request, batch.items, cache),
                        )
                        cache.traffic.add(misses=len(batch.rows))
                        advance(batch.items)
                        yield results
                missing = []
                yield from _cached(request, items, waiting, cache, missing)
                arrived = set(waiting) - set(missing)
                advance([items[row] for row in arrived])
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
        complete, columns = _look_up(request, [items[row] for row in some], cache)
        present = tuple(compress(some, complete))
        if len(present) < len(some):
            missing.extend([row for row, there in zip(some, complete, strict=True) if not there])
            columns = [list(compress(column, complete)) for column in columns]
        if present:
            yield [Result(present, number, column) for number, column in enumerate(columns)]
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
    for batches in claimed_together(planned):
        together = [item for batch in batches for item in batch.items]
        keys = _claim_keys(request, together, cache)
        granted = claims.take(keys) if keys else [True] * len(together)
        # looked up again now that nobody else can start: somebody may just have finished
        present = _are_cached(request, together, cache)
        mine = [free and not there for free, there in zip(granted, present, strict=True)]
        if not all(mine):
            claims.release([key for key, ours in zip(keys, mine, strict=True) if not ours])
        flags = iter(mine)
        for batch in batches:
            batch = batch._replace(rows=tuple([rows[number] for number in batch.rows]))
            ours = list(islice(flags, len(batch.rows)))
            waiting.extend([row for row, run in zip(batch.rows, ours, strict=True) if not run])
            batch = batch.part([number for number, run in enumerate(ours) if run])
            if batch.rows:
                yield batch


def _is_cached(request: Request, cache: Cache) -> bool:
    """Return whether results have keys; without, none is made."""
    return None not in request.output.names and not isinstance(cache, NoCache)


def _claim_keys(request: Request, items: Sequence[Item], cache: Cache) -> list[Key]:
    """Return the key of each item's first column, which stands for all; none if nothing is cached."""
    name = request.output.names[0]
    return request.keys(name, items) if name is not None and _is_cached(request, cache) else []


def _are_cached(request: Request, items: Sequence[Item], cache: Cache) -> list[bool]:
    """Return whether the cache has every column of each item."""
    if not _is_cached(request, cache):
        return [False] * len(items)
    size = request.output.lookup_size
    parts = [items[start : start + size] for start in range(0, len(items), size)]
    return [there for part in parts for there in _look_up(request, part, cache)[0]]


def _look_up(
    request: Request, items: Sequence[Item], cache: Cache
) -> tuple[list[bool], list[list[Any]]]:
    """Return whether every column of each item is cached, and the cached vectors of each column."""
    complete = [True] * len(items)
    names = [name for name in request.output.names if name is not None]
    found = cache.get([key for name in names for key in request.keys(name, items)])
    columns = [found[start : start + len(items)] for start in range(0, len(found), len(items))]
    sizes = zip(*map(request.output.sizes, items), strict=True)
    for column, size_of_each in zip(columns, sizes, strict=True):
        complete = [
            # another length is damage: numpy would repeat a single number over a whole row
            there and vector is not None and vector.size == size
            for there, vector, size in zip(complete, column, size_of_each, strict=True)
        ]
    return complete, columns


def _entries(
    request: Request, items: Sequence[Item], results: list[Result], cache: Cache
) -> dict[Key, np.ndarray]:
    entries: dict[Key, np.ndarray] = {}
    for result in results:
        name = request.output.names[result.column]
        if name is not None and not isinstance(cache, NoCache):
            keys = request.keys(name, [items[row] for row in result.rows])
            entries.update(zip(keys, result.values, strict=True))
    return entries


@contextmanager
def _progress(
    request: Request, items: Sequence[Item], verbose: bool | Progress
) -> Iterator[Callable[[Sequence[Item]], None]]:
    """Yield a function to call with items that are done."""
    if isinstance(verbose, Progress):
        progress = verbose
    else:
        progress = Progress(request.cost(items) if verbose else 0, shown=verbose)

    def advance(done: Sequence[Item]) -> None:
        if progress.shown:
            progress.add(request.cost(done))

    try:
        yield advance
    finally:
        if progress is not verbose:
            progress.close()
