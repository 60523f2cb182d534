"""Seconds and peak memory to load a checkpoint: this package beside fair-esm's or transformers' loader.

Usage: ``python benchmarks/loading.py [--shape 650M] [--folder]``. Writes a random checkpoint of that
shape to a temporary folder (2.6 GB for 650M), reads it once so that both find it in the page cache, and
loads it in a process of its own for each. fair-esm's own ``torch.load`` fails on torch 2.6 and newer, so
it is given ``weights_only=False``, as people do; the rest is its code.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from shapes import SHAPES, file_name, save_random

MEASURE = """
import resource, sys, time
from pathlib import Path
import torch, esm
import sklearn_esm._engine
from sklearn_esm._execution._models import loaded_model
from sklearn_esm._checkpoints._fingerprint import identify
path = Path(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.perf_counter()
{load}
seconds = time.perf_counter() - started
print(seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10)
"""
LOADERS = {
    "sklearn-esm": 'model = loaded_model(identify(path), "cpu", "float32")',
    "fair-esm": (
        "import warnings; warnings.simplefilter('ignore')\n"
        "data = torch.load(path, map_location='cpu', weights_only=False)\n"
        "model, alphabet = esm.pretrained.load_model_and_alphabet_core('esm2', data)"
    ),
    "transformers": (
        "from transformers import AutoModel\n"
        "from transformers import EsmModel, EsmcModel\n"  # lazy modules
        "started = time.perf_counter()\n"  # imports do not count
        "model = AutoModel.from_pretrained(path.parent)"
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="650M")
    parser.add_argument("--folder", action="store_true", help="safetensors, as transformers saves it")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / file_name(options.shape, folder=options.folder)
        loaders = ["sklearn-esm", "fair-esm" if path.suffix == ".pt" else "transformers"]
        save_random(path, options.shape)
        with path.open("rb") as file:
            while file.read(1 << 24):
                pass
        print(f"{options.shape} shape, {path.stat().st_size / 2**20:,.0f} MiB on disk")
        measured: dict[str, list[list[float]]] = {name: [] for name in loaders}
        for _ in range(options.repeats):
            for name in loaders:
                output = run(MEASURE.format(load=LOADERS[name]), str(path))
                measured[name].append([float(number) for number in output.split()])
    for name, results in measured.items():
        seconds, memory = (statistics.median(column) for column in zip(*results, strict=True))
        print(f"{name:12} {seconds:6.2f} s, peak memory grew by {memory:6,.0f} MiB")


def run(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
