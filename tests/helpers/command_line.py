"""The command in this process, and a FASTA file for it."""

import json
from pathlib import Path

import pytest

from sklearn_esm import ESMEmbeddingTransformer

pytest.importorskip("typer", reason="the command needs the extra cli")
from typer.testing import CliRunner

from sklearn_esm.cli._app import app

MODEL = "esm2_t6_1M_bundled"
NAMES = ["first protein", "second", "second", "", "fünf", "first again"]
SEQUENCES = ["MKTAYIAKQR", "GIGKFLHSAKKF", "HAEGTFTSDVSSYLEGQ", "ACDEFGHIKL", "mktayi", "MKTAYIAKQR"]
FASTA = "".join(f">{name}\n{sequence}\n" for name, sequence in zip(NAMES, SEQUENCES, strict=True))


def run(*arguments, stdin=None):
    """The result of a command; an exception that is not foreseen fails the test."""
    # wide, so that typer's frames break no message
    runner = CliRunner(env={"COLUMNS": "300", "TERM": "dumb"})
    return runner.invoke(app, [str(argument) for argument in arguments], stdin, catch_exceptions=False)


def embed(fasta, output, *options, stdin=None):
    return run("embed", fasta, "-o", output, "--model", MODEL, *options, stdin=stdin)


def expected(sequences=SEQUENCES, **parameters):
    return ESMEmbeddingTransformer(MODEL, cache=None, **parameters).fit_transform(sequences)


def files_in(folder):
    return sorted(path.name for path in folder.iterdir())


def train(table, output, target, *options, stdin=None):
    """The result of the command that trains on a table, and its record if there is one."""
    result = run(
        "train", table, "-o", output, "--target", target, "--model", MODEL, *options, stdin=stdin
    )
    path = Path(output).with_suffix(".json")
    return result, json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
