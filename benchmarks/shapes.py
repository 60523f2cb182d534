"""Shapes of the published ESM-2 and ESM C models, and random checkpoints of them on the disk.

ESM-2 is written in fair-esm's format or as a folder of transformers, ESM C as a folder of transformers.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from sklearn_esm._checkpoints._architecture import Architecture


class Shape(NamedTuple):
    """What decides the work of a forward pass."""

    family: str
    layers: int
    width: int
    heads: int
    feed_forward: int

    @property
    def architecture(self) -> Architecture:
        dropout = self.family == "esm2"
        return Architecture(self.family, self.layers, self.width, self.heads, dropout, None)

    @property
    def raised(self) -> int:
        """How many products raise the states to the feed-forward width: gate and up in ESM C."""
        return 2 if self.family == "esmc" else 1


SHAPES = {
    "8M": Shape("esm2", 6, 320, 20, 1280),
    "35M": Shape("esm2", 12, 480, 20, 1920),
    "150M": Shape("esm2", 30, 640, 20, 2560),
    "650M": Shape("esm2", 33, 1280, 20, 5120),
    "3B": Shape("esm2", 36, 2560, 40, 10240),
    "ESMC-300M": Shape("esmc", 30, 960, 15, 2560),
    "ESMC-600M": Shape("esmc", 36, 1152, 18, 3072),
}
TESTS = Path(__file__).parents[1] / "tests" / "helpers"
SAVE = {
    "esm2": """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from fair_esm_oracle import save_random_checkpoint
layers, width, heads, _ = map(int, sys.argv[3:])
save_random_checkpoint(Path(sys.argv[2]), "esm2", layers=layers, width=width, heads=heads)
""",
    "esm2 folder": """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from hugging_face_oracle import save_random_model
layers, width, heads, feed = map(int, sys.argv[3:])
save_random_model(
    Path(sys.argv[2]).parent, hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
    intermediate_size=feed,
)
""",
    "esmc": """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from esmc_oracle import save_random_esmc
layers, width, heads, feed = map(int, sys.argv[3:])
save_random_esmc(Path(sys.argv[2]).parent, layers=layers, width=width, heads=heads, feed_forward=feed)
""",
}


@contextmanager
def random_checkpoint(shape: str) -> Iterator[Path]:
    """A checkpoint in a temporary folder, into which goes the package's note about it, too."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TORCH_HOME"] = folder
        path = Path(folder) / file_name(shape)
        save_random(path, shape)
        os.utime(path, (10**9, 10**9))  # of a file written just now no note is left
        yield path


def file_name(shape: str, *, folder: bool = False) -> str:
    """In fair-esm's format, or as transformers writes it, with its config.json beside it."""
    return "model.safetensors" if folder or SHAPES[shape].family == "esmc" else "random.pt"


def save_random(path: Path, shape: str) -> None:
    """Write a checkpoint, in a process of its own: it leaves neither torch nor a model behind here."""
    family, *sizes = SHAPES[shape]
    writer = "esm2 folder" if family == "esm2" and path.suffix == ".safetensors" else family
    command = [sys.executable, "-c", SAVE[writer], TESTS, path, *map(str, sizes)]
    subprocess.run(command, check=True, stderr=subprocess.PIPE)
