"""The scores of `ESMLikelihoodTransformer` by one of its models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from sklearn_esm._base import SequenceTransformer, distinct
from sklearn_esm._checkpoints._architecture import Architecture
from sklearn_esm._checkpoints._fingerprint import Identity
from sklearn_esm._execution._outputs import LogProbabilities
from sklearn_esm._execution._pieces import Item
from sklearn_esm._execution._results import results_of
from sklearn_esm._likelihood_scores import (
    MARGINALS,
    RATIO,
    check_masks,
    check_scored,
    check_variants,
    marginals,
    masked_items,
    resolve_methods,
    varying_positions,
)
from sklearn_esm._sequences import clean_sequences, reference_named, scored_length, scored_positions


class ModelScorer(SequenceTransformer):
    """Checks and scores of one model.

    Parameters
    ----------
    parameters : mapping of str to object
        Parameters of an `ESMLikelihoodTransformer` with a single model.
    """

    method: str | Sequence[str]
    reference: str | None
    methods_: list[str]
    reference_: str | None

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self.__dict__.update(parameters)

    def checked(self, X: Any) -> list[str | None]:
        """Return clean sequences, and raise every error that does not need the checkpoint."""
        return self._checked(X, self._resolve)

    def fit(self, sequences: list[str | None]) -> None:
        """Find the checkpoint, and check methods, reference and sequences for it."""
        identity = self._identify()
        self.methods_, self.reference_ = self._resolve(sequences, identity.architecture)
        self.model_fingerprint_ = identity.fingerprint

    def identified(self, X: Any) -> tuple[Identity, list[str | None]]:
        """Return the identity of the fitted checkpoint, and the clean rows of ``X``."""
        identity, sequences = self._identified(X)
        self._check(sequences, self.methods_, self.reference_)
        return identity, sequences

    def scores(self, identity: Identity, sequences: list[str | None]) -> np.ndarray:
        """Return the scores of all rows, ``(sequences, methods)`` float64; NaN for missing ones."""
        texts = distinct(sequences)
        scores = np.full((len(texts) + 1, len(self.methods_)), np.nan)  # the last row for missing ones
        columns = self._columns(identity, texts) if texts else {}
        for method, column in columns.items():
            if method in self.methods_:
                scores[:-1, self.methods_.index(method)] = column
        row_of = {text: row for row, text in enumerate(texts)}
        return scores[[-1 if sequence is None else row_of[sequence] for sequence in sequences]]

    def _resolve(
        self, sequences: list[str | None], architecture: Architecture
    ) -> tuple[list[str], str | None]:
        """Return the methods and the clean reference, and check the sequences."""
        methods = resolve_methods(self.method, self.reference)
        reference = self._clean_reference(methods, architecture)
        self._check(self._accepted(sequences, architecture), methods, reference)
        return methods, reference

    def _clean_reference(self, methods: list[str], architecture: Architecture) -> str | None:
        if self.reference is None:
            return None
        with reference_named():
            cleaned = clean_sequences([self.reference], invalid=self.invalid, missing=self.missing)
            (reference,) = self._accepted(cleaned, architecture)
            if RATIO in methods:
                check_scored([reference])
        if reference is None:
            raise ValueError(
                "reference must not be empty. Set it to the wild-type sequence, or to None."
            )
        return reference

    def _check(self, sequences: list[str | None], methods: Sequence[str], reference: str | None) -> None:
        if any(method not in MARGINALS for method in methods):
            check_scored(sequences)
        if reference is None:
            return
        if any(method in MARGINALS for method in methods):
            check_variants(sequences, reference)
        if RATIO in methods:
            check_masks(sequences, reference)

    def _columns(self, identity: Identity, sequences: list[str]) -> dict[str, np.ndarray]:
        """Return the scores of distinct sequences by each method in use, ``(sequences,)`` float64."""
        scores = {}
        wanted = set(self.methods_)
        if "log-likelihood" in wanted:
            scores["log-likelihood"] = self._sums(identity, [[Item(sequence)] for sequence in sequences])
        if wanted & {"pseudo-log-likelihood", "pseudo-perplexity", RATIO}:
            with_reference = distinct([*sequences, self.reference_ if RATIO in wanted else None])
            longest = self._longest(identity)
            all_sums = self._sums(identity, [masked_items(one, longest) for one in with_reference])
            sums = all_sums[: len(sequences)]
            residues = np.array([scored_length(sequence) for sequence in sequences])
            scores["pseudo-log-likelihood"] = sums
            scores["pseudo-perplexity"] = np.exp(-sums / residues)
            if RATIO in wanted and self.reference_ is not None:
                scores[RATIO] = sums - all_sums[with_reference.index(self.reference_)]
        for method in MARGINALS:
            if method in wanted and self.reference_ is not None:
                tables = self._tables(identity, sequences, self.reference_, method)
                scores[method] = marginals(sequences, self.reference_, tables)
        return scores

    def _sums(self, identity: Identity, items_of: list[list[Item]]) -> np.ndarray:
        """Return the sum of all log-probabilities of each sequence, ``(sequences,)`` float64."""
        request = self._request(identity, LogProbabilities(identity.architecture.layers, False))
        items = [item for some in items_of for item in some]
        sums = np.empty(len(items))  # of each item
        for result in results_of(request, items, self._source()):
            for number, array in zip(result.rows, result.values, strict=True):
                sums[number] = array.sum(dtype=np.float64)
        of_items = iter(sums.tolist())
        return np.array([sum(islice(of_items, len(some))) for some in items_of], dtype=np.float64)

    def _tables(
        self, identity: Identity, sequences: list[str], reference: str, method: str
    ) -> dict[int, np.ndarray]:
        """Return ``(25,)`` log-probabilities for each position of the reference that varies."""
        varying = varying_positions(sequences, reference)
        request = self._request(identity, LogProbabilities(identity.architecture.layers, True))
        if method == "masked-marginals":
            items = [Item(reference, (position,)) for position in varying]
            return {
                varying[number]: array
                for result in results_of(request, items, self._source())
                for number, array in zip(result.rows, result.values, strict=True)
            }
        if not varying:
            return {}
        (result,) = results_of(request, [Item(reference)], self._source())
        positions = scored_positions(reference)
        table = result.values[0].reshape(len(positions), -1)  # (positions, 25)
        return dict(zip(positions, table, strict=True))
