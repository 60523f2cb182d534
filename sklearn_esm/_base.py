"""What the transformers share: their model, the sequences it can take, and the cache."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from sklearn_esm._cache import CacheInfo, cache_info, prune_cache
from sklearn_esm._checkpoints._architecture import Architecture
from sklearn_esm._checkpoints._fingerprint import Identity, identify
from sklearn_esm._checkpoints._locate import find_checkpoint, is_path, model_label
from sklearn_esm._execution._outputs import Reading
from sklearn_esm._execution._request import Request
from sklearn_esm._execution._results import Source, arrays_of, filled_matrix
from sklearn_esm._parameters import check_parameters, published_architecture
from sklearn_esm._sequences import SequenceError, clean_sequences, shorten

# raises an error if parameters or sequences do not fit an architecture
_Check: TypeAlias = Callable[[list[str | None], Architecture], object]


class SequenceTransformer(TransformerMixin, BaseEstimator):
    """A transformer of protein sequences that runs one of Meta's ESM language models.

    The parameters every one of them has: ``model``, ``overlong``, ``max_length``, ``invalid``,
    ``missing``, ``device``, ``dtype``, ``batch_tokens``, ``cache``, ``n_jobs`` and ``verbose``.
    """

    _doc_link_module = "sklearn_esm"
    _doc_link_template = (
        "https://sklearn-esm.readthedocs.io/en/stable/api/sklearn_esm.{estimator_name}.html"
    )

    model: str | os.PathLike[str]
    overlong: str
    max_length: int | None
    invalid: str
    missing: str
    device: str | None
    dtype: str
    batch_tokens: int | None
    cache: str | os.PathLike[str] | None
    n_jobs: int | None
    verbose: bool
    model_fingerprint_: str

    _overlong_policies: ClassVar[tuple[str, ...]] = ("error", "truncate", "window")

    def cache_info(self) -> CacheInfo:
        """What the cache of this estimator holds, and how often it was of use.

        Returns
        -------
        CacheInfo
            A named tuple of ``location``, ``hits`` and ``misses`` (distinct sequences served from
            the cache and run through the model, since this process began), ``vectors`` and ``bytes``
            (held now, for all models).

        Examples
        --------
        >>> from sklearn_esm import ESMEmbeddingTransformer
        >>> embed = ESMEmbeddingTransformer("esm2_t6_1M_bundled")
        >>> before = embed.cache_info()
        >>> _ = embed.fit_transform(["HAEGTFTSDVSSYLEGQAAKEFIAWLVKGR"] * 3)
        >>> _ = embed.fit_transform(["HAEGTFTSDVSSYLEGQAAKEFIAWLVKGR"])
        >>> embed.cache_info().misses - before.misses
        1
        """
        check_parameters(self)
        return cache_info(self.cache)

    def prune_cache(self, max_bytes: int = 0) -> CacheInfo:
        """Remove vectors from the cache of this estimator, the oldest first.

        In memory these are the least recently used. In a folder, what was set aside as damaged goes
        first, then the vectors of the model whose cache was written to the longest ago.

        Parameters
        ----------
        max_bytes : int, default=0
            What may stay, about; 0 removes every vector.

        Returns
        -------
        CacheInfo
            What is held after it.

        Raises
        ------
        ValueError
            For a negative number of bytes.

        Examples
        --------
        >>> from sklearn_esm import ESMEmbeddingTransformer
        >>> embed = ESMEmbeddingTransformer("esm2_t6_1M_bundled")
        >>> _ = embed.fit_transform(["HAEGTFTSDVSSYLEGQAAKEFIAWLVKGR"])
        >>> embed.prune_cache().vectors
        0
        """
        check_parameters(self)
        if max_bytes < 0:
            raise ValueError(f"max_bytes={max_bytes!r} is negative. Pass 0 to remove every vector.")
        prune_cache(self.cache, max_bytes)
        return cache_info(self.cache)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.input_tags.allow_nan = self.missing == "nan"
        tags.transformer_tags.preserves_dtype = []
        return tags

    def _check_parameters(self) -> None:
        """Raise ValueError or TypeError if a parameter is invalid for any model."""
        check_parameters(self)

    def _checked(self, X: Any, check: _Check) -> list[str | None]:
        """Return clean sequences; raise every error that can be found without the model's file.

        ``check`` is called with the architecture that the catalog has for a published model, so that
        nothing is downloaded in vain. Call it again with that of the file, which may be another.
        """
        self._check_parameters()
        published = published_architecture(self.model)
        label = model_label(self.model)
        sequences = clean_sequences(X, invalid=self.invalid, missing=self.missing, model=label)
        if published is not None:
            check(sequences, published)
        return sequences

    def _look_up_model(self) -> Identity:
        return identify(find_checkpoint(self.model))

    def _fitted_model(self) -> Identity:
        """The model, which must be the one this estimator was fitted with."""
        identity = self._look_up_model()
        if identity.fingerprint != self.model_fingerprint_:
            raise ValueError(
                f"The weights of {model_label(self.model)!r} at {find_checkpoint(self.model)} are not "
                f"those this estimator was fitted with (SHA-256 {identity.fingerprint[:12]}..., then "
                f"{self.model_fingerprint_[:12]}...). Fit again, or put the former file back."
            )
        return identity

    def _portable_model(self) -> str:
        """What a worker on any machine finds the model by."""
        return str(find_checkpoint(self.model)) if is_path(self.model) else os.fspath(self.model)

    def _request(self, model: Identity, reading: Reading) -> Request:
        return Request(
            model=self._portable_model(),
            fingerprint=model.fingerprint,
            reading=reading,
            device=self.device,
            dtype=self.dtype,
            window_length=self._longest(model),
            batch_tokens=self.batch_tokens,
        )

    def _matrix(
        self, request: Request, sequences: list[str | None], widths: Sequence[int]
    ) -> np.ndarray:
        """Columns side by side, ``(sequences, sum of widths)`` float32; NaN where one is missing."""
        texts = distinct(sequences)
        vectors = np.empty((0, sum(widths)), dtype=np.float32)
        if texts:
            vectors = filled_matrix(request, texts, widths, self._source())
        return rows_of(sequences, texts, vectors)

    def _arrays(self, request: Request, texts: Sequence[str], *, cached: bool) -> list[list[np.ndarray]]:
        """Every column of distinct texts, an array each."""
        if not texts:
            return []
        return arrays_of(request, texts, self._source(cached=cached))

    def _source(self, *, cached: bool = True) -> Source:
        return Source(self.cache if cached else None, self.n_jobs, self.verbose)

    def _longest(self, model: Identity) -> int | None:
        """How many residues a pass may have; None for any number."""
        return self.max_length or model.architecture.max_length

    def _accepted(self, sequences: list[str | None], architecture: Architecture) -> list[str | None]:
        """Return clean sequences, cut to the limit with ``overlong="truncate"``; refuse longer ones."""
        label, longest = model_label(self.model), architecture.max_length
        if self.max_length is not None and self.max_length > (longest or np.inf):
            raise ValueError(
                f"max_length={self.max_length} is more than the {longest:,} residues of {label}. Pass "
                f"None or less, and overlong={self._overlong_policies[-1]!r} for longer ones."
            )
        limit = self.max_length or longest
        if limit is None or self.overlong == "window":
            return sequences
        if self.overlong == "truncate":
            return [sequence and sequence[:limit] for sequence in sequences]
        ways_out = " or ".join(map(repr, self._overlong_policies[1:]))
        for row, sequence in enumerate(sequences):
            if sequence and len(sequence) > limit:
                raise SequenceError(
                    row,
                    f"({shorten(sequence)}) has {len(sequence):,} residues, and {label} takes "
                    f"{limit:,} here. Pass overlong={ways_out} to allow it.",
                )
        return sequences


def distinct(sequences: Iterable[str | None]) -> list[str]:
    """Each sequence once, in the order of first appearance."""
    return list(dict.fromkeys(sequence for sequence in sequences if sequence is not None))


def rows_of(sequences: Sequence[str | None], texts: list[str], vectors: np.ndarray) -> np.ndarray:
    """The vector of each sequence out of those of the distinct texts; NaN where one is missing."""
    if len(texts) == len(sequences):
        return vectors  # nothing is repeated or missing: no second matrix beside the first
    row_of = {text: row for row, text in enumerate(texts)}
    matrix = np.full((len(sequences), vectors.shape[1]), np.nan, dtype=vectors.dtype)
    for row, sequence in enumerate(sequences):
        if sequence is not None:
            matrix[row] = vectors[row_of[sequence]]
    return matrix


def column_of(arrays: Iterable[np.ndarray]) -> np.ndarray:
    """An object array of shape (n_sequences,); the arrays of a user's matrix share no memory."""
    rows = [array.copy() for array in arrays]
    column = np.empty(len(rows), dtype=object)
    for row, array in enumerate(rows):
        column[row] = array
    return column
