"""Pool the hidden states of a sequence to one vector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np

Pooling: TypeAlias = "str | Callable[[np.ndarray], np.ndarray]"

_PROBE_RESIDUES = 12


def _mean(residues: np.ndarray) -> np.ndarray:
    # as np.mean, whose checks of its arguments take as long as the sum over a short sequence
    return np.add.reduce(residues, axis=1, dtype=np.float64) / residues.shape[1]  # type: ignore[no-any-return]


# sums are float64, because float32 loses a digit over the 34,350 residues of titin
_OVER_RESIDUES: dict[str, Callable[..., Any]] = {
    "mean": _mean,
    "max": partial(np.maximum.reduce, axis=1),
    "min": partial(np.minimum.reduce, axis=1),
    "sum": partial(np.add.reduce, axis=1, dtype=np.float64),
    "std": partial(np.std, axis=1, dtype=np.float64),
}
_AT_ENDS = {"bos": 0, "eos": -1}
POOLINGS = (*_OVER_RESIDUES, *_AT_ENDS)


def pool(hidden: np.ndarray, pooling: str, has_eos: bool) -> np.ndarray:
    """Pool equally long sequences in one call.

    Parameters
    ----------
    hidden : ndarray of shape (sequences, tokens, width)
        States with BOS, and with EOS if the model has it. Poolings over residues exclude both.
    pooling : str
        One of ``POOLINGS``.
    has_eos : bool
        Whether the last token is EOS.

    Returns
    -------
    ndarray of shape (sequences, width), float32
    """
    if pooling in _AT_ENDS:
        return hidden[:, _AT_ENDS[pooling]].astype(np.float32)
    pooled = _OVER_RESIDUES[pooling](residue_states(hidden, has_eos))
    return np.asarray(pooled, dtype=np.float32)


def pool_by_function(
    pooling: Callable[[np.ndarray], np.ndarray], residues: np.ndarray, width: int
) -> np.ndarray:
    """Return a user's function of one sequence's states, ``(width,)`` float32.

    Parameters
    ----------
    pooling : callable
        Function of the states.
    residues : ndarray of shape (residues, dim)
        States, which the function may keep or change.
    width : int
        Length of the vector, from ``pooled_width``.
    """
    vector = _call(pooling, residues)
    if len(vector) != width:
        raise ValueError(
            f"The pooling function {pooling_name(pooling)!r} must return vectors of one length; got "
            f"{len(vector)} and {width} numbers. Return the same length for every sequence."
        )
    return vector


def residue_states(hidden: np.ndarray, has_eos: bool) -> np.ndarray:
    """Return the states of the residues, without BOS and EOS."""
    return hidden[:, 1:-1] if has_eos else hidden[:, 1:]


def pooling_name(pooling: Pooling) -> str:
    """Return the name of a pooling in feature names."""
    if isinstance(pooling, str):
        return pooling
    return getattr(pooling, "__name__", type(pooling).__name__).strip("<>")


def pooled_names(prefixes: Sequence[str], poolings: Sequence[Pooling], width: int) -> list[str]:
    """Return a name for each number of each pooling, such as ``prefix_mean_0000``."""
    return [
        f"{prefix}_{pooling_name(pooling)}_{number:04d}"
        for prefix in prefixes
        for pooling in poolings
        for number in range(pooled_width(pooling, width))
    ]


def pooled_width(pooling: Pooling, width: int) -> int:
    """Return the length of the pooled vectors. A callable is tried on random states."""
    if isinstance(pooling, str):
        return width
    probe = np.random.default_rng(0).standard_normal((_PROBE_RESIDUES, width), dtype=np.float32)
    return len(_call(pooling, probe))


def _call(pooling: Callable[[np.ndarray], np.ndarray], residues: np.ndarray) -> np.ndarray:
    vector = np.asarray(pooling(residues))
    if vector.ndim != 1 or vector.dtype.kind not in "fiub":
        raise ValueError(
            f"The pooling function {pooling_name(pooling)!r} must return a 1-D array of real numbers; "
            f"got an array of shape {vector.shape} and dtype {vector.dtype} for states of shape "
            f"{residues.shape}. Reduce the first axis, as in states.mean(axis=0)."
        )
    return vector.astype(np.float32)
