"""Read a PyTorch file without running code from it, memory-mapped if possible.

torch's weights-only reader opens the file. Besides tensors and plain containers it may build
`argparse.Namespace` only.
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

# torch has one list of allowed classes per process, so two concurrent readers would undo each other's
# changes to it
_reading = fork_safe_lock()


def load_weights_only(path: Path) -> Any:
    """Return the content of a PyTorch file.

    Raises
    ------
    ValueError
        If the file is damaged, claims more than it has, or contains code.
    """
    import torch

    try:
        mapped = check_claims(path) and may_map()
        with _reading, torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except (FileNotFoundError, PermissionError, MemoryError):
        raise
    except pickle.UnpicklingError as error:
        refused = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = (
            f"a reference to {refused[1]}" if refused else "a pickle that is damaged or not plain data"
        )
        raise ValueError(
            f"{path} must hold only tensors, plain containers and argparse.Namespace; got {what}. "
            "Nothing in it was run. Get the file from a source you trust."
        ) from error
    except Exception as error:  # damaged files raise many types
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{path} must be a PyTorch checkpoint; got a damaged, truncated or different file "
            f"({reason}). Download or copy the file again."
        ) from error


def may_map() -> bool:
    """Return whether files may be memory-mapped: yes, unless SKLEARN_ESM_MMAP forbids it."""
    return os.environ.get("SKLEARN_ESM_MMAP", "").strip().lower() not in ("0", "false", "no")
