"""`ResidueComposition`: how often each residue occurs in a sequence."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_esm._sequences import residue_codes
from sklearn_esm.baselines._base import STANDARD, SequenceBaseline

# residues and counts held at once: they fit into the cache of a CPU, and memory does not grow with X
_BLOCK = 2**17


class ResidueComposition(SequenceBaseline):
    """Describe sequences by the frequencies of their residues.

    There are 20 columns, the standard residues in the order ``ACDEFGHIKLMNPQRSTVWY``, whatever the
    length of a sequence. Compare an embedding with them before you trust it: a classifier of whole
    proteins often does well on composition alone.

    Parameters
    ----------
    length : bool or "log", default=False
        Whether to add the number of residues as a column, or its natural logarithm. Proteins of two
        classes often differ in length, which frequencies do not show.

    pairs : bool, default=False
        Whether to add the frequencies of the 400 pairs of neighbouring residues.

    invalid : {"error", "unknown", "mask", "drop"}, default="error"
        How to handle characters outside ESM's alphabet: raise an error, read them as X, read them as
        ``<mask>``, or remove them.

    missing : {"error", "nan"}, default="error"
        How to handle None, NaN, ``pd.NA`` and empty sequences: raise an error, or return a row of NaN.

    See Also
    --------
    OneHotResidues : Indicate the residue at each position of aligned sequences.
    sklearn_esm.ESMEmbeddingTransformer : Embed sequences with a language model.

    Notes
    -----
    B, U, Z, O, X and ``<mask>`` count as residues of the sequence but have no column. So the
    frequencies of a sequence that has them sum to less than 1. A pair with one of them has no column
    either. Frequencies of pairs are shares of all pairs, one fewer than residues. They are 0 for a
    single residue.

    Examples
    --------
    >>> from sklearn_esm.baselines import ResidueComposition
    >>> composition = ResidueComposition(length=True).set_output(transform="pandas")
    >>> composition.fit_transform(["GIGKFLHSAKKF", "GGGX"])[["A", "G", "K", "length"]].round(2)
          A     G     K  length
    0  0.08  0.17  0.25    12.0
    1  0.00  0.75  0.00     4.0
    """

    def __init__(
        self,
        *,
        length: bool | str = False,
        pairs: bool = False,
        invalid: str = "error",
        missing: str = "error",
    ) -> None:
        self.length = length
        self.pairs = pairs
        self.invalid = invalid
        self.missing = missing

    def fit(self, X: Any, y: Any = None) -> ResidueComposition:
        """Check parameters and sequences; nothing is learned.

        Parameters
        ----------
        X : list, array, column or one-column table of sequences
            Strings, Biopython ``SeqRecord`` objects, or fair-esm's ``(label, sequence)`` pairs.

        y : None
            Ignored. Present for API consistency by convention.

        Returns
        -------
        ResidueComposition
            The estimator itself.

        Raises
        ------
        ValueError
            If a parameter or a sequence is invalid.
        TypeError
            If the input does not contain sequences.
        """
        self._checked(X)
        self._n_features_out = len(self._names())
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return the frequencies of the residues of each sequence.

        Parameters
        ----------
        X : list, array, column or one-column table of sequences
            As for ``fit``.

        Returns
        -------
        ndarray of shape (n_sequences, n_features), float64
            20 columns, then the length if ``length`` is set, then 400 columns if ``pairs`` is set.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If a parameter or a sequence is invalid.
        """
        check_is_fitted(self)
        texts = [sequence or "" for sequence in self._checked(X)]  # only a missing one is empty
        lengths = np.array([len(text) for text in texts])
        matrix = np.empty((len(texts), len(self._names())))
        for rows in _blocks(lengths + matrix.shape[1]):
            matrix[rows] = self._columns("".join(texts[rows]), lengths[rows])
        matrix[lengths == 0] = np.nan
        return matrix

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return names such as ``A``, ``length`` or ``log_length``, and ``AC`` for the pair of A and C.

        Parameters
        ----------
        input_features : None
            Ignored. Present for API consistency by convention.

        Returns
        -------
        ndarray of shape (n_features,), object
        """
        check_is_fitted(self)
        return np.array(self._names(), dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_n_features_out")

    def _check_parameters(self) -> None:
        if not isinstance(self.length, (bool, np.bool_)) and self.length != "log":
            raise ValueError(f"length must be True, False or 'log'; got {self.length!r}.")
        if not isinstance(self.pairs, (bool, np.bool_)):
            raise TypeError(f"pairs must be a bool; got {self.pairs!r}.")

    def _names(self) -> list[str]:
        names = list(STANDARD)
        if self.length:
            names.append("log_length" if self.length == "log" else "length")
        if self.pairs:
            names += [first + second for first in STANDARD for second in STANDARD]
        return names

    def _columns(self, text: str, lengths: np.ndarray) -> np.ndarray:
        """Return the columns of joined sequences of these lengths; any numbers for a length of 0."""
        codes = np.minimum(residue_codes(text), 20)  # (residues,)
        rows = np.repeat(np.arange(len(lengths)), lengths)  # (residues,)
        at_least_one = np.maximum(lengths, 1)
        columns = [_counts(rows, codes, (len(lengths), 21))[:, :20] / at_least_one[:, None]]
        if self.length:
            column = np.log(at_least_one) if self.length == "log" else lengths
            columns.append(column[:, None])
        if self.pairs:
            inside = rows[:-1] == rows[1:]  # or else the two belong to different sequences
            pairs = (21 * codes[:-1] + codes[1:])[inside]
            counts = _counts(rows[:-1][inside], pairs, (len(lengths), 21 * 21))
            standard = counts.reshape(-1, 21, 21)[:, :20, :20].reshape(-1, 400)
            columns.append(standard / np.maximum(lengths - 1, 1)[:, None])
        return np.hstack(columns)  # (sequences, features)


def _counts(rows: np.ndarray, codes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return how often each code occurs in each row."""
    n_rows, n_codes = shape
    return np.bincount(n_codes * rows + codes, minlength=n_rows * n_codes).reshape(shape)


def _blocks(costs: np.ndarray) -> Iterator[slice]:
    """Yield slices of rows whose costs, but for the first row, sum to less than ``_BLOCK``."""
    number = np.cumsum(costs) // _BLOCK
    starts = np.flatnonzero(np.diff(number)) + 1
    for first, last in pairwise([0, *starts.tolist(), len(costs)]):
        yield slice(first, last)
