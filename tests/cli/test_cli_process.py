"""The command as a shell runs it: a few whole processes, for what a test in this one cannot show."""

import io
import re
import signal
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from command_line import FASTA, MODEL, NAMES, expected
from numpy.testing import assert_allclose

from sklearn_esm import cli

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-W", "error", "-m", "sklearn_esm.cli"]
TIMEOUT = 60


def start(*arguments):
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen([*COMMAND, *arguments], cwd=ROOT, **pipes)


def test_embed_works_between_two_pipes():
    process = start("embed", "-", "-o", "-", "--model", MODEL, "--verbose")
    output, errors = process.communicate(FASTA.encode(), timeout=TIMEOUT)
    assert process.returncode == 0, errors.decode()
    with np.load(io.BytesIO(output), allow_pickle=False) as arrays:
        assert arrays["names"].tolist() == NAMES
        assert_allclose(arrays["embeddings"], expected(), rtol=1e-5, atol=1e-6)
    assert b"Running the model: 100%" in errors


@pytest.fixture
def heeded_interrupts():
    # tests run in a shell's background ignore them, and so would the processes that they start
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


@pytest.mark.usefixtures("heeded_interrupts")
def test_an_interrupt_ends_with_130_and_one_line(tmp_path):
    process = start("embed", "-", "-o", tmp_path / "vectors.npz", "--model", MODEL)
    # more than a pipe holds: when all of it is written, the command is reading
    process.stdin.write(b">a\n" + b"MKTAYIAKQR\n" * 20_000)
    process.stdin.flush()
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, output, errors) == (130, b"", b"Interrupted.\n")
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_has_seen_enough_is_no_error_to_speak_of():
    with start("models") as process:
        process.stdout.close()
        errors = process.stderr.read()
    assert (process.returncode, errors) == (1, b"")


def test_the_package_brings_the_command():
    # pyproject.toml rather than what is installed, which may be older
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (value,) = re.findall(r'^sklearn-esm = "(.+)"$', pyproject, re.MULTILINE)
    assert EntryPoint("sklearn-esm", value, "console_scripts").load() is cli.main


@pytest.mark.parametrize("library", ["typer", "rich"])
def test_without_the_extra_the_command_names_it(monkeypatch, library):
    for name in list(sys.modules):
        if re.match(rf"{library}\b|sklearn_esm\.cli\._", name):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.setattr(signal, "signal", lambda *arguments: None)
    with pytest.raises(SystemExit) as ending:
        cli.main()
    # a text as SystemExit's code is printed on standard error, and ends the process with 1
    assert ending.value.code == (
        f'sklearn-esm needs {library}, which is not installed: pip install "sklearn-esm[cli]"'
    )
