"""What the baselines share: the 20 standard residues, checks of sequences, and scikit-learn's tags."""

from __future__ import annotations

from typing import Any

from sklearn.base import BaseEstimator, TransformerMixin

from sklearn_esm._sequences import RESIDUES, clean_sequences

STANDARD = RESIDUES[:20]  # ACDEFGHIKLMNPQRSTVWY; the letters B U Z O X follow


class SequenceBaseline(TransformerMixin, BaseEstimator):
    """Base class of the transformers of protein sequences that run no model.

    Their common parameters: ``invalid`` and ``missing``.
    """

    _doc_link_module = "sklearn_esm"
    _doc_link_template = (
        "https://sklearn-esm.readthedocs.io/en/stable/api/sklearn_esm.baselines.{estimator_name}.html"
    )

    invalid: str
    missing: str

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.input_tags.allow_nan = self.missing == "nan"
        tags.transformer_tags.preserves_dtype = []
        return tags

    def _check_parameters(self) -> None:
        """Raise ValueError or TypeError if a parameter is invalid."""
        raise NotImplementedError

    def _checked(self, X: Any) -> list[str | None]:
        """Return clean sequences, or raise the error of a parameter or of a sequence."""
        self._check_parameters()
        return clean_sequences(X, invalid=self.invalid, missing=self.missing)
