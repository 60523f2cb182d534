"""Group proteins by sequence identity, over exact alignments of all pairs."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from sklearn_esm._optional_dependencies import import_extra
from sklearn_esm._sequences import MASK
from sklearn_esm.model_selection._rows import sequences_of

_MATRIX, _GAP_OPEN, _GAP_EXTEND = "BLOSUM62", 11, 1  # as in BLAST and MMseqs2
# selenocysteine replaces cysteine, and pyrrolysine lysine; BLOSUM62 has neither
_IN_THE_MATRIX = str.maketrans({"U": "C", "O": "K", MASK: "X"})
_BLOCK = 64  # sequences to align with all longer ones before groups are merged, at most


def identity_groups(
    sequences: Any, threshold: float = 0.3, coverage: float = 0.8, *, n_jobs: int | None = None
) -> np.ndarray:
    """Group proteins by sequence identity, so that no two groups have a pair of relatives.

    Two sequences are relatives if their alignment has at least this identity and coverage. Relatives of
    relatives are in one group (single linkage).

    Parameters
    ----------
    sequences : array-like of str
        Sequences, in any form that the transformers accept.

    threshold : float, default=0.3
        Lowest identity of relatives, above 0 and at most 1: identical residues divided by the columns
        of the alignment, gaps included. Use 0.7 or more for peptides: of a few residues 30 % agree by
        chance, and one chance pair joins two groups.

    coverage : float, default=0.8
        Lowest coverage of relatives, from 0 to 1: the alignment's first to last residue, divided by the
        sequence's length. Both sequences must be covered. A lower value also joins fragments to their
        protein, and proteins that share a domain.

    n_jobs : int or None, default=None
        Number of threads. ``None`` means 1 unless in a ``joblib.parallel_backend`` context. ``-1`` means
        using all processors.

    Returns
    -------
    ndarray of shape (n_samples,), int64
        Group of each row, numbered from 0 in the order of their first rows. Equal sequences are always
        in one group.

    Raises
    ------
    ValueError
        If a parameter or a row is invalid.
    TypeError
        If ``sequences`` has an unsupported type.
    ImportError
        If pyopal is not installed. It comes with the extra ``groups``.

    See Also
    --------
    position_groups : Group variants of one protein by the positions that they change.

    Notes
    -----
    The alignment is the best local one (Smith-Waterman [2]_) with BLOSUM62 [3]_, 11 for the
    first residue of a gap and 1 for each further one, computed by pyopal [1]_. It is exact: there is no
    search for common words first, which misses distant relatives and short peptides. If several
    alignments have the best score, one of them counts. U is aligned as C, O as K, and
    ``<mask>`` as X. X is identical to X.

    The time grows with the square of the residues. 10,000 proteins of 300 residues take about 10
    minutes on one core, and half of that on two. Sequences that are in one group already are not
    aligned again, so that many variants of few proteins are fast. For more than about 30,000 different
    proteins use MMseqs2 or CD-HIT, and pass their cluster numbers as ``groups``. An alignment takes
    memory, too: 0.3 GB for two proteins of 5,000 residues, and 5 GB for 20,000.

    Groups differ in size, and single linkage may put most rows into one: look at ``numpy.bincount`` of
    the result. Then ``GroupKFold`` makes unequal folds, and a higher threshold helps.

    References
    ----------
    .. [1] https://pyopal.readthedocs.io, on Opal by Martin Šošić: https://github.com/Martinsos/opal
    .. [2] Smith and Waterman (1981), "Identification of common molecular subsequences", J. Mol. Biol.
       147(1).
    .. [3] Henikoff and Henikoff (1992), "Amino acid substitution matrices from protein blocks", PNAS
       89(22).

    Examples
    --------
    >>> from sklearn_esm.datasets import load_peptides
    >>> from sklearn_esm.model_selection import identity_groups
    >>> identity_groups(
    ...     ["GIGKFLHSAKKFGKAFVGEIMNS", "HSQGTFTSDYSKYLDSRRAQDFVQWLMNT", "GIGKFLHSAGKFGKAFVGEIMKS"],
    ...     threshold=0.8,
    ... )
    array([0, 1, 0])

    The array is the ``groups`` of scikit-learn's splitters and of ``cross_val_score``:

    >>> from sklearn.model_selection import StratifiedGroupKFold
    >>> peptides = load_peptides()
    >>> groups = identity_groups(peptides.data, threshold=0.7)
    >>> folds = StratifiedGroupKFold(n_splits=5, shuffle=True, random_state=0)
    >>> train, test = next(folds.split(peptides.data, peptides.target, groups))
    >>> set(groups[train]) & set(groups[test])
    set()
    """
    _check_share("threshold", threshold, zero=False)
    _check_share("coverage", coverage, zero=True)
    texts = [sequence.translate(_IN_THE_MATRIX) for sequence in sequences_of(sequences)]
    distinct = sorted(set(texts), key=lambda text: (len(text), text))
    labels = dict(zip(distinct, _linked(distinct, threshold, coverage, n_jobs).tolist(), strict=True))
    numbers: dict[int, int] = {}
    groups = [numbers.setdefault(labels[text], len(numbers)) for text in texts]
    return np.array(groups, dtype=np.int64)


def _check_share(name: str, value: Any, *, zero: bool) -> None:
    if not isinstance(value, Real) or not 0 <= float(value) <= 1 or (value == 0 and not zero):
        raise ValueError(f"{name} must be {'from' if zero else 'above'} 0 to 1; got {value!r}.")


def _linked(distinct: list[str], threshold: float, coverage: float, n_jobs: int | None) -> np.ndarray:
    """Return a label of each sequence, equal for those joined by relatives; shortest sequences first."""
    relatives = _Relatives(distinct, threshold, coverage)
    labels = np.arange(len(distinct))
    with Parallel(n_jobs=n_jobs, require="sharedmem") as parallel:
        stop = 0
        while stop < len(distinct):
            # one sequence first: if all are variants of one protein, it joins them
            block = range(stop, min(2 * stop + 1, stop + _BLOCK, len(distinct)))
            stop = block.stop
            found = parallel(delayed(relatives.of)(query, labels) for query in block)
            first = np.repeat(block, [len(some) for some in found])
            ends = labels[first], labels[np.concatenate(found)]
            links = coo_array((np.ones(len(first), dtype=bool), ends), shape=(len(labels),) * 2)
            labels = connected_components(links, directed=False)[1][labels]
    return labels


class _Relatives:
    """The alignments of sequences with all longer ones.

    Parameters
    ----------
    sequences : list of str
        Distinct sequences, the shortest first.

    threshold, coverage : float
        As for :func:`identity_groups`.
    """

    def __init__(self, sequences: list[str], threshold: float, coverage: float) -> None:
        pyopal = import_extra("pyopal", of="identity_groups", extra="groups")
        self._sequences = sequences
        self._lengths = np.array([len(sequence) for sequence in sequences])
        self._threshold = threshold
        self._coverage = coverage
        self._database = pyopal.Database(sequences)
        self._aligner = pyopal.Aligner(_MATRIX, gap_open=_GAP_OPEN, gap_extend=_GAP_EXTEND)

    def of(self, query: int, labels: np.ndarray) -> np.ndarray:
        """Return the later sequences of other labels that are relatives of a sequence, ``(n,)``."""
        later = np.arange(query + 1, len(labels))
        # identical residues <= shorter length, and columns >= coverage x longer length
        longest = len(self._sequences[query]) / (self._threshold * self._coverage or 1e-9) + 1
        targets = later[(labels[later] != labels[query]) & (self._lengths[later] <= longest)]
        ends = self._align("end", query, targets)
        targets = targets[self._can_cover(ends, query, targets)]
        full = self._align("full", query, targets)
        related = np.array([self._is_relative(one) for one in full], dtype=bool)
        return np.compress(related, targets)

    def _align(self, mode: str, query: int, targets: np.ndarray) -> list[Any]:
        """Return the alignment of a sequence with each target; ``"end"`` is several times as fast."""
        if not len(targets):
            return []
        database = self._database.extract(targets.tolist())
        return list(self._aligner.align(self._sequences[query], database, mode=mode, algorithm="sw"))

    def _can_cover(self, ends: list[Any], query: int, targets: np.ndarray) -> np.ndarray:
        """Return whether each alignment would be long enough if it began at the first residues."""
        # without a positive score there is no alignment, and its ends are undefined
        score, query_end, target_end = (
            np.array([(end.score, end.query_end, end.target_end) for end in ends], dtype=np.int64)
            .reshape(-1, 3)
            .T
        )
        of_query = (query_end + 1) / self._lengths[query]
        of_target = (target_end + 1) / self._lengths[targets]
        able: np.ndarray = (score > 0) & (np.minimum(of_query, of_target) >= self._coverage)
        return able

    def _is_relative(self, found: Any) -> bool:
        # not found.identity(), which has the 24 bits of a float: 7 of 10 would be less than 0.7
        identity = found.alignment.count("M") / len(found.alignment)
        of_query = (found.query_end + 1 - found.query_start) / found.query_length
        of_target = (found.target_end + 1 - found.target_start) / found.target_length
        return bool(identity >= self._threshold and min(of_query, of_target) >= self._coverage)
