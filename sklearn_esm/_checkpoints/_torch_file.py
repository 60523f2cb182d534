"""Read a PyTorch file without running anything in it, mapped into memory where that is possible.

torch's weights-only reader opens it. Besides tensors and plain containers it may build one class,
`argparse.Namespace`.
"""

from __future__ import annotations

import argparse
import os
import pickle
import re
from pathlib import Path
from typing import Any

from sklearn_esm._checkpoints._file_size import check_claims
from sklearn_esm._locks import fork_safe_lock

# torch keeps one list of allowed classes for the whole process: two readers at once would each put
# back what the other had changed
_reading = fork_safe_lock()


def load_weights_only(path: Path) -> Any:
    """Return what is in a file of PyTorch.

    Raises
    ------
    ValueError
        If the file is damaged, claims more than it holds, or holds what would have to be run.
    """
    import torch

    try:
        mapped = check_claims(path) and _may_map()
        with _reading, torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except (FileNotFoundError, PermissionError, MemoryError):
        raise
    except pickle.UnpicklingError as error:
        refused = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"it refers to {refused[1]}" if refused else "its pickle is damaged or not plain data"
        raise ValueError(
            f"{path} was refused, and nothing in it was run: {what}. A checkpoint may hold only "
            "tensors, plain containers and argparse.Namespace; get the file from a source you trust."
        ) from error
    except Exception as error:  # damage makes readers fail in every way there is
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{path} cannot be read as a PyTorch checkpoint; it is damaged, cut short or another kind "
            f"of file ({reason}). Download or copy it again."
        ) from error


def _may_map() -> bool:
    return os.environ.get("SKLEARN_ESM_MMAP", "").strip().lower() not in ("0", "false", "no")
