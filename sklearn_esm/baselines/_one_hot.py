"""`OneHotResidues`: which residue each position of aligned sequences has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.utils.validation import check_is_fitted

from sklearn_esm._sequences import (
    MASK,
    RESIDUES,
    SequenceError,
    check_one_of,
    clean_sequences,
    reference_named,
    residue_codes,
    rows_named,
    shorten,
)
from sklearn_esm.baselines._base import STANDARD, SequenceBaseline

# a row for each residue and one for MASK; only the standard residues have a column
_ONE_HOT = np.eye(len(RESIDUES) + 1, len(STANDARD))


class OneHotResidues(SequenceBaseline):
    """Indicate which of the 20 standard residues each position of aligned sequences has.

    All sequences must have the same length, as the variants of a protein do. There are 20 columns for
    each position, in the order ``ACDEFGHIKLMNPQRSTVWY``. Ridge regression on them assumes that the
    effects of substitutions add up, which is hard to beat if all positions were seen in training. They
    say nothing about positions that did not vary there.

    Parameters
    ----------
    reference : str or None, default=None
        Sequence, usually the wild type, whose residues are in the names of the columns: ``A24=G``
        instead of ``24=G``. Sequences must have its length. It does not change values.

    sparse_output : bool, default=False
        Whether to return a sparse matrix. It takes 12 bytes for each residue instead of 160. Frames of
        pandas and polars cannot hold it.

    invalid : {"error", "unknown", "mask"}, default="error"
        How to handle characters outside ESM's alphabet: raise an error, or read them as X or
        ``<mask>``. The gaps of an alignment need one of these. There is no ``"drop"``, because the
        residues that follow would move to other positions.

    missing : {"error", "nan"}, default="error"
        How to handle None, NaN, ``pd.NA`` and empty sequences: raise an error, or return a row of NaN.

    Attributes
    ----------
    n_positions_ : int
        Number of residues that each sequence must have.

    reference_ : str or None
        The reference after cleaning.

    See Also
    --------
    ResidueComposition : Describe sequences of any length by the frequencies of their residues.
    sklearn_esm.ESMEmbeddingTransformer : Embed sequences with a language model.

    Notes
    -----
    B, U, Z, O, X and ``<mask>`` have no column: all columns of such a position are 0.

    The columns depend on the length only, so they are the same in every fold. For fewer columns add
    :class:`sklearn.feature_selection.VarianceThreshold` to the pipeline. It removes what is constant in
    the training rows: residues that do not occur, and positions that do not vary.

    Ridge regression on one-hot residues is a strong baseline for variants of one protein [1]_.

    References
    ----------
    .. [1] Hsu et al. (2022), "Learning protein fitness models from evolutionary and assay-labeled
       data", Nature Biotechnology 40.

    Examples
    --------
    >>> from sklearn_esm.baselines import OneHotResidues
    >>> one_hot = OneHotResidues(reference="GIGKF").set_output(transform="pandas")
    >>> one_hot.fit_transform(["GIGKF", "GAGKF", "GXGKF"])[["I2=A", "I2=I"]]
       I2=A  I2=I
    0   0.0   1.0
    1   1.0   0.0
    2   0.0   0.0
    """

    def __init__(
        self,
        *,
        reference: str | None = None,
        sparse_output: bool = False,
        invalid: str = "error",
        missing: str = "error",
    ) -> None:
        self.reference = reference
        self.sparse_output = sparse_output
        self.invalid = invalid
        self.missing = missing

    def fit(self, X: Any, y: Any = None) -> OneHotResidues:
        """Learn the length of the sequences.

        Parameters
        ----------
        X : list, array, column or one-column table of sequences
            Strings, Biopython ``SeqRecord`` objects, or fair-esm's ``(label, sequence)`` pairs.

        y : None
            Ignored. Present for API consistency by convention.

        Returns
        -------
        OneHotResidues
            The estimator itself.

        Raises
        ------
        ValueError
            If a parameter, the reference or a sequence is invalid, or if lengths differ.
        TypeError
            If the input does not contain sequences.
        """
        sequences = self._checked(X)
        reference = self._clean_reference()
        if reference is not None:
            length = len(reference)
            _check_lengths(sequences, length, "the reference")
        else:
            first = next((row for row, sequence in enumerate(sequences) if sequence is not None), None)
            if first is None:
                raise ValueError(
                    "X must have at least one sequence, because fit learns its length; got "
                    f"{len(sequences):,} missing rows. Set reference to the wild type."
                )
            length = len(sequences[first] or "")
            _check_lengths(sequences, length, f"sequence {first}")
        self.n_positions_ = length
        self.reference_ = reference
        return self

    def transform(self, X: Any) -> np.ndarray | csr_matrix:
        """Return 1 for the residue at each position, and 0 for the other 19.

        Parameters
        ----------
        X : list, array, column or one-column table of sequences
            As for ``fit``.

        Returns
        -------
        ndarray or scipy.sparse.csr_matrix of shape (n_sequences, 20 * n_positions), float64
            Sparse if ``sparse_output=True``.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If a sequence is invalid, or if its length is not that of the sequences in ``fit``.
        """
        check_is_fitted(self)
        sequences = self._checked(X)
        _check_lengths(sequences, self.n_positions_, "each sequence in fit")
        missing = [row for row, sequence in enumerate(sequences) if sequence is None]
        absent = "X" * self.n_positions_
        codes = residue_codes("".join(sequence or absent for sequence in sequences))
        codes = codes.reshape(-1, self.n_positions_)  # (sequences, positions)
        if self.sparse_output:
            return _sparse(codes, missing)
        matrix = _ONE_HOT.take(codes, axis=0).reshape(len(codes), -1)  # (sequences, 20 * positions)
        matrix[missing] = np.nan
        return matrix

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return names such as ``A24=G``, or ``24=G`` without a reference; positions count from 1.

        Parameters
        ----------
        input_features : None
            Ignored. Present for API consistency by convention.

        Returns
        -------
        ndarray of shape (20 * n_positions,), object
        """
        check_is_fitted(self)
        wild = self.reference_ or [""] * self.n_positions_
        return np.array(
            [
                f"{'<mask>' if old == MASK else old}{position}={new}"
                for position, old in enumerate(wild, start=1)
                for new in STANDARD
            ],
            dtype=object,
        )

    def _check_parameters(self) -> None:
        if not isinstance(self.sparse_output, (bool, np.bool_)):
            raise TypeError(f"sparse_output must be a bool; got {self.sparse_output!r}.")
        if self.invalid == "drop":
            raise ValueError(
                "invalid must be 'error', 'unknown' or 'mask', because dropping a character moves the "
                "residues that follow to other positions; got 'drop'. Set invalid='unknown' for gaps."
            )
        check_one_of("invalid", self.invalid, ("error", "unknown", "mask"))

    def _clean_reference(self) -> str | None:
        if self.reference is None:
            return None
        with reference_named():
            (reference,) = clean_sequences([self.reference], invalid=self.invalid, missing="error")
        return reference


