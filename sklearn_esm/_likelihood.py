"""`ESMLikelihoodTransformer`: how plausible sequences, and variants of a reference, are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_esm._base import SequenceTransformer
from sklearn_esm._checkpoints._locate import model_label
from sklearn_esm._likelihood_of_model import ModelScorer
from sklearn_esm._sequences import listed

_AGGREGATES: dict[str, Callable[..., np.ndarray]] = {"mean": np.mean, "min": np.min}


class ESMLikelihoodTransformer(SequenceTransformer):
    """Score sequences by the likelihood that an ESM model gives their residues.

    There is one column per method. Methods without a reference score any sequence. Methods with a
    reference score variants of it, and predict the effects of mutations without measurements.

    Parameters
    ----------
    model : str, path-like or list of these, default="esm2_t6_8M_UR50D"
        Weights to use, as in :class:`ESMEmbeddingTransformer`. The five ESM-1v models were trained to
        predict effects of mutations. A list gives the columns of its first model, then those of the
        next. The models run one after the other, so a list of five takes five times as long.

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
        - ``"pseudo-log-likelihood-ratio"``: the pseudo-log-likelihood of x minus that of the
          ``reference``. x may have any length, so this also scores insertions and deletions. It needs a
          pass for every residue of every variant. Each residue adds a negative term, so insertions tend
          to score lower and deletions higher, whatever their effects.

    reference : str or None, default=None
        Sequence, usually the wild type, that the marginals and the ratio compare with. For marginals
        each row of X is a whole sequence of the same length.

    aggregate : {"mean", "min"} or None, default=None
        How to combine the models of a list: one column per method with the mean or the smallest score
        of the models. ``None`` keeps the columns of each model. A single model is left as it is.

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
        ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``. ``None`` selects the best one present. A
        device that is not present raises an error when the model is about to run on it, as in
        :class:`ESMEmbeddingTransformer`.

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

    reference_ : str, None or list of these
        The reference after cleaning and truncation. For a list of models it is a list, because they
        may truncate at different lengths.

    model_fingerprint_ : str or list of str
        SHA-256 of the checkpoint file, or of each file for a list of models.

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

    model: Any  # a model, or a list of them
    model_fingerprint_: Any

    def __init__(
        self,
        model: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = "esm2_t6_8M_UR50D",
        *,
        method: str | Sequence[str] = "pseudo-perplexity",
        reference: str | None = None,
        aggregate: str | None = None,
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
        self.aggregate = aggregate
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
        self._check_parameters()
        scorers = self._scorers()
        # the sequences are checked for every model before the first one is downloaded
        checked = [scorer.checked(X) for scorer in scorers]
        for scorer, sequences in zip(scorers, checked, strict=True):
            scorer.fit(sequences)
        self.methods_ = scorers[0].methods_
        self.reference_ = self._of_models([scorer.reference_ for scorer in scorers])
        self.model_fingerprint_ = self._of_models([scorer.model_fingerprint_ for scorer in scorers])
        self._n_features_out = len(self.get_feature_names_out())
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Score sequences.

        Parameters
        ----------
        X : list, array, column or one-column table of sequences
            As for ``fit``.

        Returns
        -------
        ndarray of shape (n_sequences, n_features), float64
            In double precision, because two long sequences may differ by little.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If a sequence is invalid, or the weights have changed since ``fit``.
        """
        check_is_fitted(self)
        self._check_parameters()
        scorers = self._fitted_scorers()
        # every model is identified before the first one runs
        identified = [scorer.identified(X) for scorer in scorers]
        scores = []  # of each model, (sequences, methods)
        for scorer, (identity, sequences) in zip(scorers, identified, strict=True):
            with _named_in_errors(scorer.model, is_one_of_several=len(scorers) > 1):
                scores.append(scorer.scores(identity, sequences))
        if not self._has_list() or self.aggregate is None:
            return np.hstack(scores)
        return _AGGREGATES[self.aggregate](scores, axis=0)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return names such as ``esm2_t6_8M_UR50D_pseudo-perplexity``.

        Aggregated columns have names such as ``mean_pseudo-perplexity``. If models of a list have the
        same label, such as folders of the same name, each label ends with the place in the list:
        ``checkpoint-1_pseudo-perplexity``.

        Parameters
        ----------
        input_features : None
            Ignored. Present for API consistency by convention.

        Returns
        -------
        ndarray of shape (n_features,), object
        """
        check_is_fitted(self)
        labels = [model_label(model) for model in self._models()]
        if self._has_list() and self.aggregate is not None:
            labels = [self.aggregate]
        elif len(set(labels)) < len(labels):
            labels = [f"{label}-{place}" for place, label in enumerate(labels, start=1)]
        return np.array(
            [f"{label}_{method}" for label in labels for method in self.methods_], dtype=object
        )

    def _check_parameters(self) -> None:
        if self._has_list() and not len(self.model):
            raise ValueError(f"model must not be empty; got {self.model!r}. Pass at least one model.")
        for scorer in self._scorers():
            scorer._check_parameters()
        aggregate: Any = self.aggregate
        if aggregate is not None and not (isinstance(aggregate, str) and aggregate in _AGGREGATES):
            raise ValueError(f"aggregate must be None, {listed(tuple(_AGGREGATES))}; got {aggregate!r}.")

    def _has_list(self) -> bool:
        return isinstance(self.model, (Sequence, np.ndarray)) and not isinstance(
            self.model, (str, bytes)
        )

    def _models(self) -> list[Any]:
        return list(self.model) if self._has_list() else [self.model]

    def _of_models(self, values: list[Any]) -> Any:
        """Return a list for a list of models, and a single value for a single model."""
        return values if self._has_list() else values[0]

    def _scorers(self) -> list[ModelScorer]:
        parameters = self.get_params(deep=False)
        return [ModelScorer({**parameters, "model": model}) for model in self._models()]

    def _fitted_scorers(self) -> list[ModelScorer]:
        several = isinstance(self.model_fingerprint_, list)
        fingerprints = self.model_fingerprint_ if several else [self.model_fingerprint_]
        references = self.reference_ if several else [self.reference_]
        scorers = self._scorers()
        if len(scorers) != len(fingerprints):
            raise ValueError(
                f"model must have the {len(fingerprints)} models this estimator was fitted with; got "
                f"{len(scorers)}. Fit again."
            )
        for scorer, fingerprint, reference in zip(scorers, fingerprints, references, strict=True):
            scorer.methods_ = self.methods_
            scorer.reference_ = reference
            scorer.model_fingerprint_ = fingerprint
        return scorers


@contextmanager
def _named_in_errors(model: str | os.PathLike[str], *, is_one_of_several: bool) -> Iterator[None]:
    """Add the model to errors that are raised while it runs."""
    try:
        yield
    except Exception as error:
        if is_one_of_several:
            error.add_note(f"The model of the list is {os.fspath(model)!r}.")
        raise
