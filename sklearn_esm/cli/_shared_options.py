"""Options that several commands have, with the same names and help texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm._parameters import Dtype
from sklearn_esm._sequences import Invalid

# panels of the help
WHAT, INPUT = "What is computed", "What is read"
SEQUENCES, RUN = "Which sequences are accepted", "How it is run"
# the estimator has the only list of its policies, because those of other estimators differ
_Overlong: TypeAlias = Literal[ESMEmbeddingTransformer._overlong_policies]  # type: ignore[valid-type]

ModelOption: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="NAME|PATH",
        help="Name listed by `models`, org/name on the Hugging Face Hub, or path.",
        rich_help_panel=WHAT,
    ),
]
SequenceOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN", help="Column of sequences; default: sequence.", rich_help_panel=INPUT
    ),
]
MutationsOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="Column of mutations such as A24G:K30R, instead of --sequence.",
        rich_help_panel=INPUT,
    ),
]
ReferenceOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="FASTA|SEQUENCE",
        help="Wild type: a FASTA file of one record, or the sequence.",
        rich_help_panel=INPUT,
    ),
]
FirstPositionOption: TypeAlias = Annotated[
    int,
    typer.Option(
        metavar="INT", help="Position of the reference's first residue.", rich_help_panel=INPUT
    ),
]
OverlongOption: TypeAlias = Annotated[
    _Overlong,
    typer.Option(help="How to handle sequences longer than --max-length.", rich_help_panel=SEQUENCES),
]
MaxLengthOption: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="INT",
        help="Maximum number of residues; default: the model's own limit.",
        rich_help_panel=SEQUENCES,
    ),
]
InvalidOption: TypeAlias = Annotated[
    Invalid,
    typer.Option(help="How to handle characters outside ESM's alphabet.", rich_help_panel=SEQUENCES),
]
CacheOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Folder that keeps computed values for other commands.",
        rich_help_panel=RUN,
    ),
]
DeviceOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="cpu, cuda, cuda:1 or mps; default: the best device present.",
        rich_help_panel=RUN,
    ),
]
DtypeOption: TypeAlias = Annotated[
    Dtype, typer.Option(help="Type of the arithmetic.", rich_help_panel=RUN)
]
BatchTokensOption: TypeAlias = Annotated[
    int | None, typer.Option(metavar="INT", help="Tokens per forward pass.", rich_help_panel=RUN)
]
JobsOption: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="INT",
        help="Number of worker processes; seldom useful, because one process uses every core.",
        rich_help_panel=RUN,
    ),
]
VerboseOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        help="Show the progress bar also without a terminal, and the use of the cache.",
        rich_help_panel=RUN,
    ),
]
QuietOption: TypeAlias = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Show warnings and errors only.", rich_help_panel=RUN),
]
