"""What the estimators share: checks of sequences, the checkpoint, requests and the cache."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_esm._available_memory import check_fits
from sklearn_esm._cache import CacheInfo, cache_info, prune_cache
from sklearn_esm._checkpoints._architecture import Architecture
from sklearn_esm._checkpoints._fingerprint import Identity
from sklearn_esm._checkpoints._identity import HubIdentity, former_reference, identify_model
from sklearn_esm._checkpoints._locate import find_checkpoint, is_path, model_label
from sklearn_esm._execution._outputs import Output
from sklearn_esm._execution._pieces import WholeSequences
from sklearn_esm._execution._progress import shared_progress
from sklearn_esm._execution._request import Request
from sklearn_esm._execution._results import Source, results_of
from sklearn_esm._parameters import check_parameters, published_architecture
from sklearn_esm._sequences import SequenceError, clean_sequences, rows_named, shorten
from sklearn_esm._tags import StringTransformer

# raises an error if parameters or sequences do not suit an architecture
_Check: TypeAlias = Callable[[list[str | None], Architecture], object]
# writes one column of a sequence into its row: output, row, number of the column, array
_Write: TypeAlias = Callable[[np.ndarray, int, int, np.ndarray], None]


class SequenceTransformer(StringTransformer):
    """Base class of the transformers of protein sequences, which run an ESM model.

    Their common parameters: ``model``, ``overlong``, ``max_length``, ``invalid``,
    ``missing``, ``device``, ``dtype``, ``batch_tokens``, ``cache``, ``n_jobs`` and ``verbose``.
    """

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
        """Return what the cache of this estimator holds, and its hits and misses.

        Returns
        -------
        CacheInfo
            A named tuple of ``location``, ``hits`` and ``misses`` (distinct sequences that this
            process read from the cache, and that it ran through the model), ``vectors`` and ``bytes``
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
        self._check_parameters()
        return cache_info(self.cache)

    def prune_cache(self, max_bytes: int = 0) -> CacheInfo:
        """Remove vectors from the cache of this estimator, the oldest first.

        In memory, the least recently used vectors are removed first. In a folder, files set aside as
        damaged are removed first, then the vectors of the model whose cache was written least recently.

        Parameters
        ----------
        max_bytes : int, default=0
            Approximate size to keep, in bytes; 0 removes every vector.

        Returns
        -------
        CacheInfo
            What the cache holds afterwards.

        Raises
        ------
        ValueError
            If ``max_bytes`` is negative.

        Examples
        --------
        >>> from sklearn_esm import ESMEmbeddingTransformer
        >>> embed = ESMEmbeddingTransformer("esm2_t6_1M_bundled")
        >>> _ = embed.fit_transform(["HAEGTFTSDVSSYLEGQAAKEFIAWLVKGR"])
        >>> embed.prune_cache().vectors
        0
        """
        self._check_parameters()
        if max_bytes < 0:
            raise ValueError(
                f"max_bytes must be at least 0; got {max_bytes!r}. Set 0 to remove every vector."
            )
        prune_cache(self.cache, max_bytes)
        return cache_info(self.cache)

    def _check_parameters(self) -> None:
        """Raise ValueError or TypeError if a parameter is invalid for any model."""
        check_parameters(self)

    def _checked(self, X: Any, check: _Check, *, allow_empty: bool = False) -> list[str | None]:
        """Return clean sequences, and raise every error that does not need the checkpoint.

        ``check`` is called with the architecture that the catalog lists for a published model, so that
        an error is raised before a download. Call it again with the architecture of the file.
        """
        self._check_parameters()
        published = published_architecture(self.model)
        sequences = clean_sequences(
            X, invalid=self.invalid, missing=self.missing, allow_empty=allow_empty
        )
        if published is not None:
            check(sequences, published)
        return sequences

    def _identified(self, X: Any) -> tuple[Identity, list[str | None]]:
        """Return the identity of the fitted checkpoint, and the clean rows of ``X``, if any."""
        check_is_fitted(self)
        sequences = self._checked(X, self._accepted, allow_empty=True)
        identity = self._identify_fitted()
        return identity, self._accepted(sequences, identity.architecture)

    def _identify(self) -> Identity:
        """Return the identity of the model.

        A checkpoint of fair-esm is downloaded if it is not on this machine. Of a repository of the
        Hugging Face Hub only the settings are.
        """
        return identify_model(self.model)

    def _identify_fitted(self) -> Identity:
        """Return the identity of the checkpoint; raise ValueError if ``fit`` saw other weights."""
        identity = self._identify()
        if identity.fingerprint != self.model_fingerprint_:
            if isinstance(identity, HubIdentity):
                former = former_reference(identity, self.model_fingerprint_)
                raise ValueError(
                    f"The weights of {model_label(self.model)!r} at {identity.reference} must be those "
                    f"this estimator was fitted with, of {former or 'another commit'}. Fit again, or "
                    f"set model={former or 'org/name@commit'!r} for the former weights."
                )
            raise ValueError(
                f"The weights of {model_label(self.model)!r} at {identity.path} must be those this "
                f"estimator was fitted with (SHA-256 {self.model_fingerprint_[:12]}...); got "
                f"{identity.fingerprint[:12]}... Fit again, or restore the file."
            )
        return identity

    def _request(self, identity: Identity, output: Output) -> Request:
        if isinstance(identity, HubIdentity):
            name = identity.reference  # a branch could move before a worker reads it
        elif is_path(self.model):
            name = os.fspath(find_checkpoint(self.model))
        else:  # a worker on another machine finds a published model by its name
            name = os.fspath(self.model)
        return Request(
            model_name=name,
            fingerprint=identity.fingerprint,
            output=output,
            device=self.device,
            dtype=self.dtype,
            window_length=self._longest(identity),
            batch_tokens=self.batch_tokens,
            width=identity.architecture.width,
        )

    def _matrix(
        self, request: Request, sequences: list[str | None], widths: Sequence[int]
    ) -> np.ndarray:
        """Return columns side by side, ``(sequences, sum of widths)`` float32; NaN for missing ones."""
        ends = np.cumsum(widths).tolist()
        check_fits(
            4 * len(sequences) * ends[-1],
            "Transform fewer rows at a time, or choose fewer layers or poolings. The command "
            "sklearn-esm embed writes to disk part by part.",
        )
        matrix = np.empty((len(sequences), ends[-1]), dtype=np.float32)
        places = [slice(end - width, end) for end, width in zip(ends, widths, strict=True)]

        def write(matrix: np.ndarray, row: int, column: int, vector: np.ndarray) -> None:
            matrix[row, places[column]] = vector

        self._fill(matrix, request, sequences, write)
        matrix[[row for row, sequence in enumerate(sequences) if sequence is None]] = np.nan
        return matrix

    def _column(
        self,
        request: Request,
        sequences: list[str | None],
        write: _Write,
        missing: tuple[int, int],
        *,
        cached: bool = True,
    ) -> np.ndarray:
        """Return an object array ``(sequences,)`` of float32 arrays; missing ones of a given shape."""
        column = np.empty(len(sequences), dtype=object)
        self._fill(column, request, sequences, write, cached=cached)
        for row, sequence in enumerate(sequences):
            if sequence is None:
                column[row] = np.empty(missing, dtype=np.float32)
        return column

    def _fill(
        self,
        output: np.ndarray,
        request: Request,
        sequences: list[str | None],
        write: _Write,
        *,
        cached: bool = True,
    ) -> None:
        """Write results into the rows of an output as they arrive, so that none is held twice.

        ``write`` is called once for each column of each distinct sequence, with the sequence's first
        row. Its other rows are copies. Rows of missing sequences are left as they are.
        """
        first: dict[str, int] = {}
        for row, sequence in enumerate(sequences):
            if sequence is not None:
                first.setdefault(sequence, row)
        rows = list(first.values())
        items = WholeSequences(list(first))
        for result in results_of(request, items, self._source(cached=cached)):
            for number, array in zip(result.rows, result.values, strict=True):
                write(output, rows[number], result.column, array)
        if len(rows) == len(sequences):
            return
        for row, sequence in enumerate(sequences):
            if sequence is not None and first[sequence] != row:
                output[row] = output[first[sequence]].copy()

    def _source(self, *, cached: bool = True) -> Source:
        verbose = shared_progress() or self.verbose
        return Source(self.cache if cached else None, self.n_jobs, verbose)

    def _longest(self, identity: Identity) -> int | None:
        """Return how many residues a forward pass may have; None for any number."""
        return self.max_length or identity.architecture.max_length

    def _accepted(self, sequences: list[str | None], architecture: Architecture) -> list[str | None]:
        """Return sequences with the ``overlong`` policy applied; raise an error for longer ones."""
        label, longest = model_label(self.model), architecture.max_length
        policies = " or ".join(map(repr, self._overlong_policies[1:]))
        if self.max_length is not None and self.max_length > (longest or np.inf):
            raise ValueError(
                f"max_length must be None or at most {longest:,}, the limit of {label}; got "
                f"{self.max_length}. Set overlong={policies} to accept longer sequences."
            )
        limit = self.max_length or longest
        if limit is None or self.overlong == "window":
            return sequences
        if self.overlong == "truncate":
            return [sequence and sequence[:limit] for sequence in sequences]
        too_long = ((row, text) for row, text in enumerate(sequences) if text and len(text) > limit)
        for row, sequence in too_long:
            raise SequenceError(
                row,
                f"({shorten(sequence)}) must have at most {limit:,} residues for {label}; got "
                f"{len(sequence):,}. Set overlong={policies} to accept it.",
                rows=rows_named([row, *(other for other, _ in too_long)]),
            )
        return sequences


def distinct(sequences: Iterable[str | None]) -> list[str]:
    """Return each sequence once, in the order of first appearance."""
    return list(dict.fromkeys(sequence for sequence in sequences if sequence is not None))
