"""Check the parameters of an estimator, and resolve its layers and poolings for a model."""

from __future__ import annotations

import errno
import numbers
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from sklearn_esm._checkpoints._architecture import Architecture
from sklearn_esm._checkpoints._catalog import BUNDLED_MODEL, ESMC, published_model
from sklearn_esm._checkpoints._locate import find_repository, is_path
from sklearn_esm._pooling import POOLINGS, Pooling, pooling_name
from sklearn_esm._sequences import check_one_of, is_int, listed, shorten

Dtype: TypeAlias = Literal["float32", "bfloat16", "float16", "int8"]

# torch stores the number in 8 bits, so "cuda:256" would be "cuda:0"
_DEVICE = re.compile(r"cpu|mps|cuda(:(\d|[1-9]\d|1[01]\d|12[0-7]))?", re.ASCII)
_NO_PATH = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP)
_LONG_NAME = "x" * 96  # longer than the file names of a cache


def check_parameters(estimator: Any) -> None:
    """Raise ValueError or TypeError if a parameter is invalid for every model.

    ``clean_sequences`` checks ``invalid`` and ``missing``.
    """
    if not isinstance(estimator.model, (str, os.PathLike)):
        raise TypeError(
            f"model must be a str or path-like; got {estimator.model!r}. Pass a model's name, or the "
            "path of a checkpoint."
        )
    check_choice(estimator, "dtype", get_args(Dtype))
    check_choice(estimator, "overlong", estimator._overlong_policies)
    device = estimator.device
    # whether the device is present is checked on the machine that runs the model
    if device is not None and not (isinstance(device, str) and _DEVICE.fullmatch(device)):
        message = f"device must be None, 'cpu', 'cuda', 'cuda:N' or 'mps'; got {device!r}."
        if str(device).startswith("cuda:"):
            message += " N must be a number from 0 to 127 without leading zeros."
        raise ValueError(message)
    if estimator.dtype == "int8" and device not in (None, "cpu"):
        raise ValueError(
            f"dtype='int8' runs on CPUs only; got device={device!r}. Pass device='cpu', or "
            "dtype='bfloat16' or 'float16' for speed on that device."
        )
    check_cache(estimator.cache)
    for name in ("max_length", "batch_tokens"):
        value = getattr(estimator, name)
        if value is not None and not (is_int(value) and value > 0):
            raise ValueError(f"{name} must be None or a positive integer; got {value!r}.")
    n_jobs, verbose = estimator.n_jobs, estimator.verbose
    if not (n_jobs is None or is_int(n_jobs)) or n_jobs == 0:
        kind = ValueError if is_int(n_jobs) else TypeError
        raise kind(f"n_jobs must be None or an integer other than 0; got {n_jobs!r}.")
    if not isinstance(verbose, (numbers.Integral, np.bool_)):
        raise TypeError(f"verbose must be a bool or an integer; got {verbose!r}.")


def check_cache(cache: Any) -> None:
    """Raise ValueError or TypeError if the parameter ``cache`` is invalid.

    Permissions and free space are not checked. Without them an estimator warns and continues without
    its cache.
    """
    if cache is None or (isinstance(cache, str) and cache == "memory"):
        return
    if not isinstance(cache, (str, os.PathLike)) or not isinstance(os.fspath(cache), str):
        raise TypeError(f"cache must be None, 'memory' or the path of a folder; got {cache!r}.")
    if cache == "":
        raise ValueError("cache must be None, 'memory' or the path of a folder; got ''.")
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
    """Raise OSError, RuntimeError or ValueError if a path cannot be a folder."""
    nearest = folder = folder.expanduser().absolute()
    _exists(folder / _LONG_NAME)
    while not _exists(nearest):
        nearest = nearest.parent
    if not nearest.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"{nearest} is a file")
    for name in folder.relative_to(nearest).parts:
        _exists(nearest / name)  # the system checks the length of a name only if its parent exists


