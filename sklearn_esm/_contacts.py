"""`ESMContactTransformer`: contact maps, or features computed from them."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_esm._available_memory import check_fits
from sklearn_esm._base import SequenceTransformer
from sklearn_esm._checkpoints._contact_regression import check_has_contacts, find_regression
from sklearn_esm._checkpoints._locate import model_label
from sklearn_esm._contact_features import FEATURES, full_map
from sklearn_esm._execution._outputs import Contacts
from sklearn_esm._execution._request import Request
from sklearn_esm._parameters import check_choice


class ESMContactTransformer(SequenceTransformer):
    r"""Predict which residues are in contact in the folded protein, with an ESM model.

    The values equal those of fair-esm with ``return_contacts=True``: probabilities that the C-beta
    atoms of two residues are less than 8 angstrom apart, from a logistic regression over the
    attention maps of every block. fair-esm keeps all maps of a batch in memory. This class keeps a
    few of them at a time and runs one sequence after the other.

    Parameters
    ----------
    model : str or path-like, default="esm2_t6_8M_UR50D"
        Weights to use, as in :class:`ESMEmbeddingTransformer`. The regression is a small file of its
        own. It is downloaded with a named model, and must be beside a checkpoint given by its path, as
        ``<stem>-contact-regression.pt``. The ESM-1v models have none.

    output : {"map", "features"}, default="map"
        What to return: ``"map"`` for an object array of symmetric ``(residues, residues)``
        probabilities, ``"features"`` for seven numbers per sequence (see Notes).

    overlong : {"error", "truncate"}, default="error"
        How to handle sequences longer than ``max_length``. There is no ``"window"``, because residues
        that share no window would have no contact.

    max_length : int or None, default=None
        Limit in residues. ``None`` is the model's own limit: 1,022 for ESM-1b, none for ESM-2 and
        ESM-1. Without a limit, time and memory grow with the square of the length.

    invalid : {"error", "unknown", "mask", "drop"}, default="error"
        How to handle characters outside ESM's alphabet: raise an error, read them as X, read them as
        ``<mask>``, or remove them.

    missing : {"error", "nan"}, default="error"
        How to handle None, NaN, ``pd.NA`` and empty sequences: raise an error, or return a map of no
        residues or a row of NaN.

    device : str or None, default=None
        ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``. ``None`` selects the best one present. A
        device that is not present raises an error when the model is about to run on it, as in
        :class:`ESMEmbeddingTransformer`.

    dtype : {"float32", "bfloat16", "float16", "int8"}, default="float32"
        Arithmetic of the model; maps are always float32.

    cache : "memory", path-like or None, default="memory"
        Where to keep features, or the upper triangles of maps, as in
        :class:`ESMEmbeddingTransformer`. A map of 300 residues needs 180 kB.

    n_jobs : int or None, default=None
        Number of joblib workers. ``None`` means 1 unless in a ``joblib.parallel_config`` context.

    verbose : bool, default=False
        Show a progress bar.

    Attributes
    ----------
    model_fingerprint_ : str
        SHA-256 of the checkpoint file.

    regression_fingerprint_ : str
        Hash of the regression's coefficients.

    See Also
    --------
    ESMEmbeddingTransformer : Return hidden states, pooled.
    ESMLikelihoodTransformer : Score how plausible a sequence or variant is.

    Notes
    -----
    With A an attention map without BOS and EOS, S = A + A\ :sup:`T`, s the row sums of S and t their
    sum, the regression reads S - s s\ :sup:`T` / t, the average product correction of Dunn et al.
    [1]_, as in Rao et al. [2]_.

    The features, with p the probabilities of the pairs i < j: for the bands of separations j - i of 6
    to 11 (short), 12 to 23 (medium) and 24 or more (long) the number of pairs with p > 0.5
    (``count``) and the mean of p (``mean``, 0 for a sequence without such pairs); and the relative
    contact order [3]_ of the pairs at least 6 apart, weighted by probability: the sum of p (j - i)
    over the residues times the sum of p.

    References
    ----------
    .. [1] Dunn et al. (2008), "Mutual information without the influence of phylogeny or entropy
       dramatically improves residue contact prediction", Bioinformatics 24(3).
    .. [2] Rao et al. (2021), "Transformer protein language models are unsupervised structure
       learners", ICLR.
    .. [3] Plaxco et al. (1998), "Contact order, transition state placement and the refolding rates of
       single domain proteins", J. Mol. Biol. 277(4).

    Examples
    --------
    >>> from sklearn_esm import ESMContactTransformer
    >>> contacts = ESMContactTransformer("esm2_t6_1M_bundled")
    >>> contacts.fit_transform(["GIGKFLHSAKKFGKAFVGEIMNS"])[0].shape
    (23, 23)
    >>> contacts.set_params(output="features").fit_transform(["GIGKFLHSAKKFGKAFVGEIMNS"]).shape
    (1, 7)
    """

    batch_tokens = None  # one sequence at a time
    _overlong_policies = ("error", "truncate")

    def __init__(
        self,
        model: str | os.PathLike[str] = "esm2_t6_8M_UR50D",
        *,
        output: str = "map",
        overlong: str = "error",
        max_length: int | None = None,
        invalid: str = "error",
        missing: str = "error",
        device: str | None = None,
        dtype: str = "float32",
        cache: str | os.PathLike[str] | None = "memory",
        n_jobs: int | None = None,
        verbose: bool = False,
    ) -> None:
        self.model = model
        self.output = output
        self.overlong = overlong
        self.max_length = max_length
        self.invalid = invalid
        self.missing = missing
        self.device = device
        self.dtype = dtype
        self.cache = cache
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> ESMContactTransformer:
        """Check parameters and sequences, and find checkpoint and regression; the model is not run.

        Parameters
        ----------
        X : list, array, column or one-column table of sequences
            Strings, Biopython ``SeqRecord`` objects, or fair-esm's ``(label, sequence)`` pairs.

        y : None
            Ignored. Present for API consistency by convention.

        Returns
        -------
        ESMContactTransformer
            The estimator itself.

        Raises
        ------
        ValueError
            If a parameter or a sequence is invalid, or if the model predicts no contacts.
        TypeError
            If the input does not contain sequences.
        FileNotFoundError, ConnectionError
            If the checkpoint or its regression is not on this machine and cannot be downloaded.
        """
        sequences = self._checked(X, self._accepted)
        identity = self._identify()
        self._accepted(sequences, identity.architecture)
        regression = find_regression(self.model, identity.architecture)
        self.model_fingerprint_ = identity.fingerprint
        self.regression_fingerprint_ = regression.fingerprint
        self._summarises = self.output == "features"
        self._n_features_out = len(FEATURES) if self._summarises else 1
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Predict contacts.

        Parameters
        ----------
        X : list, array, column or one-column table of sequences
            As for ``fit``.

        Returns
        -------
        ndarray of shape (n_sequences,), object
            Float32 arrays of shape (residues, residues), symmetric, between 0 and 1. With
            ``output="features"``, an ndarray of shape (n_sequences, 7), float32.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If a sequence is invalid, or weights or regression have changed since ``fit``.
        """
        identity, sequences = self._identified(X)
        architecture = identity.architecture
        regression = find_regression(self.model, architecture)
        if regression.fingerprint != self.regression_fingerprint_:
            raise ValueError(
                f"The contact regression of {model_label(self.model)} must be the one this estimator "
                "was fitted with; got another. Fit again, or restore the file."
            )
        request = self._request(identity, Contacts(architecture.layers, regression, self._summarises))
        if self._summarises:
            return self._matrix(request, sequences, [len(FEATURES)])
        return self._maps(request, sequences)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return names such as ``esm2_t6_8M_UR50D_contacts_count_long``.

        Parameters
        ----------
        input_features : None
            Ignored. Present for API consistency by convention.

        Returns
        -------
        ndarray of shape (n_features,), object
            With ``output="map"``, the name of the one column of maps.
        """
        check_is_fitted(self)
        label = model_label(self.model)
        if not self._summarises:
            return np.array([f"{label}_contact_map"], dtype=object)
        return np.array([f"{label}_contacts_{name}" for name in FEATURES], dtype=object)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_choice(self, "output", ("map", "features"))
        check_has_contacts(self.model)

    def _maps(self, request: Request, sequences: list[str | None]) -> np.ndarray:
        """Return a map ``(residues, residues)`` of each sequence; missing ones have no residues."""
        check_fits(
            4 * sum(len(sequence or "") ** 2 for sequence in sequences),
            "Transform fewer rows at a time, or set output='features'.",
        )

        def write(maps: np.ndarray, row: int, _: int, triangle: np.ndarray) -> None:
            maps[row] = full_map(triangle)

        return self._column(request, sequences, write, (0, 0))
