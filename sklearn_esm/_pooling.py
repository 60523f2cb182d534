"""How the hidden states of a sequence become one vector."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import numpy as np

Pooling: TypeAlias = "str | Callable[[np.ndarray], np.ndarray]"

_PROBE_RESIDUES = 12


# sums run in float64: over the 34,350 residues of titin float32 would lose a digit
_OVER_RESIDUES: dict[str, Callable[..., Any]] = {
    "mean": partial(np.mean, axis=1, dtype=np.float64),
    "max": partial(np.max, axis=1),
    "min": partial(np.min, axis=1),
    "sum": partial(np.sum, axis=1, dtype=np.float64),
    "std": partial(np.std, axis=1, dtype=np.float64),
}
_AT_ENDS = {"bos": 0, "eos": -1}
POOLINGS = (*_OVER_RESIDUES, *_AT_ENDS)


def pool(hidden: np.ndarray, pooling: str, has_eos: bool) -> np.ndarray:
    """Pool equally long sequences at once.

    Parameters
    ----------
    hidden : ndarray of shape (sequences, tokens, width)
        With BOS, and with EOS where the model has one; neither enters a pooling over residues.
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
    """Return what a user's function makes of one sequence's states, ``(width,)`` float32.

    Parameters
    ----------
    pooling : callable
        Called with the states.
    residues : ndarray of shape (residues, dim)
        The function may keep or change them.
    width : int
        How many numbers it must return, from ``pooled_width``.
    """
    vector = _call(pooling, residues)
    if len(vector) != width:
        raise ValueError(
            f"The pooling function {pooling_name(pooling)!r} returned {len(vector)} numbers for one "
            f"sequence and {width} for another. Return as many whatever the length."
        )
    return vector


def residue_states(hidden: np.ndarray, has_eos: bool) -> np.ndarray:
    """The states of the residues alone: ``hidden`` without BOS and EOS."""
    return hidden[:, 1:-1] if has_eos else hidden[:, 1:]


def pooling_name(pooling: Pooling) -> str:
    """What a pooling is called in feature names."""
    if isinstance(pooling, str):
        return pooling
    return getattr(pooling, "__name__", type(pooling).__name__).strip("<>")


def pooled_width(pooling: Pooling, width: int) -> int:
    """How many numbers a pooling makes of states ``width`` wide; a callable is tried on noise."""
    if isinstance(pooling, str):
        return width
    probe = np.random.default_rng(0).standard_normal((_PROBE_RESIDUES, width), dtype=np.float32)
    return len(_call(pooling, probe))


def _call(pooling: Callable[[np.ndarray], np.ndarray], residues: np.ndarray) -> np.ndarray:
    vector = np.asarray(pooling(residues))
    if vector.ndim != 1 or vector.dtype.kind not in "fiub":
        raise ValueError(
            f"The pooling function {pooling_name(pooling)!r} returned an array of shape {vector.shape} "
            f"and dtype {vector.dtype} for states of shape {residues.shape}. Return one-dimensional "
            "real numbers."
        )
    return vector.astype(np.float32)
