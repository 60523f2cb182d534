"""The commands of ``sklearn-esm`` and their options."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.filesize import decimal

from sklearn_esm import ESMEmbeddingTransformer, __version__
from sklearn_esm._cache import CacheInfo, cache_info, prune_cache
from sklearn_esm._checkpoints._catalog import BUNDLED_MODEL, published_model
from sklearn_esm._checkpoints._locate import find_checkpoint, find_repository
from sklearn_esm._parameters import check_cache
from sklearn_esm._sequences import Missing
from sklearn_esm.cli._embed import added, check_command, embed_file
from sklearn_esm.cli._engines import check_engine, embed_files, run_task, tasks_of
from sklearn_esm.cli._errors import explained, say, usage
from sklearn_esm.cli._options import (
    parse_layers,
    parse_poolings,
    parse_shard,
    parse_size,
    shows_progress,
)
from sklearn_esm.cli._output import Destination
from sklearn_esm.cli._predict import predict
from sklearn_esm.cli._score import score
from sklearn_esm.cli._shared_options import (
    RUN,
    SEQUENCES,
    WHAT,
    BatchTokensOption,
    CacheOption,
    DeviceOption,
    DtypeOption,
    InvalidOption,
    JobsOption,
    MaxLengthOption,
    ModelOption,
    OverlongOption,
    QuietOption,
    VerboseOption,
)
from sklearn_esm.cli._suggest import suggest
from sklearn_esm.cli._tables import print_models
from sklearn_esm.cli._train import train

app = typer.Typer(
    help="Embed protein sequences with the ESM language models, and train on them.",
    epilog="Exit codes: 0 success; 1 failure, with a message; 2 invalid command line; 130 interrupted.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # an unexpected error shows Python's own traceback
    context_settings={"help_option_names": ["-h", "--help"]},
)
cache_app = typer.Typer(help="Show or shrink a cache folder.", no_args_is_help=True)
app.add_typer(cache_app, name="cache")

_Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder given to embed as --cache.")]


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
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="FASTA file, plain or gzip; - is standard input. Several files need -o folder/.",
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE|FOLDER/",
            help="Output file, whose suffix is the format: .npz, .parquet or .h5; a folder for several "
            "parquet files; - is npz on standard output.",
        ),
    ],
    model: ModelOption = "esm2_t6_8M_UR50D",
    layer: Annotated[
        str,
        typer.Option(
            metavar="INT,...|all",
            help="0 for token embeddings, 1 to L for the blocks, -1 for the last; comma-separated.",
            rich_help_panel=WHAT,
        ),
    ] = "-1",
    pooling: Annotated[
        str,
        typer.Option(
            metavar="NAME,...",
            help="mean, max, min, sum, std, bos or eos; comma-separated; none for the states of every "
            "residue.",
            rich_help_panel=WHAT,
        ),
    ] = "mean",
    output_dtype: Annotated[
        Literal["float32", "float16"],
        typer.Option(help="Type of the numbers in the output.", rich_help_panel=WHAT),
    ] = "float32",
    wide: Annotated[
        bool,
        typer.Option(
            "--wide",
            help="parquet: one column per feature instead of one column of vectors.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    overlong: OverlongOption = "error",
    max_length: MaxLengthOption = None,
    invalid: InvalidOption = "error",
    missing: Annotated[
        Missing,
        typer.Option(
            help="How to handle records without a sequence: error, or a row of NaN.",
            rich_help_panel=SEQUENCES,
        ),
    ] = "error",
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Embed only every Nth record from the Ith: 2/8 selects the records 2, 10, 18...",
            rich_help_panel=RUN,
        ),
    ] = None,
    engine: Annotated[
        Literal["dask", "ray"] | None,
        typer.Option(
            help="Run one task per file on a cluster, into a folder that all its machines share.",
            rich_help_panel=RUN,
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Address of the cluster, such as tcp://host:8786; default: workers on this machine.",
            rich_help_panel=RUN,
        ),
    ] = None,
    split: Annotated[
        int,
        typer.Option(metavar="N", min=1, help="With --engine: tasks per file.", rich_help_panel=RUN),
    ] = 1,
    cache: CacheOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = "float32",
    batch_tokens: BatchTokensOption = None,
    jobs: JobsOption = None,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
) -> None:
    """Embed the sequences of a FASTA file, one row per record, in the same order.

    npz holds the arrays 'names' and 'embeddings'. parquet has the columns 'name' and 'embedding', a
    list of numbers. h5 holds the datasets 'names' and 'embeddings', and the attributes model, layer and
    pooling. With --pooling none, parquet has a list of lists, and h5 one dataset per record in the
    group 'residues', named by its row.

    Records are embedded in parts, so any number of them fits into memory. Rerun a stopped command to
    resume after the last complete part. The output is written atomically. Equal sequences are computed
    once in a part, and once in all with --cache. With N shards, row k of shard I is row I - 1 + k N of
    the whole file.
    """
    with usage():
        progress = shows_progress(verbose=verbose, quiet=quiet)
        destination = Destination(output, *fasta)
        chosen = parse_shard(shard)
        check_engine(fasta, destination, engine, scheduler, split, shard)
        tasks = tasks_of(fasta, destination.address or f"{destination.path}/", split)
        estimator = ESMEmbeddingTransformer(
            model,
            layer=parse_layers(layer),
            pooling=parse_poolings(pooling),
            overlong=overlong,
            max_length=max_length,
            invalid=invalid,
            missing=missing,
            device=device,
            dtype=dtype,
            batch_tokens=batch_tokens,
            cache=cache,
            n_jobs=jobs,
            verbose=progress,
        )
        check_command(estimator)
        destination.check_holds(estimator.pooling, wide=wide)

    def after_stop() -> str:
        kept = f"Computed vectors are kept in {cache}; rerun the command to resume." if cache else ""
        return destination.after_stop() or kept

    with explained(after_stop), closing(destination):
        if engine:
            run = partial(run_task, embed=estimator, dtype=output_dtype, wide=wide)
            written = embed_files(tasks, run, engine, scheduler, quiet=quiet)
        else:
            written = added(
                [
                    embed_file(
                        one,
                        destination,
                        estimator,
                        shard=chosen,
                        dtype=output_dtype,
                        wide=wide,
                        quiet=quiet,
                    )
                    for one in fasta
                ]
            )
        if not quiet:
            if written.resumed:
                say(f"{written.resumed:,} of {written.parts:,} parts were already embedded.")
            say(f"Wrote {written.records:,} records of {written.features:,} features to {destination}.")
        if verbose and cache is not None:
            info = estimator.cache_info()
            say(f"Distinct sequences: {info.hits:,} from the cache, {info.misses:,} computed.")


app.command()(train)
app.command()(predict)
app.command()(suggest)
app.command()(score)


@app.command()
def download(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Name listed by 'models', or org/name[@revision] on the Hugging Face Hub.",
        ),
    ],
) -> None:
    """Download a model if it is not on this machine, and print the path of its file or folder.

    Meta's models are shared with fair-esm in torch hub's folder, and an interrupted download is resumed.
    Set TORCH_HOME to move that folder, and SKLEARN_ESM_MIRROR to use another server.

    ESM C and the models of the Hugging Face Hub are shared with transformers in the Hub's cache. Set
    HF_HOME to move it, HF_ENDPOINT to use another server, and HF_TOKEN to log in.
    """
    with usage():
        repository = find_repository(model)
        if repository is None and model != BUNDLED_MODEL:
            published_model(model)
    kept = "The partial download is kept" if repository is None else "Complete files are kept"
    with explained(lambda: f"{kept}; rerun the command to resume."):
        typer.echo(find_checkpoint(model))


@app.command()
def models() -> None:
    """List the models that have a name."""
    with explained():
        print_models()


@cache_app.command("info")
def info(folder: _Folder) -> None:
    """Print the number of vectors in a cache folder, and their size on the disk."""
    with usage():
        check_cache(folder)
    with explained():
        held = _held(folder)
        typer.echo(f"{held.vectors:,} vectors, {decimal(held.bytes)}")


@cache_app.command("prune")
def prune(
    folder: _Folder,
    max_bytes: Annotated[
        str, typer.Option(metavar="SIZE", help="Approximate size to keep: 500MB, 2GiB, 0.")
    ],
) -> None:
    """Remove the oldest vectors of a cache folder until it is about SIZE."""
    with usage():
        size = parse_size(max_bytes)
        check_cache(folder)
    with explained():
        before = _held(folder)
        prune_cache(folder, size)
        after = _held(folder)
        typer.echo(f"removed {before.vectors - after.vectors:,} vectors")
        typer.echo(f"{after.vectors:,} vectors, {decimal(after.bytes)}")


def _held(folder: Path) -> CacheInfo:
    folder = folder.expanduser()
    if not folder.is_dir():
        # otherwise a wrong path would look like an empty cache
        raise FileNotFoundError(f"FOLDER must exist; got {folder}. Pass the folder given as --cache.")
    return cache_info(folder)
