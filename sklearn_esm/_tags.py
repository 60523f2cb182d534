"""Scikit-learn's tags of a transformer whose input is a column of strings."""

from __future__ import annotations

from typing import Any

from sklearn.base import BaseEstimator, TransformerMixin


class StringTransformer(TransformerMixin, BaseEstimator):
    """Base class of every transformer of this package: of sequences, or of names of mutations."""

    _doc_link_module = "sklearn_esm"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.input_tags.allow_nan = getattr(self, "missing", None) == "nan"
        tags.transformer_tags.preserves_dtype = []
        return tags
