"""Read a checkpoint of any layout: the content of a file or a folder decides how."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sklearn_esm._checkpoints._architecture import Checkpoint
from sklearn_esm._checkpoints._esmc_format import esmc_checkpoint, is_esmc
from sklearn_esm._checkpoints._fair_esm_format import fair_esm_checkpoint
from sklearn_esm._checkpoints._hugging_face_format import hugging_face_checkpoint
from sklearn_esm._checkpoints._layout import CheckpointFiles, find_files, read_index, read_json
from sklearn_esm._checkpoints._lora import merge_adapter
from sklearn_esm._checkpoints._safetensors_file import is_safetensors, open_safetensors
from sklearn_esm._checkpoints._torch_file import load_weights_only

if TYPE_CHECKING:
    from torch import Tensor


def read_checkpoint(path: Path) -> Checkpoint:
    """Open a checkpoint, memory-mapped if its files allow it.

    Parameters
    ----------
    path : Path
        A PyTorch file in fair-esm's format or ESM C's own, a safetensors file with its ``config.json``
        beside it, or a folder that transformers or peft saved.

    Raises
    ------
    FileNotFoundError
        If the path does not exist.
    ValueError
        If a file is damaged, contains code or is not of a sequence model, or if a tensor is missing,
        unexpected or of a wrong shape.
    """
    return _read(find_files(path))


def _read(files: CheckpointFiles) -> Checkpoint:
    if files.config is None:
        data = load_weights_only(files.path)
        if isinstance(data, dict) and _are_tensors(data) and is_esmc(data):
            return esmc_checkpoint(files.path, data)
        return fair_esm_checkpoint(files.path, data)
    config = read_json(files.config)
    if files.base is not None:
        return merge_adapter(files.path, config, _tensors(files), _read(files.base))
    tensors = _tensors(files)
    if config.get("model_type") == "esmc" or is_esmc(tensors):
        return esmc_checkpoint(files.path, tensors, config)
    return hugging_face_checkpoint(files.path, tensors, config, str(files.config))


def _tensors(files: CheckpointFiles) -> dict[str, Tensor]:
    """Return the tensors of all files by name.

    Raises
    ------
    ValueError
        If a shard does not hold exactly the tensors that the index lists for it.
    """
    tensors: dict[str, Tensor] = {}
    listed = None if files.index is None else read_index(files.index)
    for path in files.weights:
        held = _open(path)
        if listed is not None and files.index is not None:
            expected = {name for name, shard in listed.items() if shard == path.name}
            for names, problem in (
                (expected - set(held), "lacks"),
                (set(held) - expected, "also holds"),
            ):
                if names:
                    raise ValueError(
                        f"{path} must hold the tensors that {files.index.name} lists for it; it "
                        f"{problem} {', '.join(sorted(names)[:3])}{', ...' if len(names) > 3 else ''}. "
                        "Download or copy the folder again."
                    )
        tensors.update(held)
    return tensors


def _open(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as file:
        beginning = file.read(9)
    if path.suffix == ".safetensors" or is_safetensors(beginning):
        return open_safetensors(path)
    data = load_weights_only(path)
    if not isinstance(data, dict) or not _are_tensors(data):
        raise ValueError(
            f"{path} must hold tensors by name, as transformers saves them; got other content. "
            "Download or copy the file again."
        )
    return data


def _are_tensors(data: Mapping[Any, Any]) -> bool:
    import torch

    return bool(data) and all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in data.items()
    )
