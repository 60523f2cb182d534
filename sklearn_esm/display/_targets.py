"""What colours points: classes with a legend, or a quantity with a colour bar."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

_MOST_CLASSES = 10  # of integers: with more distinct ones they are a quantity


def plain_values(y: Any, size: int) -> np.ndarray:
    """``y`` as an array of Python's own objects; 0 everywhere where it is None."""
    values = np.zeros(size, dtype=object)
    if y is not None:
        values[:] = [value.item() if isinstance(value, np.generic) else value for value in y]
    return values


def is_missing(value: Any) -> bool:
    """Whether it is None, NaN, NaT or ``pd.NA``."""
    try:
        return value is None or bool(value != value)
    except TypeError:  # pd.NA is neither equal to itself nor not
        return True


def classes_of(values: np.ndarray) -> list[Any]:
    """The classes in their order, or none where the values are a quantity.

    Parameters
    ----------
    values : ndarray of object
        None of them missing.

    Raises
    ------
    ValueError
        Where there is no value, or one that is neither string nor finite number.

    Examples
    --------
    >>> classes_of(np.array(["b", "a", "b"], dtype=object))
    ['a', 'b']
    >>> classes_of(np.array([0.5, 1.0], dtype=object))
    []
    """
    distinct = set(values.tolist())
    if not distinct:
        raise ValueError("y holds no value: all are missing. Pass y=None, or some values.")
    if all(isinstance(value, str) for value in distinct):
        return sorted(distinct)
    integers = all(isinstance(value, Integral) for value in distinct)  # booleans are, too
    if integers and len(distinct) <= _MOST_CLASSES:
        return sorted(distinct)
    if all(isinstance(value, Real) for value in distinct):
        if np.isinf([float(value) for value in distinct]).any():
            raise ValueError("y holds an infinite value, which has no colour. Pass NaN in its place.")
        return []
    kinds = sorted({type(value).__name__ for value in distinct})
    raise ValueError(
        f"y holds values of the kinds {kinds}. Pass strings or integers for classes, or real numbers."
    )


def in_words(classes: list[Any], target_names: Sequence[str] | None) -> list[str]:
    """The classes as the legend names them.

    Raises
    ------
    ValueError
        Where ``target_names`` has no name for one of them.
    """
    if target_names is None or not classes:
        return [str(value) for value in classes]
    if any(isinstance(value, str) or not 0 <= value < len(target_names) for value in classes):
        raise ValueError(
            f"target_names has {len(target_names)} names, and the classes of y are {classes}. Pass a "
            "name for each integer from 0, or none."
        )
    return [str(target_names[int(value)]) for value in classes]
