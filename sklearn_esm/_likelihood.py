"""`ESMLikelihoodTransformer`: how plausible the model finds sequences, and variants of a reference."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_esm._base import SequenceTransformer, distinct, rows_of
from sklearn_esm._checkpoints._architecture import Architecture
from sklearn_esm._checkpoints._fingerprint import Identity
from sklearn_esm._checkpoints._locate import model_label
from sklearn_esm._execution._outputs import LogProbabilities
from sklearn_esm._likelihood_scores import (
    OF_SEQUENCES,
    OF_VARIANTS,
    check_scored,
    check_variants,
    marginals,
    masked_texts,
    resolve_methods,
    varying_positions,
)
from sklearn_esm._sequences import SequenceError, clean_sequences, mask_in_turn, scored_positions


class ESMLikelihoodTransformer(SequenceTransformer):
    """Score sequences by how likely one of Meta's ESM models finds their residues.

    One column for each method. Those without a reference judge any sequence; those with one judge
    variants by what they substitute in it, and predict effects of mutations without a single
    measurement.

    Parameters
    ----------
    model : str or path-like, default="esm2_t6_8M_UR50D"
        Which weights, as in :class:`ESMEmbeddingTransformer`. For effects of mutations the ESM-1v
        models were made.

    method : str or list of str, default="pseudo-perplexity"
        With x_i the residues of a sequence x, logarithms to the base e, and probabilities over the
        whole vocabulary:

        - ``"pseudo-log-likelihood"``: the sum of log p(x_i | x without x_i), each residue masked in
          turn. It takes a forward pass for every residue.
        - ``"pseudo-perplexity"``: exp of minus that sum over the number of residues; 1 is perfect,
          33 as good as guessing.
        - ``"log-likelihood"``: the sum of log p(x_i | x), from one pass with nothing masked. The model
          sees what it predicts, so that only comparisons make sense.
        - ``"masked-marginals"``: the sum of log p(x_i | r without r_i) - log p(r_i | r without r_i)
          over the positions where x differs from the ``reference`` r, each masked in turn. It takes a
          pass for each position that varies in X, whatever the number of variants. 0 is the reference
          itself, and more is more plausible.
        - ``"wt-marginals"``: the same from one pass of the reference with nothing masked.

    reference : str or None, default=None
        The sequence, as a rule the wild type, that ``"masked-marginals"`` and ``"wt-marginals"``
        compare with. Each row of X is a whole sequence of the same length.

    overlong : {"error", "truncate", "window"}, default="error"
        What becomes of a sequence longer than ``max_length``. ``"window"`` judges every residue from
        the one of overlapping windows in which it lies most central.

    max_length : int or None, default=None
        In residues. None is the model's own limit: 1,022 for ESM-1b and ESM-1v, none for ESM-2 and
        ESM-1.

    invalid : {"error", "unknown", "mask", "drop"}, default="error"
        What becomes of a character that is no residue: refused, read as X, read as ``<mask>``, or
        removed. A ``<mask>`` is no residue: it is not scored.

    missing : {"error", "nan"}, default="error"
        What becomes of None, NaN, ``pd.NA`` or an empty sequence: refused, or a row of NaN.

    device : str or None, default=None
        ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``; None is the best one present.

    dtype : {"float32", "bfloat16", "float16", "int8"}, default="float32"
        Arithmetic of the blocks; the head is float32 always.

    batch_tokens : int or None, default=None
        Tokens in one forward pass, which bounds memory; None is chosen for the device.

    cache : "memory", path-like or None, default="memory"
        Where log-probabilities are kept, as in :class:`ESMEmbeddingTransformer`: one number for each
        residue, and for a position of the reference one for each token of the vocabulary. Methods
        that need the same passes share them.

    n_jobs : int or None, default=None
        joblib workers. None is 1 outside a ``joblib.parallel_config`` context.

    verbose : bool, default=False
        Show a progress bar.

    Attributes
    ----------
    methods_ : list of str
        The methods in use.

    reference_ : str or None
        The reference as the model reads it.

    model_fingerprint_ : str
        SHA-256 of the checkpoint file.

    See Also
    --------
    ESMEmbeddingTransformer : The hidden states, pooled.
    ESMContactTransformer : Which residues touch each other.

    Notes
    -----
    The definitions are those of Meier et al. [1]_, and pseudo-likelihood is that of Salazar et al.
    [2]_. Scores made with ``--scoring-strategy pseudo-ppl`` of the script that accompanies the former
    differ: it masks token i, which BOS makes residue i - 1, and reads the probability of residue i.

    As features beside embeddings and the substitutions themselves, in a ridge regression, they are the
    augmented model of Hsu et al. [3]_.

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
        """Check parameters, reference and sequences, and look the model up; the model is not run.

        Parameters
        ----------
        X : list, array, column or one-column table of sequences
            Strings, Biopython ``SeqRecord`` objects, or fair-esm's ``(label, sequence)`` pairs.

        y : ignored
            There for scikit-learn.

        Returns
        -------
        ESMLikelihoodTransformer
            The estimator itself.

        Raises
        ------
        ValueError
            For a parameter or a sequence that cannot be used, such as a variant of another length
            than the reference; the message says which and why.
        TypeError
            For an input that is not made of sequences.
        FileNotFoundError, ConnectionError
            Where the checkpoint is neither on this machine nor to be had.
        """
        sequences = self._checked(X, self._resolve)
        model = self._look_up_model()
        methods, reference = self._resolve(sequences, model.architecture)
        self.methods_ = methods
        self.reference_ = reference
        self.model_fingerprint_ = model.fingerprint
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
            In double precision, for the difference of two long sequences may be a small one.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before ``fit``.
        ValueError
            For a sequence that cannot be used, or weights that changed since ``fit``.
        """
        check_is_fitted(self)
        sequences = self._checked(X, self._accepted)
        model = self._fitted_model()
        sequences = self._accepted(sequences, model.architecture)
        self._check(sequences, self.methods_, self.reference_)
        texts = distinct(sequences)
        scores = self._scores(model, texts)  # (distinct sequences,) each
        return rows_of(sequences, texts, np.stack([scores[method] for method in self.methods_], axis=1))

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names such as ``esm2_t6_8M_UR50D_pseudo-perplexity``.

        Parameters
        ----------
        input_features : ignored
            There for scikit-learn.

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
            cleaned = clean_sequences(
                [self.reference],
                invalid=self.invalid,
                missing=self.missing,
                model=model_label(self.model),
            )
            (reference,) = self._accepted(cleaned, architecture)
        except (SequenceError, TypeError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"The reference cannot be used. {error}") from error
        if reference is None:
            raise ValueError("The reference is empty. Pass the wild-type sequence, or None.")
        return reference

    def _check(self, sequences: list[str | None], methods: Sequence[str], reference: str | None) -> None:
        if any(method in OF_SEQUENCES for method in methods):
            check_scored(sequences)
        if reference is not None and any(method in OF_VARIANTS for method in methods):
            check_variants(sequences, reference)

    def _scores(self, model: Identity, texts: list[str]) -> dict[str, np.ndarray]:
        """The score of each distinct sequence by each method that is wanted or stands under one."""
        scores = {}
        wanted = set(self.methods_)
        if "log-likelihood" in wanted:
            scores["log-likelihood"] = self._sums(model, [[text] for text in texts])
        if wanted & {"pseudo-log-likelihood", "pseudo-perplexity"}:
            longest = self._longest(model)
            sums = self._sums(model, [masked_texts(text, longest) for text in texts])
            residues = np.array([len(scored_positions(text)) for text in texts])  # (distinct,)
            scores["pseudo-log-likelihood"] = sums
            scores["pseudo-perplexity"] = np.exp(-sums / residues)
        reference = self.reference_ or ""  # no method wants it where there is none
        for method in OF_VARIANTS:
            if method in wanted:
                tables = self._tables(model, texts, reference, masked=method == "masked-marginals")
                scores[method] = marginals(texts, reference, tables)
        return scores

    def _sums(self, model: Identity, pieces: list[list[str]]) -> np.ndarray:
        """The sum of the log-probabilities of all pieces of each sequence, (sequences,) float64."""
        request = self._request(model, LogProbabilities(model.architecture.layers, False))
        texts = [text for some in pieces for text in some]
        found = iter(self._arrays(request, texts, cached=True))
        return np.array([sum(next(found)[0].sum(dtype=np.float64) for _ in some) for some in pieces])

    def _tables(
        self, model: Identity, texts: list[str], reference: str, *, masked: bool
    ) -> dict[int, np.ndarray]:
        """Log-probabilities of every residue at the positions of the reference that vary."""
        varying = varying_positions(texts, reference)
        request = self._request(model, LogProbabilities(model.architecture.layers, True))
        if masked:
            copies = [mask_in_turn(reference, [position]) for position in varying]
            found = self._arrays(request, copies, cached=True)
            return {position: arrays[0] for position, arrays in zip(varying, found, strict=True)}
        if not varying:
            return {}
        ((array,),) = self._arrays(request, [reference], cached=True)
        positions = scored_positions(reference)
        return dict(zip(positions, array.reshape(len(positions), -1), strict=True))
