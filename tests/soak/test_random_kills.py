"""Hundreds of processes killed at a random moment, and what they leave in a folder: `make soak`."""

import json
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from fair_esm_oracle import assert_faithful
from numpy.testing import assert_allclose

pytest.importorskip("h5py")
pytest.importorskip("pyarrow")
pytest.importorskip("typer")

from soak_jobs import processes, read_output, results_of
from soak_sequences import random_residues

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked"),
]

KILLS = int(os.environ.get("KILLS") or 200)
PARTS = 8  # for the workers of pytest
WRITING = 0.01  # seconds that a file takes to be written
LIMIT = 60  # seconds for a job that takes one, and less than a claim on vectors is heeded
SHOWN = 5

JOBS = {
    "means": ("embedding", {"batch_tokens": 64}),
    "every layer": ("embedding", {"layer": "all", "pooling": ["mean", "std"], "batch_tokens": 200}),
    "windows": ("embedding", {"overlong": "window", "max_length": 15, "batch_tokens": 64}),
    "likelihoods": ("likelihood", {"method": ["pseudo-perplexity", "log-likelihood"]}),
    "maps": ("contacts", {}),
    "features": ("contacts", {"output": "features"}),
}
COMMANDS = {".npz": "every layer", ".h5": "every layer", ".parquet": "windows"}
NUMBERS = {"likelihoods": 25, "maps": 60, "features": 60}  # of sequences; else
MANY = 150


class Round:
    """A folder in which one job is killed again and again, and finished at last.

    Parameters
    ----------
    rng : numpy Generator
    model : Path
    folder : Path
        A new one.
    run : callable
        Of `processes`.
    """

    def __init__(self, rng, model, folder, run):
        self.rng, self.run, self.folder = rng, run, folder
        self.written = rng.random() < 0.4
        name = str(rng.choice(list(JOBS)))
        ending = str(rng.choice(list(COMMANDS)))
        if self.written:
            name = COMMANDS[ending]
        kind, parameters = JOBS[name]
        # with a residue before them: masks alone have no likelihood
        sequences = ["".join(("M", *random_residues(rng))) for _ in range(NUMBERS.get(name, MANY))]
        self.job = {
            "kind": kind,
            "model": str(model),
            "parameters": parameters,
            "sequences": sequences,
            "cache": str(folder / "cache"),
            "threads": int(rng.integers(1, 3)),
        }
        folder.mkdir()
        self.expected = results_of(self.job, None)
        if self.written:
            (folder / "output").mkdir()
            fasta = folder / "proteins.fasta"
            fasta.write_text("".join(f">{i}\n{s}\n" for i, s in enumerate(sequences)))
            output = folder / "output" / f"vectors{ending}"
            self.job |= {"fasta": str(fasta), "output": str(output)}
            if rng.random() < 0.3:
                self.job["cache"] = None
        self.name = f"{'embed -o ' + ending if self.written else name}, {self.job['threads']} threads"
        began = time.monotonic()
        assert run([self._in(folder / "undisturbed")], [None], LIMIT) == [0]
        self.seconds = time.monotonic() - began

    def kill(self):
        """Kill one process or two, and return how many died of it."""
        number = int(self.rng.integers(1, 3))
        moments = [float(self.rng.uniform(0, self.seconds)) for _ in range(number)]
        if self.written and self.rng.random() < 0.5:
            moments[0] = [float(self.rng.uniform(0, WRITING)), str(self.folder / "output")]
        if number == 2 and self.rng.random() < 0.5:
            moments[1] = None  # it waits for what the other has claimed
        codes = self.run([self.job] * number, moments, LIMIT)
        for code, moment in zip(codes, moments, strict=True):
            assert code == 0 or (code == -9 and moment is not None), f"codes {codes} after {moments}"
        self._check_files()
        return codes.count(-9)

    def finish(self):
        """Do the job once more in the same folder, and compare what comes out of it."""
        results = self.folder / "results.npz"
        assert self.run([self.job | {"results": str(results)}], [None], LIMIT) == [0]
        self._check_files()
        if self.written:
            self._compare_output(must_exist=True)
            return
        with np.load(results) as arrays:
            self._compare(arrays["results"])

    def _in(self, folder):
        """The same job elsewhere."""
        folder.mkdir()
        elsewhere = self.job | ({"cache": str(folder / "cache")} if self.job["cache"] else {})
        if self.written:
            elsewhere["output"] = str(folder / Path(self.job["output"]).name)
        return elsewhere

    def _check_files(self):
        for database in (self.folder / "cache").glob("*.sqlite"):
            with closing(sqlite3.connect(database)) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert not list((self.folder / "cache").glob("*damaged*"))
        for note in Path(os.environ["TORCH_HOME"]).rglob("*.json"):
            json.loads(note.read_text(encoding="utf-8"))
        if self.written:
            self._compare_output(must_exist=False)

    def _compare_output(self, must_exist):
        output = Path(self.job["output"])
        others = [path.name for path in output.parent.iterdir() if path != output]
        assert all(name.endswith((".part", ".parts")) for name in others), others
        if output.exists() or must_exist:
            names, vectors = read_output(output)
            assert names == [str(number) for number in range(len(self.job["sequences"]))]
            self._compare(vectors)

    def _compare(self, actual):
        if self.job["kind"] == "embedding":
            assert_faithful(actual, self.expected)
        elif self.job["kind"] == "likelihood":
            assert_allclose(actual, self.expected, rtol=1e-5)
        else:
            assert_allclose(actual, self.expected, rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def run():
    with processes() as run:
        yield run


@pytest.mark.parametrize("part", range(PARTS))
def test_random_kills_leave_nothing_wrong(checkpoints, run, tmp_path, record_property, part):
    seed = int(os.environ["SEED"])
    wanted = (part + 1) * KILLS // PARTS - part * KILLS // PARTS
    kills, rounds, wrong = 0, 0, []
    while kills < wanted:
        rng = np.random.default_rng([seed, part, rounds])
        rounds += 1
        name = f"part {part}, round {rounds}"
        try:
            one = Round(rng, checkpoints["esm2"].path, tmp_path / str(rounds), run)
            name = f"{name} ({one.name})"
            for _ in range(rng.integers(2, 7)):
                kills += one.kill()
            one.finish()
        except Exception as error:
            wrong.append(f"{name}: {error!r}")
        assert rounds < 10 * wanted, "nothing is killed"
    record_property("kills", kills)
    record_property("kills wrong", len(wrong))
    assert not wrong, "\n\n".join(wrong[:SHOWN])
