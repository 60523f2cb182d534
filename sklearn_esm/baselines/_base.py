"""What the baselines share: the 20 standard residues and checks of sequences."""

from __future__ import annotations

from typing import Any

from sklearn_esm._sequences import RESIDUES, clean_sequences
from sklearn_esm._tags import StringTransformer

STANDARD = RESIDUES[:20]  # ACDEFGHIKLMNPQRSTVWY; the letters B U Z O X follow


class SequenceBaseline(StringTransformer):
    """Base class of the transformers of protein sequences that run no model.

    Their common parameters: ``invalid`` and ``missing``.
    """

    _doc_link_template = (
        "https://sklearn-esm.readthedocs.io/en/stable/api/sklearn_esm.baselines.{estimator_name}.html"
    )

    invalid: str
    missing: str

    def _check_parameters(self) -> None:
        """Raise ValueError or TypeError if a parameter is invalid."""
        raise NotImplementedError

    def _checked(self, X: Any) -> list[str | None]:
        """Return clean sequences, or raise the error of a parameter or of a sequence."""
        self._check_parameters()
        return clean_sequences(X, invalid=self.invalid, missing=self.missing)
