"""The commands of ``sklearn-esm`` and their options."""

from __future__ import annotations

import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sklearn_esm import ESMEmbeddingTransformer, __version__
from sklearn_esm._cache import CacheInfo, cache_info, prune_cache
from sklearn_esm._checkpoints._catalog import BUNDLED_MODEL, published_model
from sklearn_esm._checkpoints._locate import find_checkpoint
from sklearn_esm._parameters import check_cache
from sklearn_esm.cli._embed import check_command, embed_records
from sklearn_esm.cli._errors import explained, say, usage
from sklearn_esm.cli._output import Destination
from sklearn_esm.cli._tables import parse_size, print_models, size_text

app = typer.Typer(
    help="Embed protein sequences with Meta's ESM language models.",
    epilog="Exit codes: 0 done; 1 it could not be done, and a message says why; 2 wrong usage; "
    "130 interrupted.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # an error that is not foreseen shows Python's own traceback
    context_settings={"help_option_names": ["-h", "--help"]},
)
cache_app = typer.Typer(help="Look into a cache folder, or make room in it.", no_args_is_help=True)
app.add_typer(cache_app, name="cache")

_WHAT, _SEQUENCES, _RUN = "What is computed", "Which sequences are accepted", "How it is run"
_Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder given to embed as --cache.")]


class Overlong(StrEnum):
    """Choices of ``--overlong``."""

    error = "error"
    truncate = "truncate"
    window = "window"


class Invalid(StrEnum):
    """Choices of ``--invalid``."""

    error = "error"
    unknown = "unknown"
    mask = "mask"
    drop = "drop"


class Missing(StrEnum):
    """Choices of ``--missing``."""

    error = "error"
    nan = "nan"


