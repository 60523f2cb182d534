"""`ESMLikelihoodTransformer`: how plausible sequences, and variants of a reference, are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_esm._base import SequenceTransformer, distinct
from sklearn_esm._checkpoints._architecture import Architecture
from sklearn_esm._checkpoints._fingerprint import Identity
from sklearn_esm._checkpoints._locate import model_label
from sklearn_esm._execution._outputs import LogProbabilities
from sklearn_esm._execution._pieces import Item
from sklearn_esm._execution._results import results_of
from sklearn_esm._likelihood_scores import (
    OF_SEQUENCES,
    OF_VARIANTS,
    check_scored,
    check_variants,
    marginals,
    masked_items,
    resolve_methods,
    varying_positions,
)
from sklearn_esm._sequences import SequenceError, clean_sequences, scored_length, scored_positions


class ESMLikelihoodTransformer(SequenceTransformer):
    """Score sequences by the likelihood that one of Meta's ESM models gives their residues.

    There is one column per method. Methods without a reference score any sequence. Methods with a
    reference score variants by their substitutions, and predict the effects of mutations without
    measurements.

    Parameters
    ----------
    model : str or path-like, default="esm2_t6_8M_UR50D"
        Weights to use, as in :class:`ESMEmbeddingTransformer`. The ESM-1v models were trained to
        predict effects of mutations.

    method : str or list of str, default="pseudo-perplexity"
        Score to compute. x_i are the residues of a sequence x, logarithms are natural, and
        probabilities are normalised over the whole vocabulary:

        - ``"pseudo-log-likelihood"``: the sum of log p(x_i | x without x_i), each residue masked in
          turn. It needs a forward pass for every residue.
        - ``"pseudo-perplexity"``: exp of minus that sum divided by the number of residues; 1 is
          perfect, 33 as good as guessing.
        - ``"log-likelihood"``: the sum of log p(x_i | x), from one pass with nothing masked. The model
          sees the residues that it predicts, so use it only to compare sequences.
        - ``"masked-marginals"``: the sum of log p(x_i | r without r_i) - log p(r_i | r without r_i)
          over the positions where x differs from the ``reference`` r, each masked in turn. It needs a
          pass for each position that varies in X, whatever the number of variants. The reference
          itself scores 0, and more plausible variants score higher.
        - ``"wt-marginals"``: the same from one pass of the reference with nothing masked.

    reference : str or None, default=None
        Sequence, usually the wild type, that ``"masked-marginals"`` and ``"wt-marginals"`` compare
        with. Each row of X is a whole sequence of the same length.

    overlong : {"error", "truncate", "window"}, default="error"
        How to handle sequences longer than ``max_length``. ``"window"`` scores each residue in the
        overlapping window in which it is most central.

    max_length : int or None, default=None
        Limit in residues. ``None`` is the model's own limit: 1,022 for ESM-1b and ESM-1v, none for
        ESM-2 and ESM-1.

    invalid : {"error", "unknown", "mask", "drop"}, default="error"
        How to handle characters outside ESM's alphabet: raise an error, read them as X, read them as
        ``<mask>``, or remove them. A ``<mask>`` is not scored.

    missing : {"error", "nan"}, default="error"
        How to handle None, NaN, ``pd.NA`` and empty sequences: raise an error, or return a row of NaN.

    device : str or None, default=None
        ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``. ``None`` selects the best one present.

    dtype : {"float32", "bfloat16", "float16", "int8"}, default="float32"
        Arithmetic of the blocks; the language-model head is always float32.

    batch_tokens : int or None, default=None
        Tokens in one forward pass, which bounds memory. ``None`` selects a number for the device.

    cache : "memory", path-like or None, default="memory"
        Where to keep log-probabilities, as in :class:`ESMEmbeddingTransformer`: one number per
        residue, and 25 per position of the reference. Methods that need the same passes share them.

    n_jobs : int or None, default=None
        Number of joblib workers. ``None`` means 1 unless in a ``joblib.parallel_config`` context.

    verbose : bool, default=False
        Show a progress bar.

    Attributes
    ----------
    methods_ : list of str
        The methods in use.

    reference_ : str or None
        The reference after cleaning and truncation.

    model_fingerprint_ : str
        SHA-256 of the checkpoint file.

    See Also
    --------
    ESMEmbeddingTransformer : Return hidden states, pooled.
    ESMContactTransformer : Predict which residues are in contact.

    Notes
    -----
    The definitions are those of Meier et al. [1]_; pseudo-likelihood is that of Salazar et al. [2]_.
    Scores of the script of Meier et al. with ``--scoring-strategy pseudo-ppl`` differ: it masks token
    i, which is residue i - 1 because of BOS, and reads the probability of residue i.

    Used as features beside embeddings and one-hot substitutions in a ridge regression, the scores
    give the augmented model of Hsu et al. [3]_.

    References
    ----------
    .. [1] Meier et al. (2021), "Language models enable zero-shot prediction of the effects of
       mutations on protein function", NeurIPS.
    .. [2] Salazar et al. (2020), "Masked language model scoring", ACL.
    .. [3] Hsu et al. (2022), "Learning protein fitness models from evolutionary and assay-labeled
       data", Nature Biotechnology 40.

    Examples
    --------
    >>> from sklearn_esm import ESMLikelihoodTransformer
    >>> score = ESMLikelihoodTransformer(
    ...     "esm2_t6_1M_bundled", method="masked-marginals", reference="HAEGTFTSDVSSYLEGQAAKEFIAWLVKGR"
    ... )
    >>> effects = score.fit_transform(
    ...     ["HAEGTFTSDVSSYLEGQAAKEFIAWLVKGR", "HGEGTFTSDVSSYLEGQAAKEFIAWLVKGR"]
    ... )
    >>> effects.shape, float(effects[0, 0])
    ((2, 1), 0.0)
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = "esm2_t6_8M_UR50D",
        *,
        method: str | Sequence[str] = "pseudo-perplexity",
        reference: str | None = None,
        overlong: str = "error",
        max_length: int | None = None,
        invalid: str = "error",
        missing: str = "error",
        device: str | None = None,
        dtype: str = "float32",
        batch_tokens: int | None = None,
        cache: str | os.PathLike[str] | None = "memory",
        n_jobs: int | None = None,
        verbose: bool = False,
    ) -> None:
        self.model = model
        self.method = method
        self.reference = reference
        self.overlong = overlong
        self.max_length = max_length
        self.invalid = invalid
        self.missing = missing
        self.device = device
        self.dtype = dtype
        self.batch_tokens = batch_tokens
        self.cache = cache
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> ESMLikelihoodTransformer:
        """Check parameters, reference and sequences, and find the checkpoint; the model is not run.

        Parameters
        ----------
        X : list, array, column or one-column table of sequences
            Strings, Biopython ``SeqRecord`` objects, or fair-esm's ``(label, sequence)`` pairs.

        y : None
            Ignored. Present for API consistency by convention.

        Returns
        -------
        ESMLikelihoodTransformer
            The estimator itself.

        Raises
        ------
        ValueError
            If a parameter, the reference or a sequence is invalid, such as a variant whose length is
            not that of the reference.
        TypeError
            If the input does not contain sequences.
        FileNotFoundError, ConnectionError
            If the checkpoint is not on this machine and cannot be downloaded.
        """
        sequences = self._checked(X, self._resolve)
        identity = self._identify()
        methods, reference = self._resolve(sequences, identity.architecture)
        self.methods_ = methods
        self.reference_ = reference
        self.model_fingerprint_ = identity.fingerprint
        self._n_features_out = len(methods)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Score sequences.

        Parameters
        ----------
        X : list, array, column or one-column table of sequences
            As for ``fit``.

        Returns
        -------
        ndarray of shape (n_sequences, n_methods), float64
            In double precision, because two long sequences may differ by little.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If a sequence is invalid, or the weights have changed since ``fit``.
        """
        identity, sequences = self._identified(X)
        self._check(sequences, self.methods_, self.reference_)
        texts = distinct(sequences)
        columns = self._scores(identity, texts)
        scores = np.full((len(texts) + 1, len(self.methods_)), np.nan)  # the last row for missing ones
        for number, method in enumerate(self.methods_):
            scores[:-1, number] = columns[method]
        row_of = {text: row for row, text in enumerate(texts)}
        return scores[[-1 if sequence is None else row_of[sequence] for sequence in sequences]]

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return names such as ``esm2_t6_8M_UR50D_pseudo-perplexity``.

        Parameters
        ----------
        input_features : None
            Ignored. Present for API consistency by convention.

        Returns
        -------
        ndarray of shape (n_methods,), object
        """
        check_is_fitted(self)
        label = model_label(self.model)
        return np.array([f"{label}_{method}" for method in self.methods_], dtype=object)

    def _resolve(
        self, sequences: list[str | None], architecture: Architecture
    ) -> tuple[list[str], str | None]:
        """Return the methods and the clean reference, and check the sequences."""
        methods = resolve_methods(self.method, self.reference)
        reference = self._clean_reference(architecture)
        self._check(self._accepted(sequences, architecture), methods, reference)
        return methods, reference

    def _clean_reference(self, architecture: Architecture) -> str | None:
        if self.reference is None:
            return None
        try:
            cleaned = clean_sequences([self.reference], invalid=self.invalid, missing=self.missing)
            (reference,) = self._accepted(cleaned, architecture)
        except (SequenceError, TypeError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"reference must be a sequence of residues. {error}") from error
        if reference is None:
            raise ValueError(
                "reference must not be empty. Set it to the wild-type sequence, or to None."
            )
        return reference

    def _check(self, sequences: list[str | None], methods: Sequence[str], reference: str | None) -> None:
        if any(method in OF_SEQUENCES for method in methods):
            check_scored(sequences)
        if reference is not None and any(method in OF_VARIANTS for method in methods):
            check_variants(sequences, reference)

    def _scores(self, identity: Identity, sequences: list[str]) -> dict[str, np.ndarray]:
        """Return the scores of distinct sequences by each method in use, ``(sequences,)`` float64."""
        scores = {}
        wanted = set(self.methods_)
        if "log-likelihood" in wanted:
            scores["log-likelihood"] = self._sums(identity, [[Item(sequence)] for sequence in sequences])
        if wanted & {"pseudo-log-likelihood", "pseudo-perplexity"}:
            longest = self._longest(identity)
            sums = self._sums(identity, [masked_items(sequence, longest) for sequence in sequences])
            residues = np.array([scored_length(sequence) for sequence in sequences])
            scores["pseudo-log-likelihood"] = sums
            scores["pseudo-perplexity"] = np.exp(-sums / residues)
        for method in OF_VARIANTS:
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