def _exists(path: Path) -> bool:
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def check_choice(estimator: Any, name: str, allowed: Sequence[str]) -> None:
    """Raise ValueError if a parameter of an estimator is not one of the allowed strings."""
    check_one_of(name, getattr(estimator, name), allowed)


def published_architecture(model: str | os.PathLike[str]) -> Architecture | None:
    """Return the architecture of a published model from the catalog, without its file.

    Returns
    -------
    Architecture or None
        None for a path and for the bundled model, because their files need no download, and for other
        repositories of the Hugging Face Hub, whose settings are a small download.

    Raises
    ------
    ValueError
        If the name is not that of a published sequence model, and has not the form of a repository.
    """
    text = os.fspath(model)
    if is_path(model) or text == BUNDLED_MODEL:
        return None
    if text not in ESMC and find_repository(model) is not None:
        return None
    entry = published_model(text)
    family = "esm1b" if entry.family == "esm1v" else entry.family
    return Architecture(
        family=family,
        layers=entry.layers,
        width=entry.width,
        heads=entry.heads,
        token_dropout=family not in ("esm1", "esmc"),
        max_length=entry.max_length,
    )


def resolve_layers(layer: Any, n_layers: int) -> list[int]:
    """Return the layers counted from 0, in the given order."""
    if isinstance(layer, str) and layer == "all":
        return list(range(n_layers + 1))
    given = [layer] if is_int(layer) else layer
    if isinstance(given, str) or not isinstance(given, (Sequence, np.ndarray)) or not len(given):
        raise ValueError(f"layer must be an integer, a list of integers or 'all'; got {layer!r}.")
    layers = []
    for number in given:
        if not is_int(number) or not -n_layers - 1 <= number <= n_layers:
            raise ValueError(
                f"layer must be 0 to {n_layers}, or -1 to {-n_layers - 1} from the end, because the "
                f"model has {n_layers} blocks; got {number!r}."
            )
        layers.append(int(number) % (n_layers + 1))
    repeated = {number for number in layers if layers.count(number) > 1}
    if repeated:
        raise ValueError(f"layer must not repeat a layer; got {layer!r}, which repeats {min(repeated)}.")
    return layers


def resolve_poolings(
    pooling: Pooling | Sequence[Pooling] | None, architecture: Architecture
) -> list[Pooling]:
    """Return the poolings in the given order; an empty list if residues are not pooled."""
    if pooling is None:
        return []
    given: list[Any] = [pooling]
    if isinstance(pooling, (Sequence, np.ndarray)) and not isinstance(pooling, str):
        given = list(pooling)
    if not given:
        raise ValueError(
            f"pooling must not be empty; got {pooling!r}. Pass None for the states of residues."
        )
    for one in given:
        if not callable(one) and not (isinstance(one, str) and one in POOLINGS):
            raise ValueError(
                f"pooling must be None, a callable, {listed(POOLINGS)}, or a list of these; got {one!r}."
            )
        if one == "eos" and not architecture.has_eos:
            raise ValueError(
                "pooling must not be 'eos', because ESM-1 has no EOS token. Pass 'bos' or 'mean'."
            )
    names = [pooling_name(one) for one in given]
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise ValueError(
            f"pooling must not repeat a name, because features are named by it; got {pooling!r}, which "
            f"repeats {repeated[0]!r}."
        )
    return given


def check_can_be_kept(poolings: Sequence[Pooling], cache: str | os.PathLike[str] | None) -> None:
    """Raise ValueError if pooled vectors cannot be kept in a cache."""
    if cache is None or not poolings or not all(isinstance(pooling, str) for pooling in poolings):
        raise ValueError(
            "precompute must have a cache and poolings given by name; got "
            f"cache={cache!r} and poolings {[pooling_name(pooling) for pooling in poolings]}. Set "
            "cache='memory' and poolings such as ['mean', 'max']."
        )
