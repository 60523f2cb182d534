"""The command `suggest`: the candidates to measure next, by the predictions of a saved pipeline."""

from __future__ import annotations

import math
from contextlib import closing
from typing import Annotated, Literal

import typer

from sklearn_esm.cli._candidates import Column, reference_of
from sklearn_esm.cli._errors import explained, say, usage
from sklearn_esm.cli._options import check_exclusive, shows_progress
from sklearn_esm.cli._pool import measured_targets, read_measured, scan_blocks
from sklearn_esm.cli._predict import (
    FirstPositionOption,
    ModelOption,
    MutationsOption,
    ReferenceOption,
    SavedModel,
    SequenceOption,
    check_command,
    prepared,
)
from sklearn_esm.cli._reference import read_reference
from sklearn_esm.cli._shared_options import (
    INPUT,
    BatchTokensOption,
    CacheOption,
    DeviceOption,
    QuietOption,
    VerboseOption,
)
from sklearn_esm.cli._shortlist import Shortlist
from sklearn_esm.cli._table_files import iterate_table, name_of, output_name, table_writer
from sklearn_esm.recipes._acquisition import Strategy
from sklearn_esm.recipes._suggest import check_suggests

CHOICE = "How candidates are chosen"


def suggest(
    model_file: SavedModel,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help=".csv, .tsv or .parquet file; - is CSV on standard output.",
        ),
    ],
    pool: Annotated[
        str | None,
        typer.Argument(
            metavar="POOL",
            help="Candidates: .csv, .tsv, .parquet or FASTA file; - is CSV or FASTA on standard input.",
        ),
    ] = None,
    scan: Annotated[
        Literal["1", "2"] | None,
        typer.Option(
            help="Instead of POOL: every substitution of the reference, or every pair of them.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    n: Annotated[
        int,
        typer.Option(
            "-n", metavar="INT", min=1, help="Number of candidates to choose.", rich_help_panel=CHOICE
        ),
    ] = 96,
    strategy: Annotated[
        Strategy, typer.Option(help="What a candidate is chosen by.", rich_help_panel=CHOICE)
    ] = "expected-improvement",
    beta: Annotated[
        float,
        typer.Option(
            metavar="FLOAT",
            min=0,
            help="Standard deviations in the upper confidence bound; higher explores more.",
            rich_help_panel=CHOICE,
        ),
    ] = 2.0,
    minimize: Annotated[
        bool, typer.Option("--minimize", help="Lower targets are better.", rich_help_panel=CHOICE)
    ] = False,
    diverse: Annotated[
        bool,
        typer.Option(
            "--diverse",
            help="Choose the best of each of N clusters of the 10 N best.",
            rich_help_panel=CHOICE,
        ),
    ] = False,
    measured: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Rows measured since training, with the columns of the training.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            metavar="INT", min=0, help="Seed of thompson and --diverse.", rich_help_panel=CHOICE
        ),
    ] = 0,
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
    """Choose the candidates to measure next, with a model that train wrote.

    The output has the columns of the pool, best candidate first, and `prediction`, `std` if the
    estimator has standard deviations, `score`, of which higher is better, and `rank`. A sequence that
    was measured in training or in --measured is never chosen, and none is chosen twice, whatever its
    name.

    The pool is predicted in blocks of 4,096 rows, and only the best candidates are kept, so it can be
    larger than the memory.
    """
    with usage():
        progress = shows_progress(verbose=verbose, quiet=quiet)
        check_exclusive({"--sequence": sequence, "--mutations": mutations})
        check_command(model_file, output, pool, measured)
        if (pool is None) == (scan is None):
            raise ValueError("Pass either the file of a pool or --scan.")
        if pool == measured == "-":
            raise ValueError("POOL and --measured must not both be standard input. Pass a file for one.")
        if math.isnan(beta):  # which --beta accepts with click 8.2
            raise ValueError("Invalid value for '--beta': it must be a number; got nan.")
        reference = None if reference is None else read_reference(reference)
    with explained():
        record, column, pipeline = prepared(
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
        )
        check_suggests(pipeline, strategy)
        excluded = set(record["measured"]["digests"])
        targets = measured_targets(record)
        if measured is not None:
            digests, more = read_measured(measured, column, record["input"]["target"])
            excluded |= digests
            targets += more
        if pool is not None:
            source, blocks = name_of(pool), iterate_table(pool)
        else:
            source = "--scan"
            wild_type, first = reference_of(record, reference, first_position)
            if wild_type is None:
                raise ValueError("--scan needs --reference; the model was trained without one.")
            name = "mutations" if column.reference is None else column.name
            blocks = scan_blocks(wild_type, first, int(scan or 1), name)
            column = Column("sequence", "--sequence")
        extreme = min if minimize else max
        shortlist = Shortlist(
            pipeline,
            column,
            n=n,
            strategy=strategy,
            best=extreme(targets) if targets else None,
            beta=beta,
            maximize=not minimize,
            diverse=diverse,
        )
        with closing(blocks):
            for frame in blocks:
                shortlist.add(frame, source, excluded)
        plate = shortlist.choice(seed)
        with table_writer(output) as write:
            write(plate)
        if len(plate) < n:
            say(f"Warning: -n is {n:,}, and the pool has {len(plate):,} that were not measured.")
        if not quiet:
            say(f"Wrote {len(plate):,} candidates to {output_name(output)}.")
