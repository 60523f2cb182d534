"""Embed the records of a FASTA file part by part, with errors that name the record."""

from __future__ import annotations

import errno
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, redirect_stderr
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.filesize import decimal

from sklearn_esm import ESMEmbeddingTransformer, __version__
from sklearn_esm._checkpoints._architecture import Architecture
from sklearn_esm._checkpoints._hub import progress_hidden
from sklearn_esm._checkpoints._identity import identify_model
from sklearn_esm._checkpoints._locate import find_repository, model_label
from sklearn_esm._execution._progress import Progress, one_progress
from sklearn_esm._fasta import Record
from sklearn_esm._parameters import published_architecture
from sklearn_esm.cli._errors import say, usage
from sklearn_esm.cli._formats import Content, Parts, save_part
from sklearn_esm.cli._input import (
    Input,
    Totals,
    check_lengths,
    cost_of_lengths,
    lengths_of,
    name_of,
    scan,
)
from sklearn_esm.cli._output import Destination
from sklearn_esm.cli._parts import Cost, Embedded, PartFiles, cut


class Written(NamedTuple):
    """What a command has written."""

    records: int
    features: int
    parts: int
    resumed: int  # parts that an earlier run embedded


def added(written: Sequence[Written]) -> Written:
    """Return what several commands have written together."""
    records, features, parts, resumed = zip(*written, strict=True)
    return Written(sum(records), max(features), sum(parts), sum(resumed))


def check_command(embed: ESMEmbeddingTransformer) -> None:
    """Raise ValueError if an option is invalid for every file."""
    embed._checked(["M"], embed._resolve)


def embed_file(
    source: str,
    destination: Destination,
    embed: ESMEmbeddingTransformer,
    *,
    shard: slice = slice(None),
    dtype: str = "float32",
    wide: bool = False,
    quiet: bool = False,
) -> Written:
    """Embed the records of a FASTA file or of one shard, and write the vectors.

    Only one part of the records is in memory. Embedded parts are kept in files, and an interrupted
    command that is run again embeds the others only.

    Raises
    ------
    ValueError
        If a record or a setting is invalid. The message names the record.
    OSError
        If the output cannot be written, or if the disk has too little room.
    """
    destination.check()
    given = Input(source, "keep" if embed.missing == "nan" else "error", shard)
    totals = scan(given, embed) if given.is_readable_twice else None
    published = published_architecture(embed.model)
    if totals is not None and published is not None:
        check_lengths(given, totals, embed, published)  # before a download
    architecture = _fit(embed, quiet)
    content = _content(embed, architecture, np.dtype(dtype), wide)
    bar: AbstractContextManager[Progress | None] = nullcontext()
    if totals is not None:
        check_lengths(given, totals, embed, architecture)
        _check_space(totals, destination, content, quiet)
        if embed.verbose:
            bar = one_progress(cost_of_lengths(totals.lengths, embed, architecture))
    suffix = destination.suffix if destination.is_folder else ".npz"
    parts = PartFiles(destination.folder, _settings(embed, content), suffix, name_of(source), shard)
    parts.check_shards()
    hidden = quiet and find_repository(embed.model) is not None
    with progress_hidden() if hidden else nullcontext(), bar as progress:
        totals = _embed_parts(given, destination, embed, content, parts, architecture, progress)
    parts.remove_others()
    if not destination.is_folder:
        stored = Parts(totals.records, totals.longest_name, lambda: map(destination.read, parts.names))
        destination.write(content, stored)
    return Written(totals.records, len(content.features), len(parts.names), parts.resumed)


