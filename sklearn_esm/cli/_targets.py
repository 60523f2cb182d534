"""Read a column of targets, and decide between regression and classification."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any, NamedTuple

import numpy as np

_MOST_CLASSES = 10  # of whole numbers; text has any number of classes
_ROWS_PER_CLASS = 5  # on average: ten different counts in ten rows are numbers


class Target(NamedTuple):
    """Targets of rows. ``classes`` is empty for a regression."""

    values: np.ndarray  # (rows,), float64, int64 or text
    classes: list[int] | list[str]

    @property
    def task(self) -> str:
        """The kind of target."""
        return "classification" if self.classes else "regression"


def target_of(values: Sequence[Any], task: str | None, where: Callable[[int], str]) -> Target:
    """Return the targets of rows.

    Parameters
    ----------
    values : sequence
        Values of the column, none of them missing.
    task : {"regression", "classification"} or None
        ``None`` decides by the values: text is classes, and so are at most ten whole numbers of five
        rows each on average. Other numbers are a regression.
    where : callable
        Returns the label of a row.

    Raises
    ------
    ValueError
        If a number cannot be read, or if all rows have the same value.
    """
    numbers = [_number(value) for value in values]
    if task is None:
        task = _task_of(numbers)
    if task == "classification":
        return _classes_of(values, numbers)
    for row, (value, number) in enumerate(zip(values, numbers, strict=True)):
        if number is None:
            raise ValueError(
                f"{where(row)} must be a finite number; got {value!r}. Correct it, or pass --task "
                "classification if the column has classes."
            )
    measured = np.array(numbers, dtype=np.float64)
    if np.ptp(measured) == 0:
        raise ValueError(f"The target must have different values; all {len(values):,} are {values[0]}.")
    return Target(measured, [])


def _task_of(numbers: list[float | None]) -> str:
    readable = [number for number in numbers if number is not None]
    if 2 * len(readable) < len(numbers):
        return "classification"
    different = set(readable)
    few = len(different) <= min(_MOST_CLASSES, len(numbers) // _ROWS_PER_CLASS)
    whole = len(readable) == len(numbers) and all(number.is_integer() for number in different)
    return "classification" if few and whole else "regression"


def _classes_of(values: Sequence[Any], numbers: list[float | None]) -> Target:
    if all(number is not None and number.is_integer() for number in numbers):
        whole = np.array(numbers, dtype=np.float64).astype(np.int64)
        return _checked(Target(whole, np.unique(whole).tolist()))
    texts = np.array([str(value).strip() for value in values])
    return _checked(Target(texts, np.unique(texts).tolist()))


def _checked(target: Target) -> Target:
    if len(target.classes) < 2:
        raise ValueError(
            f"The target must have at least two classes; all {len(target.values):,} rows are "
            f"{target.classes[0]!r}."
        )
    return target


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    if isinstance(value, bool | np.bool_):  # False and True are names of classes
        return None
    return number if isfinite(number) else None
