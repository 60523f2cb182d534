"""Embed files as independent tasks on a Dask cluster or with Ray.

A task reads a file or a shard of it and writes its own parts into the output folder. Between the command
and the tasks go the names of files and the settings only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tqdm import tqdm

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm._optional_dependencies import import_extra
from sklearn_esm.cli._embed import Written, added, embed_file
from sklearn_esm.cli._errors import TaskError
from sklearn_esm.cli._input import name_of
from sklearn_esm.cli._output import Destination

RETRIES = 2  # of a task that failed, also because its worker died


class Task(NamedTuple):
    """A file or a shard of it, and where its vectors go."""

    source: str
    output: str
    shard: slice

    def __str__(self) -> str:
        if self.shard.step in (None, 1):
            return self.source
        return f"{self.source}, shard {self.shard.start + 1}/{self.shard.step}"


def run_task(task: Task, *, embed: ESMEmbeddingTransformer, dtype: str, wide: bool) -> Written:
    """Embed the records of a task; parts that an earlier run completed are skipped."""
    destination = Destination(task.output, task.source)
    return embed_file(
        task.source, destination, embed, shard=task.shard, dtype=dtype, wide=wide, quiet=True
    )


def run_on_dask(tasks: list[Task], run: Callable[[Task], Written], address: str | None) -> Iterator[Any]:
    """Yield each task with its result or its exception as it finishes on the workers of a scheduler."""
    distributed = import_extra("distributed", of="--engine dask", extra="dask")
    with distributed.Client(address) as client:
        futures = client.map(run, tasks, retries=RETRIES, pure=False)
        task_of = dict(zip(futures, tasks, strict=True))
        for future in distributed.as_completed(futures):
            error = future.exception()
            yield task_of.pop(future), error if error is not None else future.result()


def run_on_ray(tasks: list[Task], run: Callable[[Task], Written], address: str | None) -> Iterator[Any]:
    """Yield each task with its result or its exception as it finishes on the nodes of a Ray cluster."""
    ray = import_extra("ray", of="--engine ray", extra="ray")
    ray.init(address, ignore_reinit_error=True)

    def run_one(task: Task) -> Written:  # Ray takes functions only
        return run(task)

    remote = ray.remote(max_retries=RETRIES, retry_exceptions=True)(run_one)
    task_of = {remote.remote(task): task for task in tasks}
    while task_of:
        (done,), _ = ray.wait(list(task_of))
        try:
            result: Any = ray.get(done)
        except Exception as error:
            result = getattr(error, "cause", error)
        yield task_of.pop(done), result


ENGINES = {"dask": run_on_dask, "ray": run_on_ray}


def embed_files(
    tasks: list[Task],
    run: Callable[[Task], Written],
    engine: str,
    scheduler: str | None,
    *,
    quiet: bool,
) -> Written:
    """Run every task on an engine, and return what all have written.

    Raises
    ------
    TaskError
        If a task failed, also when it was repeated. All other tasks are finished before.
    """
    done: list[Written] = []
    failed: list[tuple[Task, Exception]] = []
    with tqdm(total=len(tasks), desc="Embedding files", unit=" tasks", disable=quiet) as bar:
        for task, result in ENGINES[engine](tasks, run, scheduler):
            if isinstance(result, Written):
                done.append(result)
            else:
                failed.append((task, result))
            bar.update()
    if failed:
        task, error = failed[0]
        raise TaskError(
            f"{len(failed)} of {len(tasks)} tasks failed. The first is {task}: {error} Rerun the "
            "command to repeat them; the other tasks are skipped."
        )
    return added(done)


def check_engine(
    sources: list[str],
    destination: Destination,
    engine: str | None,
    scheduler: str | None,
    split: int,
    shard: str | None,
) -> None:
    """Raise ValueError if options about several files, engines and shards do not fit together."""
    if not destination.is_folder and (engine or len(sources) > 1):
        raise ValueError(
            "-o must be a folder for --engine and for several files; got "
            f"{destination}. Pass -o folder/."
        )
    if engine and (shard or "-" in sources):
        raise ValueError("--engine must have files as INPUT, and no --shard. Pass --split N instead.")
    if not engine and (scheduler or split > 1):
        raise ValueError("--scheduler and --split must be with --engine. Pass --engine dask.")


def tasks_of(sources: list[str], output: str, split: int) -> list[Task]:
    """Return ``split`` tasks for each file.

    Raises
    ------
    ValueError
        If two files have the same name, because their parts would.
    """
    for name, files in Counter(map(name_of, sources)).items():
        if files > 1:
            raise ValueError(
                f"INPUT must be files of different names, which are those of their parts; got {name!r} "
                "twice. Rename one of them, or use two output folders."
            )
    shards = [slice(number, None, split) for number in range(split)]
    return [Task(source, output, shard) for source in sources for shard in shards]
