"""Embed the records of a FASTA file, with errors that name the record."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr
from typing import Any

import numpy as np
from sklearn.base import clone

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm._checkpoints._hub import progress_hidden
from sklearn_esm._checkpoints._identity import identify_model
from sklearn_esm._checkpoints._locate import find_repository, model_label
from sklearn_esm._fasta import read_fasta, record_label
from sklearn_esm._sequences import SequenceError
from sklearn_esm.cli._errors import usage
from sklearn_esm.cli._output import Destination, Embeddings


def check_command(embed: ESMEmbeddingTransformer) -> None:
    """Raise ValueError if an option is invalid for every file."""
    embed._checked(["M"], embed._resolve)


def embed_records(
    source: str, destination: Destination, embed: ESMEmbeddingTransformer, shard: slice, *, quiet: bool
) -> tuple[int, int]:
    """Embed the records of a FASTA file or of one shard, and write the vectors.

    Returns
    -------
    tuple of int
        Numbers of records and features written.
    """
    destination.check()
    names, sequences = read_fasta(source, empty="keep" if embed.missing == "nan" else "error")
    with _records_named(source, names):
        embed._checked(sequences, embed._resolve)  # before a download
    _look_up(embed, quiet)
    with _records_named(source, names):
        embed.fit(sequences)  # the whole file, so that every shard raises the same error at once
    features = embed.get_feature_names_out().tolist()
    names, sequences = names[shard], sequences[shard]
    vectors = np.empty((0, len(features)), dtype=np.float32)
    if sequences:
        hidden = quiet and find_repository(embed.model) is not None
        with progress_hidden() if hidden else nullcontext():
            vectors = embed.transform(sequences)
    pooling: Any = embed.pooling
    embeddings = Embeddings(
        names=names,
        vectors=vectors,
        features=features,
        model=model_label(embed.model),
        layers=embed.layers_,
        poolings=[pooling] if isinstance(pooling, str) else list(pooling),
    )
    destination.write(embeddings)
    return len(names), len(features)


def _look_up(embed: ESMEmbeddingTransformer, quiet: bool) -> None:
    """Find or download what identifies the model, then check the parameters against it."""
    with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere) if quiet else nullcontext():
        # errors are exceptions, so this hides only the progress bar. This is first, because a damaged
        # file is not an error of the command line.
        identify_model(embed.model)
    with usage():
        clone(embed).fit(["M"])


@contextmanager
def _records_named(source: str, names: Sequence[str]) -> Iterator[None]:
    try:
        yield
    except SequenceError as error:
        where = "standard input" if source == "-" else source
        label = record_label(error.row, names[error.row])
        raise ValueError(f"{where}: {label} {error.problem}") from error
