"""Targets that colour points: classes with a legend, or a quantity with a colour bar."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

_MOST_CLASSES = 10  # more distinct integers than this are a quantity


def plain_values(y: Any, size: int) -> np.ndarray:
    """Return ``y`` as an array of Python objects, all 0 if it is None."""
    values = np.zeros(size, dtype=object)
    if y is not None:
        values[:] = [value.item() if isinstance(value, np.generic) else value for value in y]
    return values


def is_missing(value: Any) -> bool:
    """Return whether a value is None, NaN, NaT or ``pd.NA``."""
    try:
        return value is None or bool(value != value)
    except TypeError:  # pd.NA == pd.NA is pd.NA, which has no truth value
        return True


def classes_of(values: np.ndarray) -> list[Any]:
    """Return the sorted classes, or an empty list if the values are a quantity.

    Parameters
    ----------
    values : ndarray of object
        Values, none of them missing.

    Raises
    ------
    ValueError
        If there are no values, or if a value is neither a string nor a finite number.

    Examples
    --------
    >>> classes_of(np.array(["b", "a", "b"], dtype=object))
    ['a', 'b']
    >>> classes_of(np.array([0.5, 1.0], dtype=object))
    []
    """
    distinct = set(values.tolist())
    if not distinct:
        raise ValueError(
            "y must have values; got only missing ones. Pass y=None to draw without colours."
        )
    if all(isinstance(value, str) for value in distinct):
        return sorted(distinct)
    integers = all(isinstance(value, Integral) for value in distinct)  # booleans too
    if integers and len(distinct) <= _MOST_CLASSES:
        return sorted(distinct)
    if all(isinstance(value, Real) for value in distinct):
        if np.isinf([float(value) for value in distinct]).any():
            raise ValueError("y must be finite or missing; got an infinite value. Replace it with NaN.")
        return []
    kinds = sorted({type(value).__name__ for value in distinct})
    raise ValueError(
        f"y must have values of one kind; got {kinds}. Pass strings or integers for classes, or real "
        "numbers."
    )


def in_words(classes: list[Any], target_names: Sequence[str] | None) -> list[str]:
    """Return the names of the classes in the legend.

    Raises
    ------
    ValueError
        If ``target_names`` has no name for a class.
    """
    if target_names is None or not classes:
        return [str(value) for value in classes]
    if any(isinstance(value, str) or not 0 <= value < len(target_names) for value in classes):
        raise ValueError(
            f"target_names must have a name for each integer of y from 0; got {len(target_names)} names "
            f"and the classes {classes}. Add names, or pass target_names=None."
        )
    return [str(target_names[int(value)]) for value in classes]
