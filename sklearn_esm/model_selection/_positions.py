"""Group variants of one protein by the positions they change, and count their substitutions."""

from __future__ import annotations

import re
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from sklearn_esm._columns import items_of
from sklearn_esm._sequences import SequenceError, check_one_of, is_int, reference_named, shorten
from sklearn_esm.model_selection._rows import sequences_of
from sklearn_esm.variants import apply_mutations

Scheme: TypeAlias = Literal["contiguous", "modulo"]

_DIGIT = re.compile("[0-9]")


def position_groups(
    X: Any,
    reference: str,
    scheme: Scheme = "contiguous",
    n_groups: int = 5,
    *,
    first_position: int = 1,
) -> np.ndarray:
    """Group variants of a protein, so that no position is changed in two groups.

    A random split scores new residues at positions that were trained on. A split by these groups scores
    positions that nobody measured.

    Parameters
    ----------
    X : array-like of str
        Variants, as sequences of the reference's length or as mutations such as ``"A24G:K30R"``.
        :func:`~sklearn_esm.variants.apply_mutations` describes the notation.

    reference : str
        The wild-type sequence.

    scheme : {"contiguous", "modulo"}, default="contiguous"
        How to divide the positions that at least one row changes, in their order. ``"contiguous"``
        cuts them into ``n_groups`` stretches with an equal number of positions; if the number is not
        a multiple, the first groups have one more. ``"modulo"`` gives them the groups 0, 1, 2, ... in
        turn. ``"contiguous"`` is harder, because neighbours in the sequence are in one group.

    n_groups : int, default=5
        Number of groups. At most the number of positions that change.

    first_position : int, default=1
        Number of the reference's first residue in mutations. It has no effect on sequences.

    Returns
    -------
    ndarray of shape (n_samples,), int64
        Group of each row from 0 to ``n_groups - 1``, or -1 for a row that is in no group: its
        positions are in several groups, or it is the wild type and has none. Drop rows with -1 before
        you split.

    Raises
    ------
    ValueError
        If a parameter or a row is invalid, a sequence differs in length from the reference, or fewer
        than ``n_groups`` positions change.

    See Also
    --------
    identity_groups : Group proteins by sequence identity.
    mutation_counts : Count the substitutions of each row.

    Notes
    -----
    These are the rules of ProteinGym's columns ``fold_contiguous_5`` and ``fold_modulo_5`` [1]_, as its
    authors' script computes them [2]_: both divide the positions that the assay's single mutants
    change. So ``"modulo"`` is the position's *rank* modulo 5, which is the position modulo 5 only if
    no position is skipped. ProteinGym removes rows with several substitutions first; pass single
    mutants only to get its folds. It has 4 folds if fewer than 5 positions change; here that is an
    error.

    Rows with several substitutions are often lost: of random double mutants about four fifths straddle
    two of five groups. If they were kept, a position of the test rows would be in the training rows.
    Fewer groups lose fewer rows, and a group can be left without rows. To learn from few substitutions
    and predict many, split by :func:`mutation_counts` instead.

    Any difference from the reference counts as a substitution, X and ``<mask>`` included.

    References
    ----------
    .. [1] Notin et al. (2023), "ProteinGym: Large-Scale Benchmarks for Protein Fitness Prediction and
       Design", NeurIPS.
    .. [2] https://github.com/OATML-Markslab/ProteinNPT, ``proteinnpt/utils/cv_split.py``,
       ``create_folds_by_contiguous_position_discontiguous`` and ``create_folds_by_position_modulo``.

    Examples
    --------
    >>> from sklearn_esm.model_selection import position_groups
    >>> variants = ["AKTAYI", "MRTAYI", "MKTAYV", "MKGAYI", "ARTAYI", "MKTAYI"]
    >>> groups = position_groups(variants, "MKTAYI", n_groups=2)
    >>> groups
    array([ 0,  0,  1,  1,  0, -1])

    The wild type is in no group. Keep the other rows for any splitter with groups:

    >>> import numpy as np
    >>> from sklearn.model_selection import LeaveOneGroupOut
    >>> kept = np.flatnonzero(groups >= 0)
    >>> for train, test in LeaveOneGroupOut().split(kept, groups=groups[kept]):
    ...     print(kept[train], kept[test])
    [2 3] [0 1 4]
    [0 1 4] [2 3]
    """
    check_one_of("scheme", scheme, get_args(Scheme))
    if not is_int(n_groups) or n_groups < 2:
        raise ValueError(f"n_groups must be an integer of at least 2; got {n_groups!r}.")
    changed = _substitutions(X, reference, first_position)  # (rows, positions)
    rows, positions = np.nonzero(changed)
    mutated, ranks = np.unique(positions, return_inverse=True)
    if len(mutated) < n_groups:
        raise ValueError(
            f"n_groups must be at most the number of positions that change, {len(mutated)}; "
            f"got {n_groups}."
        )
    group_of_rank = np.arange(len(mutated)) % n_groups
    if scheme == "contiguous":
        group_of_rank = np.sort(group_of_rank)  # as many of each group, the first ones one more
    groups = group_of_rank[ranks]
    lowest = np.full(len(changed), n_groups)
    highest = np.full(len(changed), -1)
    np.minimum.at(lowest, rows, groups)
    np.maximum.at(highest, rows, groups)
    return np.where(lowest == highest, lowest, -1).astype(np.int64)


