"""Substitutions of protein G domain B1, bundled with the package."""

from __future__ import annotations

from typing import Any, Literal, overload

from sklearn.utils import Bunch

from sklearn_esm.datasets._frames import DATA, bundled_rows
from sklearn_esm.datasets._variants import position_of, variants_handed_out, with_residue

# the measured construct; other entries of GB1 have T at position 2
WILD_TYPE = "MQYKLILNGKTLKGETTTEAVDAATAEKVFKQYANDNGVDGEWTYDDATKTFTVTE"


@overload
def load_gb1(*, return_X_y: Literal[False] = ..., as_frame: bool = ...) -> Bunch: ...
@overload
def load_gb1(*, return_X_y: Literal[True], as_frame: bool = ...) -> tuple[Any, Any]: ...
def load_gb1(*, return_X_y: bool = False, as_frame: bool = False) -> Bunch | tuple[Any, Any]:
    """Load all 1,045 single substitutions of protein G domain B1 and their effects on binding.

    Each of the 19 other residues at each position from 2 to 56 (Olson, Wu & Sun 2014).
    Nothing is downloaded.

    ============= =============================================
    Samples total 1,045
    Features      the sequence, 56 residues
    Targets       real, -4.605 to 1.614; the wild type is 0
    ============= =============================================

    Parameters
    ----------
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` instead of a Bunch.
    as_frame : bool, default=False
        Whether to return pandas objects: ``data`` is a DataFrame with the column ``"sequence"``, and
        ``target`` is a Series. Requires pandas (``pip install "sklearn-esm[pandas]"``).

    Returns
    -------
    data : Bunch
        Dictionary-like object with the attributes

        data : ndarray of shape (1045,), dtype object, or DataFrame of shape (1045, 1)
            The variants as whole sequences.
        target : ndarray of float of shape (1045,), or Series
            The natural logarithm of the fitness relative to the wild type, rounded to three
            decimals. Larger is better.
        mutations : ndarray of str of shape (1045,)
            The substitution: ``"A24Y"`` is tyrosine in place of the alanine at position 24.
        positions : ndarray of int of shape (1045,)
            Position of the substitution, counted from 1. Use as groups of a split by position.
        reference : str
            The wild type.
        feature_names : list of str
            ``["sequence"]``.
        frame : DataFrame of shape (1045, 4)
            Sequence, target, mutation and position. None unless ``as_frame=True``.
        DESCR : str
            Source, licence and limits of the data.
        filename : str
            Path of the table.
    (data, target) : tuple
        If ``return_X_y=True``.

    See Also
    --------
    fetch_beta_lactamase : Five times as many variants of a larger protein, downloaded.
    fetch_gfp : Variants with up to 15 substitutions and a published split, downloaded.

    Notes
    -----
    The source limits effects to ln 0.01: 126 variants share the lowest value of -4.605, with at most
    1 % of the wild type's fitness. Prefer rank correlations to squared errors.

    Position alone predicts most effects (see ``DESCR``). A random split has every position in both
    parts. Split by position, as below, to measure the score at new positions.

    References
    ----------
    C. A. Olson, N. C. Wu and R. Sun, "A comprehensive biophysical description of pairwise epistasis
    throughout an entire protein domain", Current Biology 24 (22), 2643-2651, 2014.

    Examples
    --------
    >>> from sklearn.model_selection import GroupKFold
    >>> from sklearn_esm.datasets import load_gb1
    >>> gb1 = load_gb1()
    >>> gb1.reference[:30], gb1.mutations[0], gb1.data[0][:30], float(gb1.target[0])
    ('MQYKLILNGKTLKGETTTEAVDAATAEKVF', 'Q2A', 'MAYKLILNGKTLKGETTTEAVDAATAEKVF', 0.417)
    >>> splits = GroupKFold(5).split(gb1.data, gb1.target, groups=gb1.positions)
    >>> for train, test in splits:
    ...     assert not set(gb1.positions[train]) & set(gb1.positions[test])
    """
    rows = bundled_rows("gb1.csv")
    mutations = [row["mutation"] for row in rows]
    return variants_handed_out(
        "load_gb1",
        [with_residue(WILD_TYPE, position_of(mutation), mutation[-1]) for mutation in mutations],
        mutations,
        [float(row["effect"]) for row in rows],
        WILD_TYPE,
        return_X_y=return_X_y,
        as_frame=as_frame,
        description="gb1.md",
        filename=str(DATA / "gb1.csv"),
    )
