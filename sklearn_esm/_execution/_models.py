"""Loaded models, shared by the whole process; estimators never hold weights."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from sklearn_esm._checkpoints._fingerprint import CheckpointState, Identity, identify
from sklearn_esm._checkpoints._reader import read_checkpoint
from sklearn_esm._locks import fork_safe_lock

if TYPE_CHECKING:
    from sklearn_esm._engine import PackedModel

# enough for a search over models; loading one again only maps its file
MAX_MODELS = 2

_models: OrderedDict[tuple[CheckpointState, str, str, str], PackedModel] = OrderedDict()
_lock = fork_safe_lock()


def loaded_model(identity: Identity, device: str, dtype: str) -> PackedModel:
    """Return the model of a checkpoint on a device, loaded at the first call and then shared.

    Raises
    ------
    ValueError
        If the file was replaced after it was identified.
    """
    from sklearn_esm._engine import PackedModel

    # the state is in the key because the model is mapped from these very files: a copy with the same
    # fingerprint stays intact when they are overwritten
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
    """Return the device to use: the one named, or the best one present if ``device`` is None.

    For ``dtype="int8"`` that is the CPU, because the integer layers run only there.

    Raises
    ------
    ValueError
        If the device named is not present on this machine.
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
            f"device must be present on this machine; got {device!r}, and torch finds "
            f"{torch.cuda.device_count()} CUDA devices and "
            f"{'an' if torch.backends.mps.is_available() else 'no'} MPS device. Set device=None to use "
            "the best one present."
        )
    return device
