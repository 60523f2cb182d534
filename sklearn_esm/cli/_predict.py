"""The command `predict`: predictions of a saved pipeline for the rows of a file, block by block."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from sklearn_esm.cli._candidates import (
    Column,
    check_new_columns,
    chosen_column,
    rows_of,
    set_run,
    without_mutations,
)
from sklearn_esm.cli._errors import explained, say, usage
from sklearn_esm.cli._options import check_exclusive, check_other_file, shows_progress
from sklearn_esm.cli._reference import read_reference
from sklearn_esm.cli._saved_model import check_model_path, load_pipeline, read_record
from sklearn_esm.cli._shared_options import (
    INPUT,
    RUN,
    BatchTokensOption,
    CacheOption,
    DeviceOption,
    QuietOption,
    VerboseOption,
)
from sklearn_esm.cli._table_files import (
    check_table_output,
    iterate_table,
    name_of,
    output_name,
    table_writer,
)
from sklearn_esm.recipes._suggest import features_of, last_step, returns_std

if TYPE_CHECKING:
    import pandas as pd

# options that `predict` and `suggest` share
SavedModel = Annotated[
    str, typer.Argument(metavar="MODEL", help="The .skops or .joblib file that train wrote.")
]
SequenceOption = Annotated[
    str | None,
    typer.Option(
        "--sequence",
        metavar="COLUMN",
        help="Column of the sequences; default: as in training.",
        rich_help_panel=INPUT,
    ),
]
MutationsOption = Annotated[
    str | None,
    typer.Option(
        "--mutations",
        metavar="COLUMN",
        help="Column of the mutations; default: as in training.",
        rich_help_panel=INPUT,
    ),
]
ReferenceOption = Annotated[
    str | None,
    typer.Option(
        "--reference",
        metavar="FASTA|SEQUENCE",
        help="Sequence that the mutations change; default: as in training.",
        rich_help_panel=INPUT,
    ),
]
FirstPositionOption = Annotated[
    int | None,
    typer.Option(
        metavar="INT",
        help="Position of the reference's first residue; default: as in training.",
        rich_help_panel=INPUT,
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME|PATH",
        help="Where the language model of the training lies now; other weights are refused.",
        rich_help_panel=RUN,
    ),
]


def predict(
    model_file: SavedModel,
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help=".csv, .tsv, .parquet or FASTA file; - is CSV or FASTA on standard input.",
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help=".csv, .tsv or .parquet file; - is CSV on standard output.",
        ),
    ],
    sequence: SequenceOption = None,
    mutations: MutationsOption = None,
    reference: ReferenceOption = None,
    first_position: FirstPositionOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
    batch_tokens: BatchTokensOption = None,
    cache: CacheOption = None,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
) -> None:
    """Predict the property of each row with a model that train wrote.

    The output has the columns of the input as they are, and `prediction`; `std` if the estimator has
    standard deviations; `probability_CLASS` for each class of a classifier that has probabilities. A
    FASTA file has the columns `id` and `sequence`.

    Rows are read, predicted and written in blocks of 4,096, so any number of them fits into memory. The
    output is written atomically. The weights of the language model must be those of the training.
    """
    with usage():
        check_command(model_file, output, source)
        progress = shows_progress(verbose=verbose, quiet=quiet)
        check_exclusive({"--sequence": sequence, "--mutations": mutations})
        reference = None if reference is None else read_reference(reference)
    with explained():
        chosen, pipeline = prepared(
            model_file,
            sequence=sequence,
            mutations=mutations,
            reference=reference,
            first_position=first_position,
            model=model,
            device=device,
            batch_tokens=batch_tokens,
            cache=cache,
            verbose=progress,
        )[1:]
        names, rows = output_columns(pipeline), 0
        # closed here and not by the garbage collector, which may come after standard input is closed
        with closing(iterate_table(source)) as blocks, table_writer(output) as write:
            for frame in blocks:
                check_new_columns(frame, names, name_of(source))
                write(frame.assign(**predicted(pipeline, frame, chosen, name_of(source), names)))
                rows += len(frame)
        if not quiet:
            say(f"Wrote {rows:,} predictions to {output_name(output)}.")


def check_command(model_file: str, output: str, *inputs: str | None) -> None:
    """Raise ValueError if a path has another suffix, or if the output is an input."""
    check_model_path(model_file)
    check_table_output(output)
    check_other_file(output, model_file, *inputs)


def prepared(
    model_file: str,
    *,
    sequence: str | None,
    mutations: str | None,
    reference: str | None,
    first_position: int | None,
    **run: Any,
) -> tuple[dict[str, Any], Column, Any]:
    """Return the record of a saved model, the column that it reads, and the steps for sequences."""
    record = read_record(model_file)
    chosen = chosen_column(
        record,
        sequence=sequence,
        mutations=mutations,
        reference=reference,
        first_position=first_position,
    )
    pipeline = without_mutations(load_pipeline(model_file))
    set_run(pipeline, **run)
    return record, chosen, pipeline


def output_columns(pipeline: Any) -> list[str]:
    """Return the names of the columns that `predicted` adds."""
    last = last_step(pipeline)
    if hasattr(last, "predict_proba"):
        return ["prediction", *(f"probability_{name}" for name in last.classes_)]
    return ["prediction", "std"] if returns_std(pipeline) else ["prediction"]


def predicted(
    pipeline: Any, frame: pd.DataFrame, chosen: Column, source: str, names: list[str]
) -> dict[str, Any]:
    """Return the new columns of a block."""
    sequences = chosen.of(frame).sequences(frame, source)
    if not sequences:
        return dict.fromkeys(names, np.empty(0))
    with rows_of(frame, source):
        features = features_of(pipeline, sequences)
    last = last_step(pipeline)
    if names[-1] == "std":
        values = list(last.predict(features, return_std=True))
    else:
        values = [last.predict(features)]
        if len(names) > 1:
            values += list(last.predict_proba(features).T)  # (classes, rows)
    return dict(zip(names, values, strict=True))
