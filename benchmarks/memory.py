"""Peak memory over the loaded weights of each contestant, in a process of its own.

Usage: ``python benchmarks/memory.py [--shape 8M] [--proteins 150] [--limit 8]``, on Linux. A child loads
the model and runs a short sequence, which reads all the weights; from there on its peak counts. The
snippet with contact maps exhausts memory, so it may take no more than ``--limit`` GiB over the weights.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

from contestants import BUDGET, CONTESTANTS, contestants_of
from proteins import natural_proteins
from shapes import SHAPES, random_checkpoint

LIMIT = 8.0  # GiB
SHORT = ["MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQ"]


class Measured(NamedTuple):
    """What a contestant took for its first ``proteins``: all of them, unless memory ran out."""

    proteins: int
    seconds: float
    mib: float  # over the loaded weights, at the peak


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="8M")
    parser.add_argument("--proteins", type=int, default=150)
    parser.add_argument("--limit", type=float, default=LIMIT)
    parser.add_argument("--child", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--checkpoint", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--budget", type=int, default=BUDGET, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        run_child(options.child, options.checkpoint, options.budget, options.limit)
        return
    sequences, origin = natural_proteins(options.proteins)
    print(f"{len(sequences)} proteins ({origin}), {options.shape} shape, float32")
    with random_checkpoint(options.shape) as path:
        for contestant in contestants_of(options.shape):
            measured = measure(contestant, path, sequences, limit=options.limit)
            print(f"{contestant:13}{describe(measured, len(sequences))}", flush=True)


def describe(measured: Measured, proteins: int) -> str:
    taken = f"{measured.mib:,.0f} MiB over the weights, {measured.seconds:.1f} s"
    if measured.proteins == proteins:
        return taken
    return f"out of memory after {measured.proteins} of {proteins} proteins: {taken}"


def measure(
    contestant: str,
    path: Path,
    sequences: list[str],
    *,
    budget: int = BUDGET,
    limit: float = LIMIT,
) -> Measured:
    """Run a contestant in a child; ``budget`` is for transformers, ``limit`` for the contact maps."""
    settings = {"child": contestant, "checkpoint": path, "budget": budget, "limit": limit}
    command = [sys.executable, __file__, *(f"--{name}={value}" for name, value in settings.items())]
    run = subprocess.run(command, input=json.dumps(sequences), stdout=subprocess.PIPE, text=True)
    # a child that the system killed said before how far it was; one that failed has no result
    if run.returncode > 0 or not run.stdout:
        raise RuntimeError(f"{contestant} failed with exit status {run.returncode}")
    return Measured(*json.loads(run.stdout.splitlines()[-1]))


def run_child(contestant: str, path: Path, budget: int, limit: float) -> None:
    """Run the sequences on stdin, and print after each part what was taken until then."""
    sequences = json.load(sys.stdin)
    run = CONTESTANTS[contestant]
    together = len(sequences)
    if contestant == "transformers":
        run = partial(run, budget=budget)
    run(path, SHORT)
    Path("/proc/self/clear_refs").write_text("5")  # sets the peak back to what is taken now
    weights = taken("VmHWM")
    if contestant == "contacts":
        together = 16  # its batches, to know how many it finished
        most = int(taken("VmSize") + limit * 2**30)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    started = time.perf_counter()
    print(json.dumps(Measured(0, 0.0, 0.0)), flush=True)
    for first in range(0, len(sequences), together):
        part = sequences[first : first + together]
        try:
            run(path, part)
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "can't allocate memory" not in str(error):
                raise
            return
        seconds, mib = time.perf_counter() - started, (taken("VmHWM") - weights) / 2**20
        print(json.dumps(Measured(first + len(part), seconds, mib)), flush=True)


def taken(counter: str) -> int:
    """Bytes of this process, by a counter of the kernel's: VmSize, VmRSS, or VmHWM, VmRSS's peak."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == counter:
            return 1024 * int(value.split()[0])
    raise OSError(f"/proc/self/status has no {counter}")


if __name__ == "__main__":
    main()
