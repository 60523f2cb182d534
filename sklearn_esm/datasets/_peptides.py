"""Bioactive peptides, bundled with the package."""

from __future__ import annotations

from typing import Any, Literal, overload

import numpy as np
from sklearn.utils import Bunch

from sklearn_esm.datasets._frames import DATA, bundled_rows, handed_out

CLASSES = ("hormone/neuropeptide", "antimicrobial")


@overload
def load_peptides(*, return_X_y: Literal[False] = ..., as_frame: bool = ...) -> Bunch: ...
@overload
def load_peptides(*, return_X_y: Literal[True], as_frame: bool = ...) -> tuple[Any, Any]: ...
def load_peptides(*, return_X_y: bool = False, as_frame: bool = False) -> Bunch | tuple[Any, Any]:
    """Load 306 natural bioactive peptides: antimicrobial, or hormone and neuropeptide.

    Mature peptides of 5 to 60 residues from 126 organisms, each compared with a public record.
    Nothing is downloaded. There are no near-duplicates: no peptide is part of another, and no two
    share more than 80 % of the shorter one.

    ================= ====================================
    Classes           2
    Samples per class 152 (antimicrobial), 154 (hormone)
    Samples total     306
    Features          the sequence, 5 to 60 residues
    ================= ====================================

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

        data : ndarray of shape (306,), dtype object, or DataFrame of shape (306, 1)
            The sequences, in upper case, one letter per residue.
        target : ndarray of int of shape (306,), or Series
            1 for antimicrobial, 0 for hormone or neuropeptide.
        target_names : ndarray of str of shape (2,)
            Names of the classes, indexed by ``target``.
        feature_names : list of str
            ``["sequence"]``.
        names, organisms : ndarray of str of shape (306,)
            Name and source organism of each peptide.
        frame : DataFrame of shape (306, 6)
            Sequence, target, name, organism, UniProt accession and source. None unless
            ``as_frame=True``.
        DESCR : str
            Source and limits of the data.
        filename : str
            Path of the table.
    (data, target) : tuple
        If ``return_X_y=True``.

    See Also
    --------
    load_gb1 : Measured effects of the single substitutions of a protein.
    sklearn_esm.model_selection.identity_groups : Groups for a split by similarity.

    Notes
    -----
    These data are for examples and tests, not a benchmark. The classes differ in length and charge:
    length alone has a ROC AUC of 0.74, and net charge alone 0.84. The data contain families
    (dermaseptins, tachykinins, FMRFamides...). Split by similarity, as in the quick-start example, if
    the score matters.

    Examples
    --------
    >>> from sklearn_esm.datasets import load_peptides
    >>> peptides = load_peptides()
    >>> row = peptides.names.tolist().index("Magainin-2")
    >>> peptides.data[row], peptides.organisms[row]
    ('GIGKFLHSAKKFGKAFVGEIMNS', 'Xenopus laevis')
    >>> str(peptides.target_names[peptides.target[row]])
    'antimicrobial'
    """
    rows = bundled_rows("peptides.csv")

    def column(name: str) -> np.ndarray:
        return np.array([row[name] for row in rows], dtype=object)

    return handed_out(
        "load_peptides",
        column("sequence"),
        np.array([CLASSES.index(row["class"]) for row in rows]),
        {name: column(name) for name in ("name", "organism", "uniprot", "source")},
        return_X_y=return_X_y,
        as_frame=as_frame,
        description="peptides.md",
        filename=str(DATA / "peptides.csv"),
        target_names=np.array(CLASSES),
        names=column("name"),
        organisms=column("organism"),
    )
