"""Free memory of this machine or container, to refuse an output that cannot fit before any work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_GIB = 2**30
# no check of smaller outputs, because reading the limits takes longer than some transforms
_SMALL = 2**26
_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")


def check_fits(size: int, remedy: str) -> None:
    """Raise MemoryError if an output of ``size`` bytes is larger than the free memory.

    Parameters
    ----------
    size : int
        Bytes of the whole output.
    remedy : str
        End of the message: how to need less.
    """
    if size <= _SMALL:
        return
    free = available_memory()
    if free is not None and size > free:
        raise MemoryError(
            f"The output must fit into the free memory; it needs {size / _GIB:,.1f} GiB, and "
            f"{free / _GIB:,.1f} GiB are available. {remedy}"
        )


def available_memory() -> int | None:
    """Return how many bytes this process can still use; None on systems other than Linux.

    That is what is free without swapping, within the limits of the process's control groups (those of
    a container or a SLURM job).
    """
    free = [*_of_machine(), *_of_groups()]
    return max(0, min(free)) if free else None


def _of_machine() -> Iterator[int]:
    for name, kibibytes in _numbers(_PROC / "meminfo"):
        if name == "MemAvailable":
            yield 1024 * kibibytes


def _of_groups() -> Iterator[int]:
    """Yield what is left of the limit of each control group that this process is in."""
    for line in _text(_PROC / "self" / "cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:  # version 2
            root, names = _CGROUPS, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            root = _CGROUPS / "memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        group = root / path.lstrip("/")
        for folder in (group, *group.parents):
            yield from _of_group(folder, *names)
            if folder == root:
                break


def _of_group(folder: Path, limit: str, usage: str, inactive: str) -> Iterator[int]:
    most, used = _text(folder / limit).strip(), _text(folder / usage).strip()
    if most.isdigit() and used.isdigit():  # "max" is no limit
        # the system frees the pages of files that are not in use before it refuses memory
        files = dict(_numbers(folder / "memory.stat")).get(inactive, 0)
        yield int(most) - int(used) + files


def _numbers(path: Path) -> Iterator[tuple[str, int]]:
    """Yield name and number of each line, such as ``MemAvailable:   23488 kB``."""
    for line in _text(path).splitlines():
        words = line.split()
        if len(words) > 1 and words[1].isdigit():
            yield words[0].rstrip(":"), int(words[1])


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
