"""Check the parameters of an estimator, and resolve layers and poolings against its model."""

from __future__ import annotations

import errno
import numbers
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sklearn_esm._checkpoints._architecture import Architecture
from sklearn_esm._checkpoints._catalog import BUNDLED_MODEL, published_model
from sklearn_esm._checkpoints._locate import is_path
from sklearn_esm._pooling import POOLINGS, Pooling, pooling_name
from sklearn_esm._sequences import shorten

_CHOICES = {
    "dtype": ("float32", "bfloat16", "float16", "int8"),
}
# torch keeps the number in 8 bits: to it, "cuda:256" is "cuda:0"
_DEVICE = re.compile(r"cpu|mps|cuda(:(\d|[1-9]\d|1[01]\d|12[0-7]))?", re.ASCII)
_NO_PATH = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP)
_ROOM_FOR_NAMES = "x" * 96  # as long as the names of the files in a cache, and more


def check_parameters(estimator: Any) -> None:
    """Raise ValueError or TypeError for a parameter that needs no model to be seen wrong.

    ``invalid`` and ``missing`` are checked where they are applied, in ``clean_sequences``.
    """
    if not isinstance(estimator.model, (str, os.PathLike)):
        raise TypeError(
            f"model={estimator.model!r} is a {type(estimator.model).__name__}. Pass a model's name, "
            "or the path of a .pt checkpoint."
        )
    for name, allowed in {**_CHOICES, "overlong": estimator._overlong_policies}.items():
        check_choice(estimator, name, allowed)
    device = estimator.device
    # whether it is present is checked where the model is run, on the machine that runs it
    if device is not None and not (isinstance(device, str) and _DEVICE.fullmatch(device)):
        message = f"device must be None, 'cpu', 'cuda', 'cuda:N' or 'mps'; got {device!r}."
        if str(device).startswith("cuda:"):
            message += " N must be a number from 0 to 127 without leading zeros."
        raise ValueError(message)
    if estimator.dtype == "int8" and device not in (None, "cpu"):
        raise ValueError(
            f"dtype='int8' runs on processors only, and device is {device!r}. Pass device='cpu', or "
            "dtype='bfloat16' or 'float16' for speed there."
        )
    check_cache(estimator.cache)
    for name in ("max_length", "batch_tokens"):
        value = getattr(estimator, name)
        if value is not None and not (_is_int(value) and value > 0):
            raise ValueError(f"{name}={value!r} is neither None nor a positive integer.")
    n_jobs, verbose = estimator.n_jobs, estimator.verbose
    if not (n_jobs is None or _is_int(n_jobs)) or n_jobs == 0:
        kind = ValueError if _is_int(n_jobs) else TypeError
        raise kind(f"n_jobs must be None or an integer other than 0; got {n_jobs!r}.")
    if not isinstance(verbose, (numbers.Integral, np.bool_)):
        raise TypeError(f"verbose must be a bool or an integer; got {verbose!r}.")


def check_cache(cache: Any) -> None:
    """Raise ValueError or TypeError if the parameter ``cache`` names no possible place.

    Rights and room are not checked: without them an estimator warns and goes on without its cache.
    """
    if cache is None or (isinstance(cache, str) and cache == "memory"):
        return
    if not isinstance(cache, (str, os.PathLike)) or not isinstance(os.fspath(cache), str):
        raise TypeError(
            f"cache={cache!r} is a {type(cache).__name__}. Pass 'memory', None, or the path of a folder."
        )
    if cache == "":
        raise ValueError("cache='' names no folder. Pass 'memory', None, or the path of a folder.")
    try:
        _check_folder(Path(cache))
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_PATH:
            return
        reason = error.strerror if isinstance(error, OSError) else error
        raise ValueError(
            "cache must be None, 'memory' or the path of a folder; got "
            f"'{shorten(os.fspath(cache), 100)}' ({str(reason).rstrip('.')})."
        ) from error


def _check_folder(folder: Path) -> None:
    """Raise OSError, RuntimeError or ValueError if no folder is at a path or can be made there."""
    nearest = folder = folder.expanduser().absolute()
    _exists(folder / _ROOM_FOR_NAMES)
    while not _exists(nearest):
        nearest = nearest.parent
    if not nearest.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"{nearest} is a file")
    for name in folder.relative_to(nearest).parts:
        _exists(nearest / name)  # of names behind a missing one the system does not see the length


def _exists(path: Path) -> bool:
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def check_choice(estimator: Any, name: str, allowed: Sequence[str]) -> None:
    """Raise ValueError where a parameter is none of the names it may be."""
    value = getattr(estimator, name)
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name}={value!r} is unknown. Pass one of {', '.join(map(repr, allowed))}.")


def published_architecture(model: str | os.PathLike[str]) -> Architecture | None:
    """Return the architecture of a published model from the catalog, without its file.

    Returns
    -------
    Architecture or None
        None for a path and for the bundled model, whose files need no download.

    Raises
    ------
    ValueError
        If no sequence model of this name was published.
    """
    if is_path(model) or os.fspath(model) == BUNDLED_MODEL:
        return None
    entry = published_model(os.fspath(model))
    family = "esm1b" if entry.family == "esm1v" else entry.family
    return Architecture(
        family=family,
        layers=entry.layers,
        width=entry.width,
        heads=entry.heads,
        token_dropout=family != "esm1",
        max_length=entry.max_length,
    )


def resolve_layers(layer: Any, n_layers: int) -> list[int]:
    """Layers counted from 0, in the order given."""
    if isinstance(layer, str) and layer == "all":
        return list(range(n_layers + 1))
    given = [layer] if _is_int(layer) else layer
    if isinstance(given, str) or not isinstance(given, (Sequence, np.ndarray)) or not len(given):
        raise ValueError(f"layer={layer!r} is neither an integer, a list of them, nor 'all'.")
    layers = []
    for number in given:
        if not _is_int(number) or not -n_layers - 1 <= number <= n_layers:
            raise ValueError(
                f"layer={layer!r}: {number!r} is none of this model's layers. It has {n_layers} blocks: "
                f"pass 0 to {n_layers}, or -1 to {-n_layers - 1} from the end."
            )
        layers.append(int(number) % (n_layers + 1))
    repeated = {number for number in layers if layers.count(number) > 1}
    if repeated:
        raise ValueError(f"layer={layer!r} names layer {min(repeated)} more than once.")
    return layers


def resolve_poolings(
    pooling: Pooling | Sequence[Pooling] | None, architecture: Architecture
) -> list[Pooling]:
    """The poolings in the order given; an empty list where residues are not pooled."""
    if pooling is None:
        return []
    given: list[Any] = [pooling]
    if isinstance(pooling, (Sequence, np.ndarray)) and not isinstance(pooling, str):
        given = list(pooling)
    if not given:
        raise ValueError("pooling is an empty list. Pass None for the states of the residues.")
    for one in given:
        if not callable(one) and not (isinstance(one, str) and one in POOLINGS):
            raise ValueError(
                f"pooling={pooling!r}: {one!r} is unknown. Pass one of "
                f"{', '.join(map(repr, POOLINGS))}, a function, a list of them, or None."
            )
        if one == "eos" and not architecture.has_eos:
            raise ValueError("pooling='eos': ESM-1 has no EOS token. Pass 'bos' or 'mean'.")
    names = [pooling_name(one) for one in given]
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise ValueError(
            f"pooling={pooling!r} has {repeated[0]!r} more than once, and features are named by it."
        )
    return given


def _is_int(value: object) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, (bool, np.bool_))
