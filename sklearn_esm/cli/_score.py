"""The command `score`: scores of sequences and variants without measurements."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

from sklearn_esm import ESMLikelihoodTransformer
from sklearn_esm._likelihood_scores import resolve_methods
from sklearn_esm._sequences import Missing
from sklearn_esm.cli._errors import explained, say, usage
from sklearn_esm.cli._heat_map import MeasuredEffects, check_heat_map, draw_scan
from sklearn_esm.cli._options import check_other_file, shows_progress
from sklearn_esm.cli._reference import read_reference
from sklearn_esm.cli._scored_tables import RowReader, score_table
from sklearn_esm.cli._shared_options import (
    SEQUENCES,
    WHAT,
    BatchTokensOption,
    CacheOption,
    DeviceOption,
    DtypeOption,
    FirstPositionOption,
    InvalidOption,
    JobsOption,
    MaxLengthOption,
    MutationsOption,
    QuietOption,
    ReferenceOption,
    SequenceOption,
    VerboseOption,
)
from sklearn_esm.cli._table_files import check_table_output, output_name

_Overlong: TypeAlias = Literal[ESMLikelihoodTransformer._overlong_policies]  # type: ignore[valid-type]


def score(
    table: Annotated[
        str,
        typer.Argument(
            metavar="INPUT", help="CSV, TSV, parquet or FASTA file; - is CSV or FASTA on standard input."
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Output file: .csv, .tsv or .parquet; - is CSV on standard output.",
        ),
    ],
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|PATH,...",
            help="Name listed by `models`, org/name on the Hugging Face Hub, or path. Repeat it, or "
            "separate with commas, for several; default: esm2_t6_8M_UR50D.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            help="masked-marginals, wt-marginals or pseudo-log-likelihood-ratio, which need "
            "--reference; pseudo-perplexity, pseudo-log-likelihood or log-likelihood; comma-separated; "
            "default: masked-marginals with --reference, pseudo-perplexity without.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    aggregate: Annotated[
        Literal["mean", "min"] | None,
        typer.Option(help="Combine the scores of several models.", rich_help_panel=WHAT),
    ] = None,
    heat_map: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Draw the scores of all single substitutions of the reference: .png, .svg or .pdf.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="With --heat-map: draw these measured effects below. A FASTA file has them as labels "
            "such as COLUMN=3.7.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    sequence: SequenceOption = None,
    mutations: MutationsOption = None,
    reference: ReferenceOption = None,
    first_position: FirstPositionOption = 1,
    overlong: Annotated[
        _Overlong,
        typer.Option(
            help="How to handle sequences longer than --max-length.", rich_help_panel=SEQUENCES
        ),
    ] = "error",
    max_length: MaxLengthOption = None,
    invalid: InvalidOption = "error",
    missing: Annotated[
        Missing,
        typer.Option(
            help="How to handle rows without a sequence: error, or no score.", rich_help_panel=SEQUENCES
        ),
    ] = "error",
    cache: CacheOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = "float32",
    batch_tokens: BatchTokensOption = None,
    jobs: JobsOption = None,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
) -> None:
    """Score sequences, or variants of a reference, without measurements.

    The output has all columns of the input as they are, and a column for each score, such as
    esm2_t6_8M_UR50D_masked-marginals. Larger scores are more plausible, except for pseudo-perplexity.
    Rows are read and written in blocks, so any number of them fits into memory. The output is written
    atomically.
    """

    def after_stop() -> str:
        return f"Computed scores are kept in {cache}; rerun the command to resume." if cache else ""

    with explained(after_stop):
        with usage():
            progress = shows_progress(verbose=verbose, quiet=quiet)
            check_table_output(output)
            check_other_file(output, table)
            wild_type = None if reference is None else read_reference(reference)
            models = [name.strip() for text in model or ["esm2_t6_8M_UR50D"] for name in text.split(",")]
            default = "pseudo-perplexity" if wild_type is None else "masked-marginals"
            estimator = ESMLikelihoodTransformer(
                models if len(models) > 1 else models[0],
                method=[name.strip() for name in (method or default).split(",")],
                reference=wild_type,
                aggregate=aggregate,
                overlong=overlong,
                max_length=max_length,
                invalid=invalid,
                missing=missing,
                device=device,
                dtype=dtype,
                batch_tokens=batch_tokens,
                # blocks share the passes of the reference
                cache="memory" if cache is None else cache,
                n_jobs=jobs,
                verbose=progress,
            )
            rows = RowReader(table, sequence, mutations, wild_type, first_position)
            columns = len(resolve_methods(estimator.method, wild_type))
            columns *= 1 if aggregate else len(models)
            check_heat_map(heat_map, target, wild_type, columns)
            for scorer in estimator._scorers():
                scorer.checked([wild_type or "M"])
        effects = None
        if target is not None and wild_type is not None:
            effects = MeasuredEffects(target, wild_type, first_position)
        estimator.fit([wild_type or "M"])
        written = score_table(estimator, rows, output, effects)
        if heat_map is not None:
            draw_scan(estimator, heat_map, first_position, effects)
        if not quiet:
            names = ", ".join(estimator.get_feature_names_out())
            say(f"Wrote {written:,} rows with {names} to {output_name(output)}.")
            if heat_map is not None:
                say(f"Wrote the heat map to {heat_map}.")
