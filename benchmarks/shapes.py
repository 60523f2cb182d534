"""Shapes of the published ESM-2 models, and random checkpoints of them on the disk."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SHAPES = {"8M": (6, 320, 20), "35M": (12, 480, 20), "150M": (30, 640, 20), "650M": (33, 1280, 20)}
TESTS = Path(__file__).parents[1] / "tests" / "helpers"
SAVE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from fair_esm_oracle import save_random_checkpoint
layers, width, heads = map(int, sys.argv[3:])
save_random_checkpoint(Path(sys.argv[2]), "esm2", layers=layers, width=width, heads=heads)
"""


@contextmanager
def random_checkpoint(shape: str) -> Iterator[Path]:
    """A checkpoint in a temporary folder, into which goes the package's note about it, too."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TORCH_HOME"] = folder
        path = Path(folder) / "random.pt"
        save_random(path, shape)
        os.utime(path, (10**9, 10**9))  # of a file written just now no note is left
        yield path


def save_random(path: Path, shape: str) -> None:
    """Write a checkpoint, in a process of its own: it leaves neither torch nor a model behind here."""
    subprocess.run([sys.executable, "-c", SAVE, TESTS, path, *map(str, SHAPES[shape])], check=True)