def _check_lengths(sequences: Sequence[str | None], length: int, whose: str) -> None:
    """Raise SequenceError if a sequence has another length."""
    rows = [row for row, text in enumerate(sequences) if text is not None and len(text) != length]
    if rows:
        sequence = sequences[rows[0]] or ""
        raise SequenceError(
            rows[0],
            f"({shorten(sequence)}) must have {length:,} residues, as {whose} has; got "
            f"{len(sequence):,}. Align the sequences and set invalid='unknown' for gaps, or use "
            "ResidueComposition, which accepts any length.",
            rows=rows_named(rows),
        )


def _sparse(codes: np.ndarray, missing: list[int]) -> csr_matrix:
    """Return the one-hot matrix of codes ``(sequences, positions)``; NaN for missing rows."""
    n_rows, n_positions = codes.shape
    width = len(STANDARD) * n_positions
    standard = codes < len(STANDARD)  # (sequences, positions)
    columns = (codes + np.arange(0, width, len(STANDARD)))[standard]
    starts = np.concatenate([[0], np.cumsum(standard.sum(axis=1))])  # of each row in columns
    matrix = csr_matrix((np.ones(len(columns)), columns, starts), shape=(n_rows, width))
    if missing:
        rows = np.repeat(missing, width)
        places = rows, np.tile(np.arange(width), len(missing))
        matrix += csr_matrix((np.full(len(rows), np.nan), places), shape=matrix.shape)
    return matrix
