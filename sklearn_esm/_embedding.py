"""`ESMEmbeddingTransformer`: hidden states of the model, pooled into one vector per sequence."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_esm._available_memory import check_fits
from sklearn_esm._base import SequenceTransformer, distinct
from sklearn_esm._checkpoints._architecture import Architecture
from sklearn_esm._checkpoints._locate import model_label
from sklearn_esm._execution._outputs import pooled_states
from sklearn_esm._execution._pieces import Item
from sklearn_esm._execution._request import Request
from sklearn_esm._execution._results import results_of
from sklearn_esm._parameters import check_can_be_kept, resolve_layers, resolve_poolings
from sklearn_esm._pooling import Pooling, pooled_names, pooled_width


class ESMEmbeddingTransformer(SequenceTransformer):
    """Embed protein sequences with an ESM protein language model.

    Each sequence becomes one row: the hidden states of its residues at the chosen layers, pooled.
    The values equal those of fair-esm. They are computed without padding, once per distinct sequence.

    Parameters
    ----------
    model : str or path-like, default="esm2_t6_8M_UR50D"
        Weights to use: the name of a fair-esm model, ``"esm2_t6_1M_bundled"`` or the path of a
        ``.pt`` checkpoint in fair-esm's format. A named model is downloaded at first use (30 MB for
        the default) to torch hub's folder, which fair-esm uses too. The bundled model is small and
        meant for trials and tests.

    layer : int, list of int or "all", default=-1
        Layers to return: 0 for the token embeddings, 1 to L after that block, negative numbers from
        the end. A list is concatenated in its order. Blocks above the highest layer are not run.

    pooling : str, callable, list of them, or None, default="mean"
        How to reduce the residues to one vector. ``"mean"``, ``"max"``, ``"min"``, ``"sum"`` and
        ``"std"`` (of the population) reduce over the residues, without BOS and EOS. ``"bos"`` and
        ``"eos"`` return the state of that token. A function gets a ``(residues, dim)`` float32 array
        and must return a vector whose size does not depend on the length; ``fit`` calls it once on
        random states, and its vectors are not cached. A list is concatenated in its order. ``None``
        returns an object array of ``(residues, dim)`` float32 arrays, which are not cached either.
        Scalers and classifiers do not accept it: they raise "setting an array element with a
        sequence". For one row per residue, call ``np.concatenate`` on it first.

    overlong : {"error", "truncate", "window"}, default="error"
        How to handle sequences longer than ``max_length``. ``"truncate"`` keeps the beginning.
        ``"window"`` embeds overlapping windows and uses each residue from the window in which it is
        most central, BOS from the first and EOS from the last; it costs about twice the time per
        residue. Only ESM-1b and ESM-1v have a hard limit (1,022 residues).

    max_length : int or None, default=None
        Limit in residues. ``None`` is the model's own limit: 1,022 for ESM-1b and ESM-1v, none for
        ESM-2 and ESM-1. Without a limit, memory grows with the length and time with its square.

    invalid : {"error", "unknown", "mask", "drop"}, default="error"
        How to handle characters outside ESM's alphabet (``*``, ``-``, ``.``, ``J``, digits, inner
        white space): raise an error, read them as X, read them as ``<mask>``, or remove them. The
        alphabet is the 20 standard residues and B, U, Z, O, X. A mutation such as ``"A24G"`` always
        raises an error.

    missing : {"error", "nan"}, default="error"
        How to handle None, NaN, ``pd.NA`` and empty sequences: raise an error, or return a row of NaN
        (an array of no residues with ``pooling=None``). Texts such as ``"nan"`` always raise an error.

    device : str or None, default=None
        ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``. ``None`` selects the best one present. A
        device that is not present raises an error when the model is about to run on it. ``fit`` does
        not run the model, nor does a ``transform`` whose vectors are all cached.

    dtype : {"float32", "bfloat16", "float16", "int8"}, default="float32"
        Arithmetic of the model; the output is always float32. bfloat16 and float16 are faster on GPUs
        and usually slower on CPUs. ``"int8"`` runs linear layers in 8-bit integers, on CPUs only. It
        is an approximation: compare it with float32 on a part of your sequences. A model of 150M
        parameters is about 1.5 times as fast, small models hardly. Each process holds its own copy
        of the integers, one byte per parameter. Results differ slightly between kinds of CPU.

    batch_tokens : int or None, default=None
        Tokens in one forward pass, which bounds memory. ``None`` selects a number for the device. On
        a CPU, as many passes run side by side as torch has threads. The result does not depend on it.

    cache : "memory", path-like or None, default="memory"
        Where to keep pooled vectors, so that clones, cross-validation and searches embed each
        sequence once. ``"memory"`` keeps up to 512 MiB per process, and drops the least recently used
        vectors. A folder is shared by processes and kept between runs; it needs 4 bytes per number
        and about 140 per vector, and must be on a local disk. A killed run loses at most one batch.
        The folder contains hashes of the sequences, not the sequences.

    n_jobs : int or None, default=None
        Number of joblib workers. ``None`` means 1 unless in a ``joblib.parallel_config`` context. One
        process already uses every core, so workers help only across machines. Pooling functions run
        in the thread that calls ``transform``, or in the workers if there are any.

    verbose : bool, default=False
        Show a progress bar.

    Attributes
    ----------
    n_layers_ : int
        Number of blocks of the model, L.

    embedding_dim_ : int
        Width of the hidden states.

    layers_ : list of int
        The layers in use, counted from 0.

    model_fingerprint_ : str
        SHA-256 of the checkpoint file.

    See Also
    --------
    ESMLikelihoodTransformer : Score how plausible a sequence or variant is.
    ESMContactTransformer : Predict which residues are in contact.
    sklearn_esm.datasets.load_peptides : Load a small labelled set of peptides.

    Notes
    -----
    All values are defined as in fair-esm 2.0.0 [1]_. States after the last block are layer-normed in
    ESM-2, ESM-1b and ESM-1v; those of lower layers are not. ESM-1 has no such norm and no EOS. The
    authors of ESM use mean pooling over residues [2]_.

    The weights are not part of the estimator. A pickle contains the parameters, and the checkpoint is
    found again by name or path. If the weights have changed since ``fit``, ``transform`` raises an
    error.

    References
    ----------
    .. [1] https://github.com/facebookresearch/esm
    .. [2] Rives et al. (2021), "Biological structure and function emerge from scaling unsupervised
       learning to 250 million protein sequences", PNAS 118(15).
    .. [3] Lin et al. (2023), "Evolutionary-scale prediction of atomic-level protein structure with
       a language model", Science 379(6637).

    Examples
    --------
    >>> from sklearn_esm import ESMEmbeddingTransformer
    >>> embed = ESMEmbeddingTransformer("esm2_t6_1M_bundled", layer=[3, 6], pooling="mean")
    >>> embed.fit_transform(["GIGKFLHSAKKFGKAFVGEIMNS", "HSQGTFTSDYSKYLDSRRAQDFVQWLMNT"]).shape
    (2, 256)
    >>> embed.get_feature_names_out()[[0, -1]].tolist()
    ['esm2_t6_1M_bundled_L3_mean_0000', 'esm2_t6_1M_bundled_L6_mean_0127']
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = "esm2_t6_8M_UR50D",
        *,
        layer: int | Sequence[int] | str = -1,
        pooling: Pooling | Sequence[Pooling] | None = "mean",
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
        self.layer = layer
        self.pooling = pooling
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

    def fit(self, X: Any, y: Any = None) -> ESMEmbeddingTransformer:
        """Check parameters and sequences, and find the checkpoint; the model is not run.

        Parameters
        ----------
        X : list, array, column or one-column table of sequences
            Strings, Biopython ``SeqRecord`` objects, or fair-esm's ``(label, sequence)`` pairs.

        y : None
            Ignored. Present for API consistency by convention.

        Returns
        -------
        ESMEmbeddingTransformer
            The estimator itself.

        Raises
        ------
        ValueError
            If a parameter or a sequence is invalid.
        TypeError
            If the input does not contain sequences.
        FileNotFoundError, ConnectionError
            If the checkpoint is not on this machine and cannot be downloaded.
        """
        sequences = self._checked(X, self._resolve)
        identity = self._identify()
        architecture = identity.architecture
        layers, poolings, n_features = self._resolve(sequences, architecture)
        self.n_layers_ = architecture.layers
        self.embedding_dim_ = architecture.width
        self.layers_ = layers
        self.model_fingerprint_ = identity.fingerprint
        self._poolings = poolings
        self._n_features_out = n_features
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Embed sequences.

        Parameters
        ----------
        X : list, array, column or one-column table of sequences
            As for ``fit``.

        Returns
        -------
        ndarray of shape (n_sequences, n_features), float32
            Row i is sequence i. With ``pooling=None``, an object array of shape (n_sequences,) of
            float32 arrays of shape (residues, layers x dim).

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If a sequence is invalid, or the weights have changed since ``fit``.
        """
        identity, sequences = self._identified(X)
        output = pooled_states(self.layers_, self._poolings, identity.architecture.width)
        request = self._request(identity, output)
        if not self._poolings:
            return self._residues(request, sequences)
        return self._matrix(request, sequences, output.widths * len(output.layers))

    def precompute(
        self,
        X: Any,
        layers: int | Sequence[int] | str = "all",
        poolings: str | Sequence[str] | None = None,
    ) -> ESMEmbeddingTransformer:
        """Run the model once and fill the cache, before a search over layers and poolings.

        Call it again to resume after an interruption; cached batches are not run again.

        Parameters
        ----------
        X : list, array, column or one-column table of sequences
            As for ``fit``, which is not required before.

        layers : int, list of int or "all", default="all"
            Layers to keep, as in the parameter ``layer``.

        poolings : str, list of str or None, default=None
            Names of poolings to keep. ``None`` keeps the estimator's own.

        Returns
        -------
        ESMEmbeddingTransformer
            The estimator itself.

        Raises
        ------
        ValueError
            If a parameter or a sequence is invalid, or if there is no cache or no named pooling.

        Examples
        --------
        >>> from sklearn_esm import ESMEmbeddingTransformer
        >>> embed = ESMEmbeddingTransformer("esm2_t6_1M_bundled")
        >>> embed = embed.precompute(["GIGKFLHSAKKFGKAFVGEIMNS"], poolings=["mean", "max"])
        >>> embed.set_params(layer=2, pooling="max").fit_transform(["GIGKFLHSAKKFGKAFVGEIMNS"]).shape
        (1, 128)
        """

        def resolve(
            sequences: list[str | None], architecture: Architecture
        ) -> tuple[list[int], list[Pooling], list[str]]:
            chosen = resolve_poolings(self.pooling if poolings is None else poolings, architecture)
            check_can_be_kept(chosen, self.cache)
            numbers = resolve_layers(layers, architecture.layers)
            return numbers, chosen, distinct(self._accepted(sequences, architecture))

        given = self._checked(X, resolve)
        identity = self._identify()
        architecture = identity.architecture
        chosen_layers, chosen_poolings, sequences = resolve(given, architecture)
        output = pooled_states(chosen_layers, chosen_poolings, architecture.width)
        items = [Item(sequence) for sequence in sequences]
        for _ in results_of(self._request(identity, output), items, self._source()):
            pass  # results are stored in the cache
        return self

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return names such as ``esm2_t6_8M_UR50D_L6_mean_0000``: model, layer, pooling, number.

        Parameters
        ----------
        input_features : None
            Ignored. Present for API consistency by convention.

        Returns
        -------
        ndarray of shape (n_features,), object
            With ``pooling=None``, the name of the one column of arrays.
        """
        check_is_fitted(self)
        label = model_label(self.model)
        if not self._poolings:
            layers = "_".join(f"L{layer}" for layer in self.layers_)
            return np.array([f"{label}_{layers}_residues"], dtype=object)
        prefixes = [f"{label}_L{layer}" for layer in self.layers_]
        return np.array(pooled_names(prefixes, self._poolings, self.embedding_dim_), dtype=object)

    def _resolve(
        self, sequences: list[str | None], architecture: Architecture
    ) -> tuple[list[int], list[Pooling], int]:
        """Return layers, poolings and the number of features, and check the sequences."""
        self._accepted(sequences, architecture)
        layers = resolve_layers(self.layer, architecture.layers)
        poolings = resolve_poolings(self.pooling, architecture)
        width = sum(pooled_width(pooling, architecture.width) for pooling in poolings)
        return layers, poolings, width * len(layers) if poolings else 1

    def _residues(self, request: Request, sequences: list[str | None]) -> np.ndarray:
        """Return an array ``(residues, layers x width)`` of each sequence; missing ones have none."""
        width = self.embedding_dim_
        features = len(self.layers_) * width
        check_fits(
            4 * features * sum(len(sequence or "") for sequence in sequences),
            "Transform fewer rows at a time, choose fewer layers, or set a pooling.",
        )

        def write(states: np.ndarray, row: int, layer: int, residues: np.ndarray) -> None:
            if states[row] is None:
                states[row] = np.empty((len(residues), features), dtype=np.float32)
            states[row][:, layer * width : (layer + 1) * width] = residues

        return self._column(request, sequences, write, (0, features), cached=False)
