"""Loaded models, shared by the whole process, so that no estimator ever holds weights."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from sklearn_esm._checkpoints._fair_esm_format import read_checkpoint
from sklearn_esm._checkpoints._fingerprint import FileState, Identity, identify
from sklearn_esm._locks import fork_safe_lock

if TYPE_CHECKING:
    from sklearn_esm._engine import PackedModel

# a search over models keeps the two latest; the tensors of older ones are only mapped files
MAX_MODELS = 2

_models: OrderedDict[tuple[FileState, str, str, str], PackedModel] = OrderedDict()
_lock = fork_safe_lock()


def loaded_model(identity: Identity, device: str, dtype: str) -> PackedModel:
    """Return the model of a checkpoint on a device, read at the first call and shared after it.

    Raises
    ------
    ValueError
        If the file was replaced since it was identified.
    """
    from sklearn_esm._engine import PackedModel

    # not by content alone: the model is mapped from this very file, which may be overwritten in
    # place while a copy of it, or its backup put back, has the former fingerprint
    key = (identity.state, identity.fingerprint, device, dtype)
    with _lock:
        if key not in _models:
            model = PackedModel(read_checkpoint(identity.path), device, dtype)
            if identify(identity.path) != identity:
                raise ValueError(f"{identity.path} was replaced while it was read. Run this again.")
            _models[key] = model
        _models.move_to_end(key)
        while len(_models) > MAX_MODELS:
            _models.popitem(last=False)
        return _models[key]


def resolve_device(device: str | None, dtype: str) -> str:
    """The device to use: the one named, or the best one present where ``device`` is None.

    For ``dtype="int8"`` that is the processor: the integer layers run nowhere else.

    Raises
    ------
    ValueError
        Where the device named is not present on this machine.
    """
    import torch

    if device is None:
        if dtype == "int8":
            return "cpu"
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    # torch itself would read cuda:256 as cuda:0
    kind, _, number = device.partition(":")
    present = {
        "cpu": 1,
        "cuda": torch.cuda.device_count(),
        "mps": int(torch.backends.mps.is_available()),
    }[kind]
    if int(number or 0) >= present:
        raise ValueError(
            f"device={device!r} is not present: torch sees {torch.cuda.device_count()} CUDA devices "
            f"and {'an' if torch.backends.mps.is_available() else 'no'} MPS device. "
            "Pass device=None to take the best one present."
        )
    return device
