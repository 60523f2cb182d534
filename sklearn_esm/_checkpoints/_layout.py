"""Find the files of a checkpoint: one file, or a folder as transformers and peft save it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sklearn_esm._checkpoints._file_size import ARCHIVE, PICKLE
from sklearn_esm._checkpoints._lora import ADAPTER_CONFIG, check_adapter
from sklearn_esm._checkpoints._safetensors_file import is_safetensors

CONFIG = "config.json"
# in the order in which transformers looks for them
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
_SUFFIXES = (".safetensors", ".bin")
_REMEDY = "Pass a folder written by save_pretrained, or the path of a .pt file."


@dataclass(frozen=True)
class CheckpointFiles:
    """The files that decide the numbers of a model.

    Parameters
    ----------
    path : Path
        What the user passed, a file or a folder.
    weights : tuple of Path
        The files with tensors, sorted by name.
    config : Path or None, default=None
        ``config.json`` or ``adapter_config.json``. None for a PyTorch file, which has its own settings.
    index : Path or None, default=None
        The index of a sharded checkpoint: which file has which tensor.
    base : CheckpointFiles or None, default=None
        For a LoRA adapter, the files of the model to which it belongs.
    """

    path: Path
    weights: tuple[Path, ...]
    config: Path | None = None
    index: Path | None = None
    base: CheckpointFiles | None = None

    @property
    def all(self) -> list[Path]:
        """Every file, in a fixed order."""
        more = [path for path in (self.config, self.index) if path is not None]
        return [*self.weights, *more, *(self.base.all if self.base else [])]


def find_files(path: Path) -> CheckpointFiles:
    """Return the files of a checkpoint, given by a file or a folder.

    Raises
    ------
    FileNotFoundError
        If the path does not exist, or if an adapter's base model does not exist.
    ValueError
        If a folder is incomplete, or if its settings are damaged.
    """
    if path.is_dir():
        folder = Path(os.path.realpath(path))
        return _adapter(folder) if (folder / ADAPTER_CONFIG).is_file() else _folder(folder)
    with path.open("rb") as file:
        beginning = file.read(9)
    # first, because the length of a table can begin with the bytes of another format
    safetensors = is_safetensors(beginning)
    pytorch = not safetensors and beginning.startswith((ARCHIVE, PICKLE))
    if safetensors or (path.suffix == ".safetensors" and not pytorch):
        # not resolved: in the Hugging Face cache, a link's target has no config.json beside it
        path = path.absolute()
        return CheckpointFiles(path, (path,), _existing(path.parent / CONFIG, path))
    path = Path(os.path.realpath(path))
    return CheckpointFiles(path, (path,))


def _folder(folder: Path) -> CheckpointFiles:
    config = _existing(folder / CONFIG, folder)
    for name in WEIGHTS:
        if (folder / name).is_file():
            return CheckpointFiles(folder, (folder / name,), config)
        index = folder / f"{name}.index.json"
        if index.is_file():
            shards = sorted({folder / shard for shard in read_index(index).values()})
            for shard in shards:
                if not shard.is_file():
                    raise ValueError(
                        f"{folder} must hold every file that {index.name} lists; {shard.name} is "
                        "missing. Download or copy the folder again."
                    )
            return CheckpointFiles(folder, tuple(shards), config, index)
    raise ValueError(
        f"{folder} must hold {' or '.join(WEIGHTS)}, whole or sharded with an index; got neither. "
        f"{_REMEDY}"
    )


def _adapter(folder: Path) -> CheckpointFiles:
    config = folder / ADAPTER_CONFIG
    settings = read_json(config)
    check_adapter(config, settings)
    found = [folder / name for name in ADAPTER_WEIGHTS if (folder / name).is_file()]
    if not found:
        raise ValueError(
            f"{folder} must hold {' or '.join(ADAPTER_WEIGHTS)} beside {ADAPTER_CONFIG}; got neither. "
            "Download or copy the folder again."
        )
    base = _base_of(folder, settings)
    if (base / ADAPTER_CONFIG).is_file():
        raise ValueError(
            f"{folder} must be a LoRA adapter of a whole model; got one of another adapter, "
            f"{base}. Merge that adapter first, with peft's merge_and_unload."
        )
    return CheckpointFiles(folder, (found[0],), config, base=find_files(base))


def _base_of(folder: Path, settings: Mapping[str, Any]) -> Path:
    """Return the path of an adapter's base model, found or downloaded like any other model."""
    from sklearn_esm._checkpoints._locate import find_checkpoint

    name, revision = settings["base_model_name_or_path"], settings.get("revision")
    # a folder beside the adapter first, so that workers in other working directories find the same one
    for candidate in (folder / name, Path(name)):
        if candidate.is_dir():
            return candidate
    model = f"{name}@{revision}" if revision else name
    context = (
        f"{folder / ADAPTER_CONFIG}: base_model_name_or_path must be the folder or the Hub name of the "
        f"base model; got {name!r}"
    )
    try:
        return find_checkpoint(model)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{context}. {error}") from error
    except ValueError as error:
        raise ValueError(f"{context}. {error}") from error


def _existing(config: Path, path: Path) -> Path:
    if not config.is_file():
        where = "in it" if path.is_dir() else "beside it"
        raise ValueError(f"{path} must have a {CONFIG} {where}; got none. {_REMEDY}")
    return config


def read_index(path: Path) -> dict[str, str]:
    """Return the name of the file of each tensor, from the index of a sharded checkpoint."""
    shards = read_json(path).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise ValueError(f"{path} must have a weight_map of tensors to files. Download it again.")
    for shard in shards.values():
        # a name with a folder would lead out of the checkpoint
        plain = isinstance(shard, str) and shard.endswith(_SUFFIXES) and Path(shard).name == shard
        if not plain or "\\" in shard:
            raise ValueError(
                f"{path}: weight_map must list names of files beside it; got {str(shard)[:100]!r}. "
                "Download it again."
            )
    return shards


def read_json(path: Path) -> dict[str, Any]:
    """Return the settings in a JSON file.

    Raises
    ------
    ValueError
        If the file is damaged or not a JSON object.
    """
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} must be a JSON file; got a damaged or different file ({error}). "
            "Download or copy the file again."
        ) from error
    if not isinstance(settings, dict):
        raise ValueError(
            f"{path} must hold a JSON object; got {type(settings).__name__}. "
            "Download or copy the file again."
        )
    return settings
