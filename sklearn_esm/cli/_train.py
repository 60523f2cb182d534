"""The command ``train`` and its options."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm.cli._errors import explained, usage
from sklearn_esm.cli._options import check_exclusive, parse_layers, shows_progress
from sklearn_esm.cli._reference import read_reference
from sklearn_esm.cli._shared_options import (
    INPUT,
    BatchTokensOption,
    CacheOption,
    DeviceOption,
    DtypeOption,
    FirstPositionOption,
    InvalidOption,
    MaxLengthOption,
    ModelOption,
    MutationsOption,
    OverlongOption,
    QuietOption,
    ReferenceOption,
    SequenceOption,
    VerboseOption,
)
from sklearn_esm.cli._training import Plan, train_model
from sklearn_esm.cli._training_data import Duplicates, Source
from sklearn_esm.recipes import make_property_search

_MODEL, _SCORES = "What is trained", "How it is scored"


def train(
    context: typer.Context,
    table: Annotated[
        str,
        typer.Argument(
            metavar="TABLE",
            help="CSV, TSV, parquet or FASTA file with headers such as '>id brightness=3.7'; - is "
            "standard input.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Output file: .skops, or .joblib for a pickle. A .json and a .html file are beside it.",
        ),
    ],
    target: Annotated[
        str,
        typer.Option(metavar="COLUMN", help="Column of measurements.", rich_help_panel=INPUT),
    ],
    sequence: SequenceOption = None,
    mutations: MutationsOption = None,
    reference: ReferenceOption = None,
    first_position: FirstPositionOption = 1,
    duplicates: Annotated[
        Duplicates,
        typer.Option(
            help="How to handle equal sequences with different targets: error, their mean, or keep all "
            "rows.",
            rich_help_panel=INPUT,
        ),
    ] = "error",
    task: Annotated[
        Literal["regression", "classification"] | None,
        typer.Option(
            help="Default: classification for text and for at most ten whole numbers.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    features: Annotated[
        str,
        typer.Option(
            metavar="NAME,...",
            help="embedding, likelihood, one-hot or composition; comma-separated.",
            rich_help_panel=_MODEL,
        ),
    ] = "embedding",
    estimator: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="ridge, svm, random-forest, gaussian-process, logistic or gradient-boosting; default: "
            "ridge, or logistic for classification.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    model: ModelOption = "esm2_t6_8M_UR50D",
    layers: Annotated[
        str,
        typer.Option(
            metavar="INT,...|all",
            help="Layer of the embedding, or several to search.",
            rich_help_panel=_MODEL,
        ),
    ] = "-1",
    poolings: Annotated[
        str,
        typer.Option(
            metavar="NAME,...",
            help="Pooling of the embedding, or several to search.",
            rich_help_panel=_MODEL,
        ),
    ] = "mean",
    group: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="What keeps rows in one fold: identity, positions, a column, or none.",
            rich_help_panel=_SCORES,
        ),
    ] = "none",
    identity: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            help="With --group identity: lowest identity of relatives.",
            rich_help_panel=_SCORES,
        ),
    ] = 0.3,
    folds: Annotated[
        int, typer.Option(metavar="INT", min=2, help="Number of folds.", rich_help_panel=_SCORES)
    ] = 5,
    seed: Annotated[
        int,
        typer.Option(
            metavar="INT", min=0, help="Seed of folds and estimators.", rich_help_panel=_SCORES
        ),
    ] = 0,
    overlong: OverlongOption = "error",
    max_length: MaxLengthOption = None,
    invalid: InvalidOption = "error",
    cache: CacheOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = "float32",
    batch_tokens: BatchTokensOption = None,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train a model that predicts a property of proteins, and score it by nested cross-validation.

    The output is a scikit-learn pipeline from sequences or mutations to predictions. The .json beside it
    holds every score, parameter and version, and the .html is a report.

    Parameters of the estimator, and layers and poolings if there are several, are searched in inner
    folds. The scores come from outer folds, which the search does not see. A baseline without a language
    model (one-hot, or composition if lengths differ) and a dummy are scored on the same folds.

    The final model is trained on all rows. The language model runs once per distinct sequence.
    """
    with usage():
        progress = shows_progress(verbose=verbose, quiet=quiet)
        plan = Plan(
            source=_source(table, sequence, mutations, target, group, reference, first_position),
            output=_checked_output(output),
            command=_command_line(context),
            task=task,
            estimator=estimator,
            features=_parts(features),
            layers=parse_layers(layers, "--layers"),
            poolings=_parts(poolings),
            parameters={
                "model": model,
                "overlong": overlong,
                "max_length": max_length,
                "invalid": invalid,
                "cache": cache or "memory",
                "device": device,
                "dtype": dtype,
                "batch_tokens": batch_tokens,
            },
            group=group,
            identity=_checked_identity(identity),
            folds=folds,
            duplicates=duplicates,
            seed=seed,
            quiet=quiet,
            shows_progress=progress,
        )
        _check(plan)
    kept = f"Computed vectors are kept in {cache}; rerun the command to resume." if cache else ""
    with explained(lambda: kept):
        train_model(plan)


def _source(
    table: str,
    sequence: str | None,
    mutations: str | None,
    target: str,
    group: str,
    reference: str | None,
    first_position: int,
) -> Source:
    check_exclusive({"--sequence": sequence, "--mutations": mutations})
    if mutations is not None and reference is None:
        raise ValueError("--mutations must have --reference, the wild-type sequence.")
    column = None if group in ("none", "identity", "positions") else group
    wild_type = None if reference is None else read_reference(reference)
    return Source(table, sequence or "sequence", mutations, target, column, wild_type, first_position)


def _checked_output(output: Path) -> Path:
    from sklearn_esm.cli._saved_model import check_model_path

    check_model_path(output)
    output = output.expanduser()
    # before hours of training
    if not output.parent.is_dir():
        raise ValueError(f"The folder of -o must exist; got {output}. Create it first.")
    if output.is_dir() or not os.access(output.parent, os.W_OK):
        raise ValueError(f"-o must be a file that can be written; got {output}. Pass another one.")
    return output


def _checked_identity(identity: float) -> float:
    if not 0 < identity <= 1:
        raise ValueError(f"--identity must be above 0 and at most 1; got {identity}.")
    return identity


def _check(plan: Plan) -> None:
    """Raise ValueError if an option is invalid for every table."""
    make_property_search(
        plan.estimator or "ridge",
        task=plan.task if plan.estimator else None,
        features=plan.features,
        poolings=plan.poolings,
        reference=plan.source.reference,
        **plan.parameters,
    )
    embed = ESMEmbeddingTransformer(**plan.parameters)
    embed._checked(["M"], embed._resolve)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _command_line(context: typer.Context) -> str:
    """Return the command that repeats this one, with the options that are not the defaults."""
    words = ["sklearn-esm", "train"]
    for parameter in context.command.params:
        value: Any = context.params.get(parameter.name or "")
        if parameter.name in ("verbose", "quiet") or value is None or value == parameter.default:
            continue
        if parameter.param_type_name == "argument":
            words.append(str(value))
        else:
            words += [parameter.opts[0], str(value)]
    return shlex.join(words)
