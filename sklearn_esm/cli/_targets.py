"""Read a column of targets, and decide between regression and classification."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any, NamedTuple

import numpy as np

_MOST_CLASSES = 10  # of whole numbers; text has any number of classes
_ROWS_PER_CLASS = 5  # on average: ten different counts in ten rows are numbers
_LARGEST_CLASS = 2**53  # of whole numbers that are exact in floating point
_LARGEST = 1e18  # of targets: some estimators square them in float32
# "<10", "3,7", "1 200", "45%", "3.7 nM", "1.2 ± 0.1"
_DECORATED = re.compile(
    r"[<>=≤≥~≈ ]*[-+−]?\d+([., ]\d+)*(e[-+]?\d+)?\s*(%|[a-zµμ][\w/^-]{0,9}|(±|\+/-).*)?", re.IGNORECASE
)


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
            _check_not_numbers(values, numbers, where)
    if task == "classification":
        return _classes_of(values, numbers)
    for row, (value, number) in enumerate(zip(values, numbers, strict=True)):
        if number is None:
            raise ValueError(
                f"{where(row)} must be a finite number; got {value!r}. Correct it, or pass --task "
                "classification if the column has classes."
            )
        if abs(number) > _LARGEST:
            raise ValueError(
                f"{where(row)} must be at most {_LARGEST:g}; got {value!r}. Correct it, or pass "
                "its logarithm."
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


def _check_not_numbers(
    values: Sequence[Any], numbers: list[float | None], where: Callable[[int], str]
) -> None:
    """Raise ValueError if most of many different texts begin with a number, as in "3.7 nM"."""
    texts = [str(value).strip() for value in values]
    # a few such texts repeated in many rows are classes, as "37C" and "55C"
    if len(set(texts)) <= len(texts) // _ROWS_PER_CLASS:
        return
    rows = [row for row, text in enumerate(texts) if numbers[row] is None and _DECORATED.fullmatch(text)]
    readable = sum(number is not None for number in numbers)
    if 2 * (readable + len(rows)) > len(texts):
        raise ValueError(
            f"{where(rows[0])} must be a number; got {values[rows[0]]!r}. Write it with a point and "
            "without a unit or another sign, or pass --task classification if the column has classes."
        )


def _classes_of(values: Sequence[Any], numbers: list[float | None]) -> Target:
    if all(
        number is not None and number.is_integer() and abs(number) < _LARGEST_CLASS for number in numbers
    ):
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
