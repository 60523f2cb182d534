"""Read a safetensors file, memory-mapped if possible.

The format holds a table of names, types and shapes, and the numbers. It cannot hold code, and the
library checks that the table fits the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sklearn_esm._checkpoints._torch_file import may_map
from sklearn_esm._optional_dependencies import import_extra

if TYPE_CHECKING:
    from torch import Tensor


def is_safetensors(beginning: bytes) -> bool:
    """Return whether the first 9 bytes of a file are those of a safetensors file."""
    # the length of the table, 8 bytes, of which the library accepts 100 MB at most; then the table
    return beginning[4:9] == b"\0\0\0\0{"


def open_safetensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file by name, views of the mapped file.

    Raises
    ------
    ImportError
        If the library safetensors is not installed.
    ValueError
        If the file is damaged or claims more than it has.
    """
    safetensors = import_extra("safetensors", of="A model in safetensors format", extra="hub")
    mapped = may_map()
    try:
        with safetensors.safe_open(path, framework="pt", device="cpu") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no dict
    except (FileNotFoundError, PermissionError, IsADirectoryError, MemoryError):
        raise
    except Exception as error:  # its own type, and torch's for tensors that it cannot build
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{path} must be a safetensors file; got a damaged, truncated or different file ({reason}). "
            "Download or copy the file again."
        ) from error
    return tensors if mapped else {name: tensor.clone() for name, tensor in tensors.items()}