def _embed_parts(
    given: Input,
    destination: Destination,
    embed: ESMEmbeddingTransformer,
    content: Content,
    parts: PartFiles,
    architecture: Architecture,
    bar: Progress | None,
) -> Totals:
    totals = Totals()
    for part in cut(given.records(), _cost(embed, content, architecture)):
        totals.add(part)
        if destination.suffix == ".npz":
            totals.check_names(totals.records * len(content.features) * content.dtype.itemsize)

        def write(path: Path, part: list[Record] = part) -> None:
            with given.records_named(part):
                embedded = _embedded(part, embed, content)
            if destination.is_folder:
                one = Parts(len(part), 0, lambda: iter([embedded]))
                destination.format.write(path, content, one)
            else:
                save_part(path, embedded)

        done = bar.done if bar else 0
        existed = parts.keep(part, write)
        if bar:
            cost = cost_of_lengths(Counter(lengths_of(part, embed)), embed, architecture)
            if existed:
                bar.skip(cost)
            else:  # what is cached or repeated was not run
                bar.add(cost - (bar.done - done))
    return totals


def _embedded(part: list[Record], embed: ESMEmbeddingTransformer, content: Content) -> Embedded:
    names = [record.name for record in part]
    values = embed.transform([record.sequence for record in part])
    lengths = None
    if not content.poolings:
        lengths = np.array([len(states) for states in values], dtype=np.int64)
        values = np.concatenate(values)  # (residues of all records, features)
    with np.errstate(over="raise"):
        try:
            values = values.astype(content.dtype, copy=False)
        except FloatingPointError:
            raise ValueError(
                f"Numbers must be at most 65,504 for float16; got {np.abs(values).max():,.0f}. Pass "
                "--output-dtype float32."
            ) from None
    return Embedded(names, values, lengths)


def _fit(embed: ESMEmbeddingTransformer, quiet: bool) -> Architecture:
    """Find or download what identifies the model, then fit, which checks the parameters against it."""
    with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere) if quiet else nullcontext():
        # errors are exceptions, so this hides only the progress bar. This is first, because a damaged
        # file is not an error of the command line.
        identity = identify_model(embed.model)
    with usage():
        embed.fit(["M"])
    return identity.architecture


def _content(
    embed: ESMEmbeddingTransformer, architecture: Architecture, dtype: np.dtype[Any], wide: bool
) -> Content:
    pooling: Any = embed.pooling
    poolings = [] if pooling is None else [pooling] if isinstance(pooling, str) else list(pooling)
    features = embed.get_feature_names_out().tolist()
    if not poolings:
        features = [f"{number}" for number in range(len(embed.layers_) * architecture.width)]
    return Content(model_label(embed.model), embed.layers_, poolings, features, dtype, wide)


def _settings(embed: ESMEmbeddingTransformer, content: Content) -> str:
    """Return everything on which the files of parts depend, besides the records."""
    parameters = embed.get_params()
    for name in ("model", "cache", "n_jobs", "verbose"):
        del parameters[name]
    return f"{__version__} {embed.model_fingerprint_} {parameters} {content.dtype} {content.wide}"


def _cost(embed: ESMEmbeddingTransformer, content: Content, architecture: Architecture) -> Cost:
    size = len(content.features) * content.dtype.itemsize
    # multiplications and additions of the linear layers of each block
    operations = 24 * architecture.width**2 * max(embed.layers_)
    return Cost(size, 0, operations) if content.poolings else Cost(0, size, operations)


def _check_space(totals: Totals, destination: Destination, content: Content, quiet: bool) -> None:
    """Raise OSError if the disk has no room for the output, and print both sizes."""
    width = len(content.features) * content.dtype.itemsize
    vectors = width * (totals.records if content.poolings else totals.residues)
    names = totals.name_bytes
    if destination.suffix == ".npz":
        totals.check_names(vectors)
        names = 4 * totals.longest_name * totals.records
    size = vectors + names
    if destination.path is None:
        return
    needed = size if destination.is_folder else 2 * size  # parts and file, while they are merged
    free = shutil.disk_usage(destination.path.parent).free
    if needed > free:
        raise OSError(
            errno.ENOSPC,
            f"{destination} needs about {decimal(needed)} of free space, of which "
            f"{decimal(needed - size)} only until the parts are merged; {decimal(free)} are free. Free "
            "space there, pass another file to -o, or embed fewer records with --shard.",
        )
    if not quiet:
        say(
            f"{totals.records:,} records, about {decimal(needed)} on the disk while they are embedded; "
            f"{decimal(free)} are free."
        )
