"""The memory of a GPU that a full forward pass needs, counted without a GPU.

Usage: ``python benchmarks/gpu_memory.py [--tokens 32768]``. The pass runs on tensors without data, and
the bytes of all that exist at a time are added up. It is a count, not a measurement: the workspace of
kernels, the CUDA context, and what torch's allocator holds in reserve come on top.
"""

import argparse
import sys

import pandas as pd
from shapes import TESTS

from sklearn_esm._checkpoints._catalog import CATALOG, ESMC
from sklearn_esm._engine._tokens import tokenise
from sklearn_esm._execution._request import BATCH_TOKENS

sys.path.insert(0, str(TESTS))
from fake_gpu import DTYPES, fake_gpu, fake_model

LENGTH = 300  # residues of each sequence


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tokens", type=int, default=BATCH_TOKENS["cuda"])
    options = parser.parse_args()
    sequences = full(options.tokens)
    rows = {}
    published = {(m.family, m.layers, m.width): m for m in (*CATALOG.values(), *ESMC.values())}
    for model in published.values():
        row = rows[model.name] = {}
        for dtype in DTYPES:
            weights, during = counted(model, dtype, sequences)
            row[f"{dtype}: weights"] = f"{weights:,.2f}"
            row[f"{dtype}: pass"] = f"{during:,.2f}"
    print(f"GiB, counted, for {options.tokens:,} tokens")
    print(pd.DataFrame.from_dict(rows, orient="index").to_string())


def full(tokens: int = BATCH_TOKENS["cuda"]) -> list[str]:
    """Sequences that fill a batch."""
    return ["A" * LENGTH] * (tokens // (LENGTH + 2))


def counted(published, dtype: str, sequences: list[str]) -> tuple[float, float]:
    """GiB of a model's weights, and what a pass needs at its peak beside them."""
    with fake_gpu() as watch:
        model = fake_model(published, dtype)
        weights = watch.held
        tokens = tokenise(sequences, model.architecture)
        for _ in model.hidden_states(tokens, {published.layers}):
            pass
    return weights / 2**30, (watch.peak - weights) / 2**30


if __name__ == "__main__":
    main()
