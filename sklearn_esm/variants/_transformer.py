"""`MutationsToSequences`: a column of mutations to sequences, as a step of a pipeline."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_esm._tags import StringTransformer
from sklearn_esm.variants._apply import mutated
from sklearn_esm.variants._names import names_of
from sklearn_esm.variants._reference import checked_reference, column_of_texts, texts_of


class MutationsToSequences(StringTransformer):
    """Turn mutations such as ``"A24G:K30R"`` into whole sequences.

    Put it before an ESM transformer, so that a pipeline accepts the column of mutations of a table.

    Parameters
    ----------
    reference : str
        The wild-type sequence, or a Biopython ``SeqRecord``.

    first_position : int, default=1
        Position of the reference's first residue. If the reference is a domain and the mutations count
        from the start of the full-length protein, set the domain's first position.

    Attributes
    ----------
    reference_ : str
        The reference in upper case.

    See Also
    --------
    apply_mutations : The same as a function, with the notation that is accepted.
    sklearn_esm.ESMEmbeddingTransformer : Embed the sequences.

    Notes
    -----
    The output has one dimension. A ``ColumnTransformer`` or ``FeatureUnion`` accepts it from a pipeline
    that goes on with an ESM transformer, or after ``set_output(transform="pandas")``.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn_esm import ESMEmbeddingTransformer
    >>> from sklearn_esm.variants import MutationsToSequences
    >>> to_sequences = MutationsToSequences("GIGKFLHSAKKFGKAFVGEIMNS")
    >>> to_sequences.fit_transform(["WT", "K4R:H7A"])
    array(['GIGKFLHSAKKFGKAFVGEIMNS', 'GIGRFLASAKKFGKAFVGEIMNS'], dtype=object)
    >>> model = make_pipeline(to_sequences, ESMEmbeddingTransformer("esm2_t6_1M_bundled"))
    >>> model.fit_transform(["WT", "K4R:H7A"]).shape
    (2, 128)
    """

    _doc_link_template = (
        "https://sklearn-esm.readthedocs.io/en/stable/api/sklearn_esm.variants.{estimator_name}.html"
    )

    def __init__(self, reference: str, first_position: int = 1) -> None:
        self.reference = reference
        self.first_position = first_position

    def fit(self, X: Any, y: Any = None) -> MutationsToSequences:
        """Check the reference and the mutations.

        Parameters
        ----------
        X : list, array, column or one-column table of str
            Mutations of each variant, in the notation of :func:`apply_mutations`.

        y : None
            Ignored. Present for API consistency by convention.

        Returns
        -------
        MutationsToSequences
            The estimator itself.

        Raises
        ------
        ValueError
            If the reference or a row is invalid.
        TypeError
            If the reference or a row is not a string, or ``first_position`` is not an integer.
        """
        reference = checked_reference(self.reference, self.first_position)
        mutated(reference, texts_of(X), self.first_position)
        self.reference_ = reference
        self._n_features_out = 1
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return the sequences.

        Parameters
        ----------
        X : list, array, column or one-column table of str
            As for ``fit``.

        Returns
        -------
        ndarray of shape (n_variants,), object
            Sequences in upper case; row i has mutations i.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If a row is invalid.
        """
        check_is_fitted(self)
        return column_of_texts(mutated(self.reference_, texts_of(X), self.first_position))

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Return names such as ``"A24G:K30R"`` of sequences as long as the reference.

        Parameters
        ----------
        X : list, array, column or one-column table of sequences
            Sequences that differ from the reference by substitutions.

        Returns
        -------
        ndarray of shape (n_sequences,), object
            Substitutions sorted by position; ``"WT"`` for the reference. Synonymous mutations such as
            ``"A24A"`` are lost.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If a sequence is invalid, or its length is not that of the reference.
        """
        check_is_fitted(self)
        return column_of_texts(names_of(X, self.reference_, self.first_position))

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the name of the column.

        Parameters
        ----------
        input_features : None
            Ignored. Present for API consistency by convention.

        Returns
        -------
        ndarray of shape (1,), object
            ``"sequence"``.
        """
        check_is_fitted(self)
        return np.array(["sequence"], dtype=object)
