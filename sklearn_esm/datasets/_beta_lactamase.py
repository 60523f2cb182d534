"""Variants of TEM-1 beta-lactamase: one file of ESM's repository, kept in scikit-learn's data home."""

from __future__ import annotations

import os
from typing import Any, Literal, overload

from sklearn.utils import Bunch

from sklearn_esm.datasets._fetched import fetched_file
from sklearn_esm.datasets._variants import position_of, variants_handed_out, with_residue

URL = (
    "https://raw.githubusercontent.com/facebookresearch/esm/"
    "5536f5db78d0602bd09700d62dfeec67a4fb1ae9/examples/data/P62593.fasta"
)
SHA256 = "c5315619b48e13fac8995d13c4582ab74ff6bc8a0dc2105c4d236f473a4223bd"


@overload
def fetch_beta_lactamase(
    *,
    data_home: str | os.PathLike[str] | None = ...,
    download_if_missing: bool = ...,
    return_X_y: Literal[False] = ...,
    as_frame: bool = ...,
    n_retries: int = ...,
    delay: float = ...,
) -> Bunch: ...
@overload
def fetch_beta_lactamase(
    *,
    data_home: str | os.PathLike[str] | None = ...,
    download_if_missing: bool = ...,
    return_X_y: Literal[True],
    as_frame: bool = ...,
    n_retries: int = ...,
    delay: float = ...,
) -> tuple[Any, Any]: ...
def fetch_beta_lactamase(
    *,
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
    as_frame: bool = False,
    n_retries: int = 3,
    delay: float = 1.0,
) -> Bunch | tuple[Any, Any]:
    """Load 5,397 records of variants of TEM-1 beta-lactamase, downloaded once (1.8 MB).

    One substitution each, with its scaled effect on the enzyme (Gray et al. 2018): the example of
    supervised variant prediction in ESM's own repository.

    ============= ===============================================
    Samples total 5,397, of which 199 are the wild type
    Features      the sequence, 286 residues
    Targets       real, -0.008 to 1.581; the wild type is near 1
    ============= ===============================================

    Parameters
    ----------
    data_home : str or path-like, default=None
        Where files are kept: the file is ``sklearn_esm/P62593.fasta`` below it. None is
        scikit-learn's folder, ``$SCIKIT_LEARN_DATA`` or ``~/scikit_learn_data``.
    download_if_missing : bool, default=True
        If False, raise OSError instead of downloading. So does ``SKLEARN_ESM_OFFLINE=1`` in the
        environment.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.
    as_frame : bool, default=False
        Give pandas objects: ``data`` a frame of the one column ``"sequence"``, ``target`` a
        Series. Needs pandas (``pip install "sklearn-esm[pandas]"``).
    n_retries : int, default=3
        How often a failed download is tried again.
    delay : float, default=1.0
        Seconds between two tries.

    Returns
    -------
    data : Bunch
        With the attributes

        data : ndarray of shape (5397,), dtype object, or DataFrame of shape (5397, 1)
            The variants as whole sequences.
        target : ndarray of float of shape (5397,), or Series
            The scaled effect. Larger is better.
        mutations : ndarray of str of shape (5397,)
            The substitution, such as ``"S68Q"``, in the numbering of the file: from 1 at the first
            residue of the precursor. In ``"P20P"`` only the codon differs.
        positions : ndarray of int of shape (5397,)
            Where it is, counted from 1: the groups of a split by position.
        reference : str
            The wild type.
        feature_names : list of str
            ``["sequence"]``.
        frame : DataFrame of shape (5397, 4)
            Sequence, target, mutation and position. None unless ``as_frame=True``.
        DESCR : str
            Where the numbers are from, and what they do not say.
        filename : str
            Where the file lies.
    (data, target) : tuple
        If ``return_X_y=True``.

    Raises
    ------
    ConnectionError
        If the server cannot be reached, refuses, or breaks off.
    OSError
        If the file is absent or damaged and must not be downloaded, if what arrives is another
        file, or if the folder cannot be written to.

    See Also
    --------
    load_gb1 : Fewer variants, of a smaller protein, without a download.
    fetch_gfp : Ten times as many, most with several substitutions.

    Notes
    -----
    **199 records are one sequence, the wild type**, under synonymous mutations with different effects
    (0.07 to 1.58). Group or de-duplicate them before splitting, or the same input is trained on and
    tested on. The second example leaves them out.

    The records are sorted by effect: shuffle when cross-validating.

    A file that is already in the data home is compared with its SHA-256 checksum and used without a
    connection; a damaged one is downloaded again.

    References
    ----------
    V. E. Gray, R. J. Hause, J. Luebeck, J. Shendure and D. M. Fowler, "Quantitative missense variant
    effect prediction using large-scale mutagenesis data", Cell Systems 6 (1), 116-124, 2018.

    Examples
    --------
    >>> from sklearn_esm.datasets import fetch_beta_lactamase
    >>> variants = fetch_beta_lactamase()  # doctest: +SKIP
    >>> variants.mutations[0], float(variants.target[0])  # doctest: +SKIP
    ('P20P', 1.581033423)

    The substitutions without the wild type:

    >>> substituted = variants.data != variants.reference  # doctest: +SKIP
    >>> X, y = variants.data[substituted], variants.target[substituted]  # doctest: +SKIP
    >>> X.shape, y.shape  # doctest: +SKIP
    ((5198,), (5198,))
    """
    path = fetched_file(
        "P62593.fasta",
        URL,
        SHA256,
        data_home=data_home,
        download_if_missing=download_if_missing,
        n_retries=n_retries,
        delay=delay,
    )
    sequences, mutations, effects = _records(path.read_text(encoding="ascii"))
    # any record is the wild type once its substitution is undone
    reference = with_residue(sequences[0], position_of(mutations[0]), mutations[0][0])
    return variants_handed_out(
        "fetch_beta_lactamase",
        sequences,
        mutations,
        effects,
        reference,
        return_X_y=return_X_y,
        as_frame=as_frame,
        description="beta_lactamase.md",
        filename=str(path),
    )


def _records(fasta: str) -> tuple[list[str], list[str], list[float]]:
    """Return the sequences, mutations and effects of a file of two lines for each record.

    No general parser of FASTA: the checksum says which file this is.
    """
    lines = fasta.splitlines()
    sequences, mutations, effects = lines[1::2], [], []
    for header in lines[::2]:  # >0|beta-lactamase_P20P|1.581033423
        _, name, effect = header.split("|")
        mutations.append(name.rpartition("_")[2])
        effects.append(float(effect))
    return sequences, mutations, effects
