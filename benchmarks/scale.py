"""CPU seconds, peak memory and bytes written of ``sklearn-esm embed``, by number of records and format.

Usage: ``python benchmarks/scale.py [--records 10000 100000 1000000] [--width 1280] [--suffixes .npz ...]
[--cache]``, on Linux. The records are random peptides, and the vectors are those of layer 0 of a random
model, which cost next to nothing: what is measured is everything around the model. Each command runs in
a process of its own.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from shapes import TESTS

MODEL = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from fair_esm_oracle import save_random_checkpoint
width = int(sys.argv[3])
save_random_checkpoint(Path(sys.argv[2]), "esm2", layers=1, width=width, heads=width // 64)
"""
# prints the peak of resident memory without mapped files, the bytes written, and the seconds of CPU
COMMAND = """
import resource, sys
from sklearn_esm.cli import main
sys.argv = ["sklearn-esm", *sys.argv[1:]]
try:
    main()
finally:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    written = [line.split()[1] for line in open("/proc/self/io") if line.startswith("wchar")]
    print(usage.ru_maxrss, written[0], usage.ru_utime + usage.ru_stime)
"""


class Measured(NamedTuple):
    """What one command took."""

    mib: float
    written: int
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--records", nargs="+", type=int, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--suffixes", nargs="+", default=[".npz", ".parquet", ".h5", "/"])
    parser.add_argument("--cache", action="store_true", help="also with a cache folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["TORCH_HOME"] = name
        model = folder / "random.pt"
        subprocess.run([sys.executable, "-c", MODEL, TESTS, model, str(options.width)], check=True)
        os.utime(model, (10**9, 10**9))  # of a file written just now no note is left
        print(f"width {options.width}, layer 0, peptides of 8 to 25 residues")
        for records in options.records:
            fasta = folder / f"{records}.fasta"
            write_peptides(fasta, records)
            for suffix in options.suffixes:
                for cached in (False, True) if options.cache else (False,):
                    output = folder / ("vectors" if suffix == "/" else f"vectors{suffix}")
                    cache = ["--cache", str(folder / "cache")] if cached else []
                    taken = measure(model, fasta, f"{output}/" if suffix == "/" else str(output), cache)
                    print(describe(records, suffix, cached, taken), flush=True)
                    subprocess.run(["rm", "-rf", output, folder / "cache"], check=True)


def write_peptides(path: Path, records: int) -> None:
    rng = np.random.default_rng(0)
    residues = np.array(list("ACDEFGHIKLMNPQRSTVWY"))
    with path.open("w") as file:
        for number, length in enumerate(rng.integers(8, 26, records)):
            file.write(f">peptide {number}\n{''.join(residues[rng.integers(0, 20, length)])}\n")


def measure(model: Path, fasta: Path, output: str, more: list[str]) -> Measured:
    arguments = ["embed", fasta, "-o", output, "--model", model, "--layer", "0", "--quiet", *more]
    command = [sys.executable, "-c", COMMAND, *map(str, arguments)]
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    peak, written, seconds = run.stdout.split()[-3:]
    return Measured(int(peak) / 2**10, int(written), float(seconds))


def describe(records: int, suffix: str, cached: bool, taken: Measured) -> str:
    where = "folder of parquet" if suffix == "/" else suffix[1:]
    return (
        f"{records:9,} records, {where}{' and cache' * cached}: {taken.mib:6,.0f} MiB at the peak, "
        f"{1e6 * taken.seconds / records:5.0f} microseconds of CPU a record, "
        f"{taken.written / 1e6:8,.1f} MB written"
    )


if __name__ == "__main__":
    main()