class Dtype(StrEnum):
    """Choices of ``--dtype``."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"
    int8 = "int8"


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sklearn-esm {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def embed(
    fasta: Annotated[
        str, typer.Argument(metavar="INPUT", help="A FASTA file, plain or gzip; - is standard input.")
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Its end is the format: .npz, .parquet or .h5; - is npz on standard output.",
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            metavar="NAME|PATH",
            help="A name that `models` lists, or the path of a .pt file.",
            rich_help_panel=_WHAT,
        ),
    ] = "esm2_t6_8M_UR50D",
    layer: Annotated[
        str,
        typer.Option(
            metavar="INT,...|all",
            help="0 for token embeddings, 1 to L for the blocks, -1 for the last; several with commas.",
            rich_help_panel=_WHAT,
        ),
    ] = "-1",
    pooling: Annotated[
        str,
        typer.Option(
            metavar="NAME,...",
            help="mean, max, min, sum, std, bos or eos; several with commas.",
            rich_help_panel=_WHAT,
        ),
    ] = "mean",
    overlong: Annotated[
        Overlong,
        typer.Option(help="What becomes of a sequence above --max-length.", rich_help_panel=_SEQUENCES),
    ] = Overlong.error,
    max_length: Annotated[
        int | None,
        typer.Option(
            metavar="INT",
            help="In residues; the model's own limit if not given.",
            rich_help_panel=_SEQUENCES,
        ),
    ] = None,
    invalid: Annotated[
        Invalid,
        typer.Option(help="What becomes of a character that is no residue.", rich_help_panel=_SEQUENCES),
    ] = Invalid.error,
    missing: Annotated[
        Missing,
        typer.Option(
            help="What becomes of a record without a sequence: refused, or a row of NaN.",
            rich_help_panel=_SEQUENCES,
        ),
    ] = Missing.error,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Every Nth record from the Ith on: 2/8 takes the records 2, 10, 18... in their order.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Keeps vectors as they are computed: stopped and started again, the same command goes "
            "on from there, and other commands share them.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="cpu, cuda, cuda:1 or mps; the best one present if not given.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    dtype: Annotated[
        Dtype, typer.Option(help="Arithmetic; the output is float32 always.", rich_help_panel=_RUN)
    ] = Dtype.float32,
    batch_tokens: Annotated[
        int | None, typer.Option(metavar="INT", help="Tokens in one forward pass.", rich_help_panel=_RUN)
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            metavar="INT",
            help="Worker processes; one uses every core already, so this is seldom of use.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            "-v",
            help="A progress bar also where there is no terminal, and what the cache was good for.",
            rich_help_panel=_RUN,
        ),
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="Warnings and errors only.", rich_help_panel=_RUN),
    ] = False,
) -> None:
    """Embed the sequences of a FASTA file, a row for each record in their order.

    npz holds the arrays 'names' and 'embeddings'; parquet a column 'name' and one for each feature;
    h5 the datasets 'names' and 'embeddings', with model, layer and pooling as attributes. Equal
    sequences are computed once. The file appears when it is whole: a run that fails or is stopped
    leaves none. Of the outputs of N shards, row k of the Ith is row I - 1 + k N of the whole.
    """
    with usage():
        if verbose and quiet:
            raise ValueError("--verbose and --quiet exclude each other.")
        destination = Destination(output, fasta)
        chosen = _shard(shard)
        estimator = ESMEmbeddingTransformer(
            model,
            layer=_layers(layer),
            pooling=_several(pooling),
            overlong=overlong.value,
            max_length=max_length,
            invalid=invalid.value,
            missing=missing.value,
            device=device,
            dtype=dtype.value,
            batch_tokens=batch_tokens,
            cache=cache,
            n_jobs=jobs,
            verbose=not quiet and (verbose or sys.stderr.isatty()),
        )
        check_command(estimator)
    with explained(f"What was computed is kept in {cache}; the same command goes on." if cache else ""):
        records, features = embed_records(fasta, destination, estimator, chosen, quiet=quiet)
        if not quiet:
            say(f"Wrote {records:,} records of {features:,} features to {destination}.")
        if verbose and cache is not None:
            info = estimator.cache_info()
            say(f"Of the distinct sequences {info.hits:,} were in the cache, {info.misses:,} were run.")


@app.command()
def download(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A name that 'models' lists.")],
) -> None:
    """Download a model, if it is not on this machine, and print where its file is.

    A download that broke off goes on where it stopped. The file is also fair-esm's: both look for it
    in torch hub's folder, which TORCH_HOME can move. SKLEARN_ESM_MIRROR names another server.
    """
    with usage():
        if model != BUNDLED_MODEL:
            published_model(model)
    with explained("What has arrived is kept; the same command goes on from there."):
        typer.echo(find_checkpoint(model))


@app.command()
def models() -> None:
    """List the models that can be asked for by name."""
    with explained():
        print_models()


@cache_app.command("info")
def info(folder: _Folder) -> None:
    """Say how many vectors a cache folder holds, and what they take on the disk."""
    with usage():
        check_cache(folder)
    with explained():
        held = _held(folder)
        typer.echo(f"{held.vectors:,} vectors, {size_text(held.bytes)}")


@cache_app.command("prune")
def prune(
    folder: _Folder,
    max_bytes: Annotated[
        str, typer.Option(metavar="SIZE", help="What may stay, about: 500MB, 2GiB, 0.")
    ],
) -> None:
    """Remove the oldest vectors of a cache folder until the others take about SIZE."""
    with usage():
        size = parse_size(max_bytes)
        check_cache(folder)
    with explained():
        before = _held(folder)
        prune_cache(folder, size)
        after = _held(folder)
        typer.echo(f"removed {before.vectors - after.vectors:,} vectors")
        typer.echo(f"{after.vectors:,} vectors, {size_text(after.bytes)}")


def _held(folder: Path) -> CacheInfo:
    folder = folder.expanduser()
    if not folder.is_dir():
        # asked for what it holds, a folder that is not there would be said to be empty
        raise FileNotFoundError(f"There is no folder {folder}. Pass the one given to embed as --cache.")
    return cache_info(folder)


def _layers(text: str) -> int | list[int] | str:
    if text == "all":
        return text
    try:
        layers = [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"--layer {text} is neither numbers such as 6 or 3,6, nor all.") from None
    return layers if "," in text else layers[0]


def _several(text: str) -> str | list[str]:
    parts = [part.strip() for part in text.split(",")]
    return parts if len(parts) > 1 else parts[0]


def _shard(text: str | None) -> slice:
    if text is None:
        return slice(None)
    found = re.fullmatch(r"(\d+)/(\d+)", text, re.ASCII)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise ValueError(f"--shard {text} is no part of a whole. Pass 1/8 to 8/8 for eight parts.")
    return slice(int(found[1]) - 1, None, int(found[2]))
