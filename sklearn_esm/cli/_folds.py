"""Divide rows into outer and inner folds by groups, and warn if relatives are in different folds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

from sklearn_esm.cli._training_data import TrainingData
from sklearn_esm.model_selection import identity_groups, position_groups
from sklearn_esm.recipes._nested import Split

RELATIVES = 0.8  # identity from which two sequences without groups count as relatives
_MOST_RESIDUES = 300_000  # of sequences that are aligned for a warning, which takes seconds


class Folds(NamedTuple):
    """Rows that are scored, and how they are divided. Rows of splits count among those scored."""

    scored: np.ndarray  # rows of the data, (n,)
    groups: np.ndarray | None  # of the scored rows, (n,)
    splits: list[Split]
    inner: Any  # the splitter of the searches

    @property
    def n_groups(self) -> int | None:
        """Number of groups; None without groups."""
        return None if self.groups is None else len(np.unique(self.groups))


def make_folds(
    data: TrainingData,
    group: str,
    identity: float,
    n_folds: int,
    seed: int,
    note: Callable[[str], None],
) -> Folds:
    """Return the folds of nested cross-validation.

    Raises
    ------
    ValueError
        If there are too few rows or groups, or a fold lacks a class.
    """
    groups = _groups(data, group, identity, n_folds)
    scored = np.arange(len(data))
    if group == "positions" and groups is not None:
        scored = np.flatnonzero(groups >= 0)
        if left := len(data) - len(scored):
            note(
                f"{left:,} of {len(data):,} rows change positions of several groups, or none. They are "
                "left out of the scores, and the final model is trained on them."
            )
        groups = groups[scored]
    y = data.y[scored]
    labels = y if data.target.classes else None
    _check_enough(labels, groups, len(scored), n_folds)
    splits = list(_splitter(n_folds, labels, groups, seed).split(scored, y, groups))
    inner = _splitter(_n_inner(splits, labels, groups, n_folds), labels, groups, seed)
    for number, (train, test) in enumerate(splits, start=1):
        within = None if groups is None else groups[train]
        _check_parts([(train, test)], labels, f"fold {number}")
        parts = [(train[a], train[b]) for a, b in inner.split(train, y[train], within)]
        _check_parts(parts, labels, f"the inner folds of fold {number}")
    return Folds(scored, groups, splits, inner)


def warn_of_relatives(data: TrainingData, folds: Folds, group: str, note: Callable[[str], None]) -> None:
    """Note that relatives are in different folds if nothing kept them together."""
    if group in ("identity", "positions"):
        return
    if group == "none" and data.source.mutations is not None:
        note(
            "All rows are variants of one protein, and --group none puts variants of the same position "
            "into training and test folds. The scores are too optimistic for new positions. Pass "
            "--group positions for scores at positions that were not measured."
        )
        return
    sequences = [data.sequences[row] for row in folds.scored]
    aligned = group == "none" and find_spec("pyopal") is not None
    aligned = aligned and sum(map(len, set(sequences))) <= _MOST_RESIDUES
    if aligned:
        relatives = identity_groups([as_text(sequence) for sequence in sequences], RELATIVES)
    else:
        relatives = np.unique(sequences, return_inverse=True)[1]
    fold_of = np.empty(len(sequences), dtype=np.int64)
    for number, (_, test) in enumerate(folds.splits):
        fold_of[test] = number
    pairs = Counter(
        relative for relative, _ in set(zip(relatives.tolist(), fold_of.tolist(), strict=True))
    )
    straddling = sum(pairs[relative] > 1 for relative in relatives.tolist())
    if straddling:
        kind = f"a relative of at least {RELATIVES:.0%} identity" if aligned else "the same sequence"
        note(
            f"{straddling:,} of {len(sequences):,} rows have {kind} in another fold, so the scores are "
            "too optimistic for new proteins. Pass --group identity to keep relatives together."
        )


def _groups(data: TrainingData, group: str, identity: float, n_folds: int) -> np.ndarray | None:
    if group == "none":
        return None
    if group == "identity":
        return identity_groups([as_text(sequence) for sequence in data.sequences], identity)
    if group == "positions":
        reference = data.source.reference
        if reference is None:
            raise ValueError("--group positions must have --reference, the wild-type sequence.")
        with data.rows_named():
            return position_groups(
                [as_text(sequence) for sequence in data.sequences], reference, n_groups=n_folds
            )
    assert data.groups is not None
    return np.unique(data.groups, return_inverse=True)[1]


def as_text(sequence: str) -> str:
    """Return a clean sequence in the notation of users, which writes a mask as a word."""
    return sequence.replace("#", "<mask>")


def _splitter(n_folds: int, labels: Any, groups: Any, seed: int) -> Any:
    if groups is None:
        kind = KFold if labels is None else StratifiedKFold
        return kind(n_folds, shuffle=True, random_state=seed)
    if labels is None:
        return GroupKFold(n_folds)  # folds of about equal size, which shuffling would not make
    return StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)


def _n_inner(splits: list[Split], labels: Any, groups: Any, n_folds: int) -> int:
    """Return how many inner folds the smallest training part allows."""
    most = n_folds
    for train, _ in splits:
        most = min(most, len(train) // 2)
        if groups is not None:
            most = min(most, len(np.unique(groups[train])))
        if labels is not None:
            most = min(most, int(np.unique(labels[train], return_counts=True)[1].min()))
    if most < 2:
        raise ValueError(
            "The training part of a fold must have at least two rows of each class, and two groups. "
            "Pass fewer --folds, add rows, or choose another --group."
        )
    return most


def _check_enough(labels: Any, groups: Any, n_rows: int, n_folds: int) -> None:
    if groups is not None and (n_groups := len(np.unique(groups))) < max(n_folds, 3):
        raise ValueError(
            f"--group must give at least {max(n_folds, 3)} groups for {n_folds} folds; got {n_groups}. "
            "Pass fewer --folds; with identity, a higher --identity; and for variants of one protein "
            "--group positions."
        )
    if labels is None and n_rows < 2 * n_folds:
        raise ValueError(
            f"There must be at least {2 * n_folds} rows for {n_folds} folds; got {n_rows}. Pass fewer "
            "--folds, or add rows."
        )
    if labels is not None:
        names, counts = np.unique(labels, return_counts=True)
        if counts.min() < n_folds:
            raise ValueError(
                f"Each class must have at least {n_folds} rows for {n_folds} folds; "
                f"{names[counts.argmin()].item()!r} has {counts.min()}. Pass fewer --folds, or remove "
                "the class."
            )


def _check_parts(parts: list[Split], labels: Any, where: str) -> None:
    for train, test in parts:
        if labels is None:
            if len(test) < 2:
                raise ValueError(
                    f"Each part of {where} must have at least two rows; got {len(test)}. Pass fewer "
                    "--folds, or choose another --group."
                )
            continue
        classes = len(set(labels))
        # one of several classes may be absent from a test part; of two, ROC AUC would be undefined
        if len(set(labels[train])) < classes or (classes == 2 and len(set(labels[test])) < 2):
            raise ValueError(
                f"Each part of {where} must have all classes, and groups keep one out. Pass fewer "
                "--folds, or choose another --group."
            )
