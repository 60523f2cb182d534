"""Variants of TEM-1 beta-lactamase, downloaded from ESM's repository."""

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

    Each variant has one substitution and its scaled effect on the enzyme (Gray et al. 2018). ESM's
    repository uses these data as its example of supervised variant prediction.

    ============= ===============================================
    Samples total 5,397, of which 199 are the wild type
    Features      the sequence, 286 residues
    Targets       real, -0.008 to 1.581; the wild type is near 1
    ============= ===============================================

    Parameters
    ----------
    data_home : str or path-like, default=None
        Folder of downloaded data. The file is ``sklearn_esm/P62593.fasta`` below it. None is
        scikit-learn's folder, ``$SCIKIT_LEARN_DATA`` or ``~/scikit_learn_data``.
    download_if_missing : bool, default=True
        If False, raise OSError instead of downloading. The environment variable
        ``SKLEARN_ESM_OFFLINE=1`` has the same effect.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` instead of a Bunch.
    as_frame : bool, default=False
        Whether to return pandas objects: ``data`` is a DataFrame with the column ``"sequence"``, and
        ``target`` is a Series. Requires pandas (``pip install "sklearn-esm[pandas]"``).
    n_retries : int, default=3
        Number of retries after a failed download.
    delay : float, default=1.0
        Seconds between retries.

    Returns
    -------
    data : Bunch
        Dictionary-like object with the attributes

        data : ndarray of shape (5397,), dtype object, or DataFrame of shape (5397, 1)
            The variants as whole sequences.
        target : ndarray of float of shape (5397,), or Series
            The scaled effect. Larger is better.
        mutations : ndarray of str of shape (5397,)
            The substitution, such as ``"S68Q"``, counted from 1 at the first residue of the
            precursor. In ``"P20P"`` only the codon differs.
        positions : ndarray of int of shape (5397,)
            Position of the substitution, counted from 1. Use as groups of a split by position.
        reference : str
            The wild type.
        feature_names : list of str
            ``["sequence"]``.
        frame : DataFrame of shape (5397, 4)
            Sequence, target, mutation and position. None unless ``as_frame=True``.
        DESCR : str
            Source and limits of the data.
        filename : str
            Path of the file.
    (data, target) : tuple
        If ``return_X_y=True``.

    Raises
    ------
    ConnectionError
        If the server cannot be reached, returns an error, or closes the connection.
    OSError
        If the file is missing or damaged and downloads are forbidden, if the downloaded file has
        another checksum, or if the folder is not writable.

    See Also
    --------
    load_gb1 : Fewer variants, of a smaller protein, without a download.
    fetch_gfp : Ten times as many variants, most with several substitutions.

    Notes
    -----
    **199 records are the wild type**, with synonymous mutations and different effects (0.07 to 1.58).
    Group or remove them before splitting, because otherwise the training and test sets share a
    sequence. The second example removes them.

    The records are sorted by effect. Shuffle them for cross-validation.

    A file in the data home is used without a connection if its SHA-256 checksum is correct. A damaged
    file is downloaded again.

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
    # undo one substitution to get the wild type
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
    """Return the sequences, mutations and effects of the file, which has two lines per record."""
    lines = fasta.splitlines()
    sequences, mutations, effects = lines[1::2], [], []
    for header in lines[::2]:  # >0|beta-lactamase_P20P|1.581033423
        _, name, effect = header.split("|")
        mutations.append(name.rpartition("_")[2])
        effects.append(float(effect))
    return sequences, mutations, effects
