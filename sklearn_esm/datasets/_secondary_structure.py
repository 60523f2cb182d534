"""Secondary structure of protein chains, bundled with the package."""

from __future__ import annotations

from typing import Any, Literal, overload

import numpy as np
from sklearn.utils import Bunch

from sklearn_esm.datasets._frames import DATA, bundled_rows, handed_out


@overload
def load_secondary_structure(*, return_X_y: Literal[False] = ..., as_frame: bool = ...) -> Bunch: ...
@overload
def load_secondary_structure(*, return_X_y: Literal[True], as_frame: bool = ...) -> tuple[Any, Any]: ...
def load_secondary_structure(
    *, return_X_y: bool = False, as_frame: bool = False
) -> Bunch | tuple[Any, Any]:
    r"""Load 78 protein chains with the secondary structure of each residue.

    Chains of the Protein Data Bank [1]_ with at most 300 residues, of which no two are close relatives.
    Nothing is downloaded.

    ================== ===========================================
    Samples total      78 chains
    Residues total     10,961, of which 10,646 have a label
    Classes of residue 3: 3,770 helix, 2,492 strand, 4,384 other
    Features           the sequence, 41 to 298 residues
    ================== ===========================================

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

        data : ndarray of shape (78,), dtype object, or DataFrame of shape (78, 1)
            The sequences, in upper case, one letter per residue.
        target : ndarray of str of shape (78,), dtype object, or Series
            One letter per residue of the sequence: ``"H"`` for helix, ``"E"`` for strand, ``"C"`` for
            any other structure, ``"-"`` for a residue without coordinates, which has no label.
        target_names : ndarray of str of shape (3,)
            ``["C", "E", "H"]``.
        feature_names : list of str
            ``["sequence"]``.
        pdb_ids, chains, names : ndarray of str of shape (78,)
            PDB entry, chain identifier and name of each molecule.
        frame : DataFrame of shape (78, 5)
            Sequence, target, PDB entry, chain and name. None unless ``as_frame=True``.
        DESCR : str
            Source, licence and limits of the data.
        filename : str
            Path of the table.
    (data, target) : tuple
        If ``return_X_y=True``.

    See Also
    --------
    load_peptides : Peptides of two classes, with one label per sequence.
    sklearn_esm.ESMEmbeddingTransformer : With ``pooling=None``, one vector per residue.

    Notes
    -----
    Keep the residues of a chain in one part of a split: neighbours have nearly the same context, and
    mostly the same label. No two chains have 30 % identity over half of both, but some have similar
    structures.

    The labels are the HELIX and SHEET records of the entries. Depositors set some of them, and programs
    set others. The data are for examples and tests, and too few for a benchmark.

    References
    ----------
    .. [1] Berman et al. (2000), "The Protein Data Bank", Nucleic Acids Research 28(1).

    Examples
    --------
    >>> from sklearn_esm.datasets import load_secondary_structure
    >>> chains = load_secondary_structure()
    >>> row = chains.pdb_ids.tolist().index("1CRN")
    >>> print(chains.names[row], chains.data[row], chains.target[row], sep="\n")
    crambin
    TTCCPSIVARSNFNVCRLPGTPEAICATYTGCIIIPGATCPGDYAN
    EEEECCHHHHHHHHHHHHHCCCHHHHHHHHCEEEECCCCCCCCCCC

    One label and one group per residue:

    >>> import numpy as np
    >>> labels = np.array(list("".join(chains.target)))
    >>> groups = np.repeat(np.arange(78), [len(sequence) for sequence in chains.data])
    >>> labels[labels != "-"].shape, groups[labels != "-"].shape
    ((10646,), (10646,))
    """
    rows = bundled_rows("secondary_structure.csv")

    def column(name: str) -> np.ndarray:
        return np.array([row[name] for row in rows], dtype=object)

    return handed_out(
        "load_secondary_structure",
        column("sequence"),
        column("structure"),
        {name: column(name) for name in ("pdb", "chain", "name")},
        return_X_y=return_X_y,
        as_frame=as_frame,
        description="secondary_structure.md",
        filename=str(DATA / "secondary_structure.csv"),
        target_names=np.array(["C", "E", "H"]),
        pdb_ids=column("pdb"),
        chains=column("chain"),
        names=column("name"),
    )
