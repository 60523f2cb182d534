"""`ESMEmbeddingTransformer`: parameters, validation, and assembling the matrix."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_esm._base import SequenceTransformer, column_of, distinct
from sklearn_esm._cache import MEMORY_CACHE_BYTES
from sklearn_esm._checkpoints._architecture import Architecture
from sklearn_esm._checkpoints._fingerprint import Identity
from sklearn_esm._checkpoints._locate import model_label
from sklearn_esm._execution._outputs import PooledStates
from sklearn_esm._execution._request import Request
from sklearn_esm._execution._results import results_of
from sklearn_esm._parameters import resolve_layers, resolve_poolings
from sklearn_esm._pooling import Pooling, pooled_width, pooling_name


class ESMEmbeddingTransformer(SequenceTransformer):
    """Embed protein sequences with one of Meta's ESM language models.

    Every sequence becomes one row: the hidden states of its residues at the chosen layers, pooled.
    The numbers are fair-esm's, computed without padding, once per distinct sequence.

    Parameters
    ----------
    model : str or path-like, default="esm2_t6_8M_UR50D"
        Which weights: a model of fair-esm by name (downloaded at the first use, 30 MB for the
        default one, and shared with fair-esm through torch hub's folder), the bundled
        ``"esm2_t6_1M_bundled"`` for trying out and testing, or the path of a ``.pt`` checkpoint in
        fair-esm's format.

    layer : int, list of int or "all", default=-1
        0 for the token embeddings, 1 to L for the states after that block, negative numbers from
        the end. A list is concatenated in its order. The model is run up to the highest layer only.

    pooling : str, callable, list of them, or None, default="mean"
        How residues become one vector: ``"mean"``, ``"max"``, ``"min"``, ``"sum"`` or ``"std"``
        (of the population) over the residues, BOS and EOS left out; the state of ``"bos"`` or
        ``"eos"``; or a function of a ``(residues, width)`` float32 array that returns as many
        numbers whatever the length (tried on random states when fitting; its vectors are not
        cached). A list is concatenated in its order. None gives the residues themselves: an object
        array of ``(residues, width)`` float32 arrays, which are not cached either.

    overlong : {"error", "truncate", "window"}, default="error"
        What becomes of a sequence longer than ``max_length``. ``"truncate"`` keeps its beginning.
        ``"window"`` embeds overlapping windows and takes every residue from the window where it
        lies most central, BOS from the first and EOS from the last, then pools once; it costs about
        twice the time per residue. Only ESM-1b and ESM-1v have a hard limit (1,022).

    max_length : int or None, default=None
        In residues. None is the model's own limit: 1,022 for ESM-1b and ESM-1v, none for ESM-2 and
        ESM-1, whose memory grows with the length alone and whose time with its square.

    invalid : {"error", "unknown", "mask", "drop"}, default="error"
        What becomes of a character that is no residue (``*``, ``-``, ``.``, ``J``, digits, inner
        white space): refused, read as X, read as ``<mask>``, or removed. Residues are the 20
        standard ones and B, U, Z, O, X, which ESM knows. A mutation such as ``"A24G"`` is always
        refused.

    missing : {"error", "nan"}, default="error"
        What becomes of None, NaN, ``pd.NA`` or an empty sequence: refused, or a row of NaN (with
        ``pooling=None`` an array of no residues). Their texts, such as ``"nan"``, are always refused.

    device : str or None, default=None
        ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``; None is the best one present.

    dtype : {"float32", "bfloat16", "float16", "int8"}, default="float32"
        Arithmetic of the model; the output is float32 always. The half-width types pay on GPUs;
        most processors are slower with them. float16 is refused where its range is not enough.
        ``"int8"`` is for processors, and an approximation: linear layers compute with 8-bit
        integers, in which a model of 150M parameters is about 1.5 times as fast, small
        ones hardly. How far it is from float32 is best seen on a part of your sequences; another
        kind of processor gives slightly other vectors. Each process holds integers of its own, a
        byte a parameter. Where torch has no exact 8-bit product for the processor, it is refused.

    batch_tokens : int or None, default=None
        Tokens in one forward pass, which bounds memory; None is chosen for the device. On a
        processor as many passes run side by side as torch has threads. The result does not depend
        on it.

    cache : "memory", path-like or None, default="memory"
        Where pooled vectors are kept, so that clones, cross-validation and searches embed each
        sequence once. ``"memory"`` is one bounded store per process (512 MiB, the least recently
        used is forgotten). A folder is shared by processes and outlives them: 4 bytes a number and
        about 140 for each vector, written batch by batch, so that a killed run loses one batch. It
        has to be on a disk of the machine itself, and holds no sequence, only their hashes.

    n_jobs : int or None, default=None
        joblib workers that embed batches side by side. None is 1 outside a
        ``joblib.parallel_config`` context. One process uses every core already: more workers pay
        where there are several machines. A pooling function runs in the thread that calls
        ``transform`` unless there are workers.

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
    sklearn_esm.datasets.load_peptides : A small labelled set of peptides to try it on.

    Notes
    -----
    The definition of every number is that of fair-esm 2.0.0 [1]_: the states after the last block
    are layer-normed in ESM-2, ESM-1b and ESM-1v, those of lower layers are not; ESM-1 has no such
    norm, and no EOS. Mean pooling over residues is what the authors of ESM use [2]_.

    The weights are not part of the estimator: a pickle holds its parameters, and finds the
    checkpoint again by name or path. It is refused where the file has changed since ``fit``.

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
        """Check parameters and sequences, and look the model up; the model is not run.

        Parameters
        ----------
        X : list, array, column or one-column table of sequences
            Strings, Biopython ``SeqRecord`` objects, or fair-esm's ``(label, sequence)`` pairs.

        y : ignored
            There for scikit-learn.

        Returns
        -------
        ESMEmbeddingTransformer
            The estimator itself.

        Raises
        ------
        ValueError
            For a parameter or a sequence that cannot be used; the message says which and why.
        TypeError
            For an input that is not made of sequences.
        FileNotFoundError, ConnectionError
            Where the checkpoint is neither on this machine nor to be had.
        """
        sequences = self._checked(X, self._resolve)
        model = self._look_up_model()
        architecture = model.architecture
        layers, poolings, n_features = self._resolve(sequences, architecture)
        self.n_layers_ = architecture.layers
        self.embedding_dim_ = architecture.width
        self.layers_ = layers
        self.model_fingerprint_ = model.fingerprint
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
            float32 arrays of shape (residues, layers x width).

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
        reading = self._reading(model, self.layers_, self._poolings)
        request = self._request(model, reading)
        if not self._poolings:
            return self._residues(request, sequences)
        return self._matrix(request, sequences, reading.widths * len(reading.layers))

    def precompute(
        self,
        X: Any,
        layers: int | Sequence[int] | str = "all",
        poolings: str | Sequence[str] | None = None,
    ) -> ESMEmbeddingTransformer:
        """Run the model once and fill the cache, for a search over layers and poolings after it.

        With ``verbose=True`` a progress bar says how far it is. Stopped and started again, it goes on
        from the last batch that was kept.

        Parameters
        ----------
        X : list, array, column or one-column table of sequences
            As for ``fit``, which need not have been called.

        layers : int, list of int or "all", default="all"
            Layers to keep, as in the parameter ``layer``.

        poolings : str, list of str or None, default=None
            Poolings to keep, by name; None is the estimator's own.

        Returns
        -------
        ESMEmbeddingTransformer
            The estimator itself.

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
            if self.cache is None or not chosen or not all(isinstance(p, str) for p in chosen):
                raise ValueError(
                    f"precompute has nothing to fill with cache={self.cache!r} and poolings "
                    f"{[pooling_name(p) for p in chosen]}: a cache keeps vectors pooled by name. "
                    "Pass cache='memory' and poolings such as ['mean', 'max']."
                )
            numbers = resolve_layers(layers, architecture.layers)
            return numbers, chosen, distinct(self._accepted(sequences, architecture))

        given = self._checked(X, resolve)
        model = self._look_up_model()
        numbers_of_layers, chosen, sequences = resolve(given, model.architecture)
        size = 4 * len(sequences) * len(numbers_of_layers) * len(chosen) * model.architecture.width
        if self.cache == "memory" and size > MEMORY_CACHE_BYTES:
            warnings.warn(
                f"The vectors to precompute take {size / 2**20:.0f} MiB and the memory cache keeps "
                f"{MEMORY_CACHE_BYTES / 2**20:.0f} MiB: the first ones will be computed again. "
                "Pass a folder as cache, or precompute fewer layers or poolings at a time.",
                stacklevel=2,
            )
        if sequences:
            request = self._request(model, self._reading(model, numbers_of_layers, chosen))
            for _ in results_of(request, sequences, self._source()):
                pass  # they are in the cache
        return self

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names such as ``esm2_t6_8M_UR50D_L6_mean_0000``: model, layer, pooling, number.

        Parameters
        ----------
        input_features : ignored
            There for scikit-learn.

        Returns
        -------
        ndarray of shape (n_features,), object
            With ``pooling=None`` the one name of the column of arrays.
        """
        check_is_fitted(self)
        label = model_label(self.model)
        if not self._poolings:
            layers = "_".join(f"L{layer}" for layer in self.layers_)
            return np.array([f"{label}_{layers}_residues"], dtype=object)
        names = [
            f"{label}_L{layer}_{pooling_name(pooling)}_{number:04d}"
            for layer in self.layers_
            for pooling in self._poolings
            for number in range(pooled_width(pooling, self.embedding_dim_))
        ]
        return np.array(names, dtype=object)

    def _resolve(
        self, sequences: list[str | None], architecture: Architecture
    ) -> tuple[list[int], list[Pooling], int]:
        """Return layers, poolings and the number of features, and check the sequences."""
        self._accepted(sequences, architecture)
        layers = resolve_layers(self.layer, architecture.layers)
        poolings = resolve_poolings(self.pooling, architecture)
        width = sum(pooled_width(pooling, architecture.width) for pooling in poolings)
        return layers, poolings, width * len(layers) if poolings else 1

    def _reading(
        self, model: Identity, layers: Sequence[int], poolings: Sequence[Pooling]
    ) -> PooledStates:
        width = model.architecture.width
        widths = tuple(pooled_width(pooling, width) for pooling in poolings)
        return PooledStates(tuple(layers), tuple(poolings), widths)

    def _residues(self, request: Request, sequences: list[str | None]) -> np.ndarray:
        distinct_sequences = distinct(sequences)
        states = {}
        found = self._arrays(request, distinct_sequences, cached=False)
        for sequence in reversed(distinct_sequences):
            layers = found.pop()  # each is given free as soon as it is copied
            states[sequence] = np.concatenate(layers, axis=1)  # (residues, layers x width)
        nothing = np.empty((0, len(self.layers_) * self.embedding_dim_), dtype=np.float32)
        return column_of(nothing if sequence is None else states[sequence] for sequence in sequences)
