"""Variants of green fluorescent protein, downloaded from the repository nn4dms."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from sklearn.utils import Bunch

from sklearn_esm.datasets._fetched import fetched_file
from sklearn_esm.datasets._frames import handed_out
from sklearn_esm.datasets._variants import with_residue

REPOSITORY = (
    "https://raw.githubusercontent.com/gitter-lab/nn4dms/39485987c36220fb4fd38819084669ed30be3919"
)
TABLE, TRAIN, TEST = "avgfp.tsv", "avgfp_train.txt", "avgfp_stest.txt"
FILES = {  # by the name in the data home: the path in the repository, and the SHA-256
    TABLE: (
        "data/avgfp/avgfp.tsv",
        "7a7f299bafedfe6d41e2a0aae45da3064620d3a4f32eb865c22291d86393786d",
    ),
    TRAIN: (
        "pub/splits/avgfp/main/train.txt",
        "18e71caf6ddd55425394e90417ee8331c8838de83bcc6dfc874cdb970065ef97",
    ),
    TEST: (
        "pub/splits/avgfp/main/stest.txt",
        "82a1db5304aed85fb27fcf1a1e1b24c2ab92b7966c2d084e9fd802257c33fcf3",
    ),
}

# the measured part begins at the second residue of the protein; the files do not contain it
WILD_TYPE = (
    "SKGEELFTGVVPILVELDGDVNGHKFSVSGEGEGDATYGKLTLKFICTTGKLPVPWPTLVTTLSYGVQCFSRYPDHMKQHDFFKSAMPEGYVQERTIF"
    "FKDDGNYKTRAEVKFEGDTLVNRIELKGIDFKEDGNILGHKLEYNYNSHNVYIMADKQKNGIKVNFKIRHNIEDGSVQLADHYQQNTPIGDGPVLLPD"
    "NHYLSTQSALSKDPNEKRDHMVLLEFVTAAGITHGMDELYK"
)


@overload
def fetch_gfp(
    *,
    data_home: str | os.PathLike[str] | None = ...,
    download_if_missing: bool = ...,
    return_X_y: Literal[False] = ...,
    as_frame: bool = ...,
    n_retries: int = ...,
    delay: float = ...,
) -> Bunch: ...
@overload
def fetch_gfp(
    *,
    data_home: str | os.PathLike[str] | None = ...,
    download_if_missing: bool = ...,
    return_X_y: Literal[True],
    as_frame: bool = ...,
    n_retries: int = ...,
    delay: float = ...,
) -> tuple[Any, Any]: ...
def fetch_gfp(
    *,
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
    as_frame: bool = False,
    n_retries: int = 3,
    delay: float = 1.0,
) -> Bunch | tuple[Any, Any]:
    """Load 54,024 variants of green fluorescent protein and their brightness, downloaded once (3.4 MB).

    Each variant has 1 to 15 substitutions, from random mutagenesis of avGFP (Sarkisyan et al. 2016).
    Gelman et al. (2021) published the split into training, tuning and test rows.

    ============= =================================================
    Samples total 54,024: 43,758 train, 4,863 tune, 5,403 test
    Features      the sequence, 237 residues
    Targets       real, 1.283 to 4.123; the wild type is 3.719
    ============= =================================================

    Parameters
    ----------
    data_home : str or path-like, default=None
        Folder of downloaded data. The files are ``avgfp.tsv``, ``avgfp_train.txt`` and
        ``avgfp_stest.txt`` in the folder ``sklearn_esm`` below it. None is scikit-learn's folder,
        ``$SCIKIT_LEARN_DATA`` or ``~/scikit_learn_data``.
    download_if_missing : bool, default=True
        If False, raise OSError instead of downloading. The environment variable
        ``SKLEARN_ESM_OFFLINE=1`` has the same effect.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` instead of a Bunch, without the files of the split.
    as_frame : bool, default=False
        Whether to return pandas objects: ``data`` is a DataFrame with the column ``"sequence"``, and
        ``target`` is a Series. Requires pandas (``pip install "sklearn-esm[pandas]"``).
    n_retries : int, default=3
        Number of retries after a failed download, for each file.
    delay : float, default=1.0
        Seconds between retries.

    Returns
    -------
    data : Bunch
        Dictionary-like object with the attributes

        data : ndarray of shape (54024,), dtype object, or DataFrame of shape (54024, 1)
            The variants as whole sequences, without the start methionine. 2,310 of them have a stop
            codon ``*``, see Notes.
        target : ndarray of float of shape (54024,), or Series
            The decadic logarithm of the brightness. Larger is brighter.
        mutations : ndarray of str of shape (54024,)
            The substitutions, such as ``"A109D,N145D"``, counted from 1 in the sequence. The
            literature counts the start methionine, so its numbers are larger by 1.
        n_mutations : ndarray of int of shape (54024,)
            Number of substitutions.
        train, tune, test : ndarray of int of shape (43758,), (4863,) and (5403,)
            Row numbers of the published split. ``train`` and ``test`` are in the published order,
            which is random. ``tune`` has all other rows.
        reference : str
            The wild type, which is not in the table.
        feature_names : list of str
            ``["sequence"]``.
        frame : DataFrame of shape (54024, 4)
            Sequence, target, mutations and number of mutations. None unless ``as_frame=True``.
        DESCR : str
            Source and limits of the data.
        filename : str
            Path of the table.
        split_filenames : list of str
            Paths of the row numbers of ``train`` and ``test``.
    (data, target) : tuple
        If ``return_X_y=True``.

    Raises
    ------
    ConnectionError
        If the server cannot be reached, returns an error, or closes the connection.
    OSError
        If a file is missing or damaged and downloads are forbidden, if a downloaded file has another
        checksum, or if the folder is not writable.

    See Also
    --------
    load_gb1 : Single substitutions of a small protein, without a download.
    fetch_beta_lactamase : Single substitutions of an enzyme.

    Notes
    -----
    **Stop codons are** ``*`` **in the sequences.** `ESMEmbeddingTransformer` raises an error for them by
    default. Remove these variants, as in the second example. 559 of the 2,310 are brighter than 3, which
    is implausible for a truncated protein.

    **The number of substitutions is a strong baseline.** On the test rows, its Spearman correlation with
    brightness is -0.53, without any training. Report what a model adds to that.

    The rows are sorted by the substitutions as text. Shuffle them for cross-validation.

    Files in the data home are used without a connection if their SHA-256 checksums are correct. A
    damaged file is downloaded again.

    References
    ----------
    K. S. Sarkisyan et al., "Local fitness landscape of the green fluorescent protein", Nature 533,
    397-401, 2016.

    S. Gelman, S. A. Fahlberg, P. Heinzelman, P. A. Romero and A. Gitter, "Neural networks to learn
    protein sequence-function relationships from deep mutational scanning data", PNAS 118 (48),
    e2104878118, 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_esm.datasets import fetch_gfp
    >>> gfp = fetch_gfp()  # doctest: +SKIP
    >>> gfp.mutations[1], int(gfp.n_mutations[1]), float(gfp.target[1])  # doctest: +SKIP
    ('A109D,N145D,I187V,M232T,L235P', 5, 1.30103123972)

    The published split, without the variants that have a stop codon:

    >>> whole = np.array(["*" not in sequence for sequence in gfp.data])  # doctest: +SKIP
    >>> train, test = gfp.train[whole[gfp.train]], gfp.test[whole[gfp.test]]  # doctest: +SKIP
    >>> train.shape, test.shape  # doctest: +SKIP
    ((41879,), (5180,))
    """

    def file(name: str) -> Path:
        path, sha256 = FILES[name]
        return fetched_file(
            name,
            f"{REPOSITORY}/{path}",
            sha256,
            data_home=data_home,
            download_if_missing=download_if_missing,
            n_retries=n_retries,
            delay=delay,
        )

    table = file(TABLE)
    # columns: variant, num_mutations, score, score minus the wild type's score
    rows = [line.split("\t") for line in table.read_text(encoding="ascii").splitlines()[1:]]
    sequences, mutations = zip(*(_variant(listed) for listed, *_ in rows), strict=True)
    columns = {
        "mutations": np.array(mutations, dtype=object),
        "n_mutations": np.array([int(count) for _, count, *_ in rows]),
    }
    more: dict[str, Any] = {}
    if not return_X_y:
        split = [file(TRAIN), file(TEST)]
        train, test = (np.loadtxt(path, dtype=np.intp, ndmin=1) for path in split)
        tune = np.setdiff1d(np.arange(len(rows)), np.concatenate([train, test]))
        more = {"train": train, "tune": tune, "test": test, "split_filenames": [*map(str, split)]}
    return handed_out(
        "fetch_gfp",
        np.array(sequences, dtype=object),
        np.array([float(score) for *_, score, _ in rows]),
        columns,
        return_X_y=return_X_y,
        as_frame=as_frame,
        description="gfp.md",
        filename=str(table),
        reference=WILD_TYPE,
        **columns,
        **more,
    )


def _variant(listed: str) -> tuple[str, str]:
    """Return a variant's sequence, and its substitutions counted from 1; the file counts from 0."""
    sequence, mutations = WILD_TYPE, []
    for substitution in listed.split(","):
        old, index, new = substitution[0], int(substitution[1:-1]), substitution[-1]
        if WILD_TYPE[index : index + 1] != old:
            raise ValueError(
                f"{TABLE} must match the wild type, counted from 0; got {substitution} in {listed}. "
                "Delete the file and download it again."
            )
        sequence = with_residue(sequence, index + 1, new)
        mutations.append(f"{old}{index + 1}{new}")
    return sequence, ",".join(mutations)
