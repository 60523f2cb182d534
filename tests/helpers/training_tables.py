"""Small tables to train on, and what a command that cannot train prints."""

import numpy as np

from sklearn_esm.datasets import load_peptides

SEQUENCES = load_peptides().data[:40].tolist()
NUMBERS = np.random.default_rng(0).normal(size=40).round(3).tolist()
FAST = ("--features", "composition", "--folds", "3")


def table(path, sequences=SEQUENCES, targets=NUMBERS, **columns):
    """A CSV file of sequences and targets."""
    columns = {"sequence": sequences, "y": targets, **columns}
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(columns), *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def replaced(values, **changes):
    """A copy of a column with other values in some rows, such as ``row_3="x"``."""
    values = list(values)
    for name, value in changes.items():
        values[int(name.removeprefix("row_"))] = value
    return values


def fails(result, *messages, code=1):
    assert result.exit_code == code, result.stderr
    assert result.stdout == ""
    for message in messages:
        assert message in " ".join(result.stderr.split())
