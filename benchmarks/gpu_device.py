"""What a GPU did during a run: seconds, memory and its busy share; and the fastest product."""

import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

PRODUCT = {"cuda": 8192, "cpu": 256}  # rows and columns of the matrices whose product gives the peak
SAMPLES = 8  # lines of nvidia-smi dmon, one each second


def synchronise(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def clock(run: Callable[[], Any], device: str) -> tuple[float, Any]:
    """Seconds until the device has finished, and the result."""
    synchronise(device)
    started = time.perf_counter()
    result = run()
    synchronise(device)
    return time.perf_counter() - started, result


def peak_mib(run: Callable[[], Any], device: str) -> float | None:
    """MiB that a run occupies at its peak over what is loaded already; None on a CPU."""
    if torch.device(device).type != "cuda":
        run()
        return None
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run()
    return (torch.cuda.max_memory_allocated(device) - before) / 2**20


@contextmanager
def arithmetic(dtype: str) -> Iterator[str]:
    """The dtype of tensors; "tf32" is float32 whose products torch may compute in TF32."""
    former = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if dtype == "tf32" else "highest")
    try:
        yield "float32" if dtype == "tf32" else dtype
    finally:
        torch.set_float32_matmul_precision(former)


@contextmanager
def defaults(device: str, dtype: str) -> Iterator[None]:
    """torch's default device and dtype."""
    former = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(former)


def measured_peak(device: str, dtype: str, repeats: int = 10) -> float:
    """Operations per second of a large square product, the median: measured, not from a data sheet."""
    size = PRODUCT[torch.device(device).type]
    with arithmetic(dtype) as kind, defaults(device, kind):
        a, b = torch.randn(size, size), torch.randn(size, size)
        out = torch.empty(size, size)
        for _ in range(3):  # until the clocks of the card have risen
            torch.mm(a, b, out=out)
        seconds = [clock(lambda: torch.mm(a, b, out=out), device)[0] for _ in range(repeats)]
    return 2 * size**3 / statistics.median(seconds)


def busy_share(run: Callable[[], Any], device: str) -> dict[str, float | None]:
    """Share of the time in which the GPU ran something, by torch's profiler and nvidia-smi dmon."""
    shares: dict[str, float | None] = {"profiler": None, "dmon": None}
    if torch.device(device).type != "cuda":
        return shares
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        seconds, _ = clock(run, device)
    on_gpu = torch.autograd.DeviceType.CUDA
    events = [event for event in profile.events() if event.device_type == on_gpu]
    ranges = [(event.time_range.start, event.time_range.end) for event in events]
    shares["profiler"] = covered(ranges) / 1e6 / seconds  # microseconds
    if shutil.which("nvidia-smi"):
        shares["dmon"] = dmon_share(run, torch.device(device).index or 0)
    return shares


def covered(ranges: Iterable[tuple[float, float]]) -> float:
    """How much of a line ranges cover; they may overlap."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(ranges):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def dmon_share(run: Callable[[], Any], gpu: int) -> float | None:
    """The mean of what dmon prints while a run is repeated, without the first and the last line."""
    command = ["nvidia-smi", "dmon", "-s", "u", "-d", "1", "-c", str(SAMPLES), "-i", str(gpu)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as dmon:
        while dmon.poll() is None:
            run()
        text = dmon.communicate()[0]
    shares = sm_shares(text, gpu)[1:-1]
    return statistics.mean(shares) if shares else None


def sm_shares(text: str, gpu: int) -> list[float]:
    """The column ``sm`` of one GPU in the output of ``nvidia-smi dmon``, as shares."""
    shares, columns = [], []
    for line in text.splitlines():
        cells = line.split()
        if cells[:2] == ["#", "gpu"]:  # printed again after some lines
            columns = cells[1:]
        elif cells and cells[0] == str(gpu):
            value = cells[columns.index("sm")]
            if value != "-":
                shares.append(float(value) / 100)
    return shares