def mutation_counts(X: Any, reference: str, *, first_position: int = 1) -> np.ndarray:
    """Count the substitutions of each variant of a protein.

    Parameters
    ----------
    X : array-like of str
        Variants, as sequences of the reference's length or as mutations such as ``"A24G:K30R"``.

    reference : str
        The wild-type sequence.

    first_position : int, default=1
        Number of the reference's first residue in mutations. It has no effect on sequences.

    Returns
    -------
    ndarray of shape (n_samples,), int64
        Number of positions at which the row differs from the reference; 0 for the wild type.

    Raises
    ------
    ValueError
        If a row is invalid, or a sequence differs in length from the reference.

    See Also
    --------
    position_groups : Group variants by the positions that they change.

    Examples
    --------
    >>> from sklearn_esm.model_selection import mutation_counts
    >>> variants = ["MKTAYI", "MRTAYI", "MRTAYV", "ARTGYV"]
    >>> counts = mutation_counts(variants, "MKTAYI")
    >>> counts
    array([0, 1, 2, 4])

    Train on variants with at most one substitution, and test on the others. In ``PredefinedSplit`` -1
    is a row that is always in the training set:

    >>> import numpy as np
    >>> from sklearn.model_selection import PredefinedSplit
    >>> low_versus_high = PredefinedSplit(np.where(counts > 1, 0, -1))
    >>> [(train.tolist(), test.tolist()) for train, test in low_versus_high.split()]
    [([0, 1], [2, 3])]
    """
    counts: np.ndarray = _substitutions(X, reference, first_position).sum(axis=1, dtype=np.int64)
    return counts


def _substitutions(X: Any, reference: Any, first_position: int) -> np.ndarray:
    """Return where each row differs from the reference, ``(rows, positions)`` bool."""
    with reference_named():
        (wild_type,) = sequences_of([reference])
    if _are_mutations(items_of(X), len(wild_type)):
        X = apply_mutations(reference, X, first_position=first_position)
    sequences = sequences_of(X)
    for row, sequence in enumerate(sequences):
        if len(sequence) != len(wild_type):
            raise SequenceError(
                row,
                f"({shorten(sequence)}) must have the length of the reference, {len(wild_type)}; got "
                f"{len(sequence)}. Remove variants with insertions or deletions.",
            )
    different: np.ndarray = _letters(sequences) != _letters([wild_type])
    return different


def _are_mutations(items: list[Any], length: int) -> bool:
    """Return whether rows are mutations: some have digits, and no other row can be a variant."""
    texts = [item for item in items if isinstance(item, str)]
    without = [text for text in texts if not _DIGIT.search(text)]
    return len(without) < len(texts) and all(len(text.strip()) != length for text in without)


def _letters(sequences: list[str]) -> np.ndarray:
    return np.frombuffer("".join(sequences).encode(), dtype=np.uint8).reshape(len(sequences), -1)
