"""`embed` goes through any number of records in parts, and resumes after the last complete one."""

import gzip
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from command_line import MODEL, embed, expected, files_in, run
from numpy.testing import assert_allclose

from sklearn_esm import ESMEmbeddingTransformer, _engine
from sklearn_esm.cli import _embed, _input, _parts

ROOT = Path(__file__).parents[2]
RNG = random.Random(0)
SEQUENCES = ["".join(RNG.choices("ACDEFGHIKLMNPQRSTVWY", k=RNG.randint(5, 30))) for _ in range(40)]
NAMES = [f"peptide {number}" for number in range(40)]
FASTA = "".join(f">{name}\n{sequence}\n" for name, sequence in zip(NAMES, SEQUENCES, strict=True))
PARTS = 5
FORMATS = [".npz", ".parquet", ".h5", "/"]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(_parts, "_ROWS", 40 // PARTS + 0.5)


@pytest.fixture
def fasta(tmp_path):
    path = tmp_path / "peptides.fasta"
    path.write_text(FASTA)
    return path


@pytest.fixture(params=FORMATS)
def output(request, tmp_path):
    """A file of each format, or a folder, which is not there yet."""
    if request.param != ".npz":
        pytest.importorskip({".h5": "h5py"}.get(request.param, "pyarrow"))
    (tmp_path / "out").mkdir()
    return f"{tmp_path / 'out' / 'vectors'}{request.param}"


def bits(output):
    """Names and contents of the files of an output."""
    path = Path(output)
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return {file.name: content(file) for file in files}


def content(path):
    if path.suffix == ".npz":
        return path.read_bytes()[:-300]  # without the table at the end, which has the time
    if path.suffix == ".parquet":
        return path.read_bytes()
    import h5py

    with h5py.File(path) as file:
        return file["names"][:].tolist(), file["embeddings"][:].tobytes()


def vectors(output):
    from pyarrow import parquet

    table = parquet.read_table(output)
    column = table["embedding"].combine_chunks()
    return table["name"].to_pylist(), column.flatten().to_numpy().reshape(len(table), -1)


# Memory


def test_one_part_of_the_records_is_in_memory_at_a_time(fasta, output, monkeypatch):
    held = []
    transform = ESMEmbeddingTransformer.transform

    def watched(self, X):
        held.append(len(X))
        return transform(self, X)

    monkeypatch.setattr(ESMEmbeddingTransformer, "transform", watched)
    assert embed(fasta, output).exit_code == 0
    assert (len(held), max(held), sum(held)) == (PARTS, 8, 40)


def test_a_part_ends_by_its_vectors_and_by_its_cost(fasta):
    record = _parts.Record(0, "", "M" * 100)
    assert _parts.Cost(2**23, 0, 0).share(record) > 1 / 4
    assert _parts.Cost(0, 2**23 // 100, 0).share(record) > 0.24
    assert _parts.Cost(0, 0, 1e12).share(record) > 1
    cut = list(_parts.cut([record] * 10, _parts.Cost(0, 0, 3e11)))
    assert [len(part) for part in cut] == [2] * 5


def test_a_record_that_is_larger_than_a_part_is_a_part(fasta):
    record = _parts.Record(0, "", "M" * 100)
    assert list(_parts.cut([record] * 2, _parts.Cost(2**30, 0, 0))) == [[record]] * 2


# Numbers


def test_a_folder_holds_a_file_for_each_part(fasta, tmp_path):
    pytest.importorskip("pyarrow")
    assert embed(fasta, f"{tmp_path}/vectors/").exit_code == 0
    found_files = [name.rpartition("-")[0] for name in files_in(tmp_path / "vectors")]
    assert found_files == [f"peptides-{number:05d}" for number in range(PARTS)]
    names, found = vectors(tmp_path / "vectors")
    assert names == NAMES
    assert_allclose(found, expected(SEQUENCES), rtol=1e-5, atol=1e-6)


def test_shards_share_a_folder(fasta, tmp_path):
    pytest.importorskip("pyarrow")
    for shard in (2, 1):
        assert embed(fasta, f"{tmp_path}/vectors/", "--shard", f"{shard}/2").exit_code == 0
    names, found = vectors(tmp_path / "vectors")
    assert sorted(names) == sorted(NAMES)
    rows = [NAMES.index(name) for name in names]
    assert_allclose(found, expected(SEQUENCES)[rows], rtol=1e-5, atol=1e-6)


def test_other_shards_of_the_same_file_are_refused(fasta, tmp_path, embedded):
    pytest.importorskip("pyarrow")
    embed(fasta, f"{tmp_path}/vectors/", "--shard", "1/2")
    before = files_in(tmp_path / "vectors")
    embedded.clear()
    for options in ([], ["--shard", "1/3"]):
        result = embed(fasta, f"{tmp_path}/vectors/", *options)
        assert (result.exit_code, embedded, files_in(tmp_path / "vectors")) == (1, [], before)
        assert (
            f"shards of peptides; got {before[0]}, of 2. Pass the former --shard or --split"
            in result.stderr
        )


def test_files_with_similar_names_do_not_touch_each_other(tmp_path):
    pytest.importorskip("pyarrow")
    names = ["a.fasta", "a-00001.fasta.gz", "a-1of2.fasta", "[a].1.fasta", "[a].2.fasta"]
    for number, name in enumerate(names):
        opened = gzip.open if name.endswith("gz") else open
        with opened(tmp_path / name, "wt") as file:
            file.write("".join(f">{name}\n{s}\n" for s in SEQUENCES[number : number + 10]))
    for _ in range(2):  # the second time nothing is computed, and nothing is removed
        result = run(
            "embed", *(tmp_path / name for name in names), "-o", f"{tmp_path}/vectors/", "--model", MODEL
        )
        assert result.exit_code == 0
    assert "10 of 10 parts were already embedded." in result.stderr
    assert len(files_in(tmp_path / "vectors")) == 10
    found, _ = vectors(tmp_path / "vectors")
    assert sorted(found) == sorted(name for name in names for _ in range(10))


@pytest.mark.parametrize("options", [[], ["--layer", "3,6"]])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_states_of_residues_are_written(fasta, tmp_path, dtype, options):
    parquet, h5py = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("h5py")
    fasta.write_text(">missing\n" + FASTA)
    options = [*options, "--pooling", "none", "--output-dtype", dtype, "--missing", "nan"]
    for suffix in (".h5", ".parquet"):
        assert embed(fasta, tmp_path / f"states{suffix}", *options).exit_code == 0
    layer = [3, 6] if "3,6" in options else -1
    wanted = expected(["", *SEQUENCES], pooling=None, layer=layer, missing="nan")
    with h5py.File(tmp_path / "states.h5") as file:
        assert file["names"].asstr()[:].tolist() == ["missing", *NAMES]
        found = [file[f"residues/{row}"][:] for row in range(41)]
    table = parquet.read_table(tmp_path / "states.parquet")
    assert table["name"].to_pylist() == ["missing", *NAMES]
    listed = [np.array(row, dtype=dtype) for row in table["embedding"].to_pylist()]
    for states, rows, exact in zip(found, listed, wanted, strict=True):
        assert (states.dtype, states.shape) == (np.dtype(dtype), exact.shape)
        assert np.array_equal(states, rows.reshape(exact.shape))
        assert_allclose(states, exact, rtol=1e-5 if dtype == "float32" else 1e-3, atol=1e-6)


def test_numbers_too_large_for_half_precision_are_refused(fasta, tmp_path, monkeypatch):
    monkeypatch.setattr(
        ESMEmbeddingTransformer, "transform", lambda self, X: np.full((len(X), 128), 1e5, np.float32)
    )
    result = embed(fasta, tmp_path / "vectors.npz", "--output-dtype", "float16")
    assert "Numbers must be at most 65,504 for float16; got 100,000." in result.stderr


# Resuming


def stopping_after(monkeypatch, parts):
    """Interrupt the command in the part after some."""
    transform, done = ESMEmbeddingTransformer.transform, []

    def interrupted(self, X):
        if len(done) == parts:
            raise KeyboardInterrupt
        done.append(len(X))
        return transform(self, X)

    monkeypatch.setattr(ESMEmbeddingTransformer, "transform", interrupted)


def test_a_stopped_command_goes_on_and_writes_the_same(fasta, output, tmp_path, monkeypatch, embedded):
    assert embed(fasta, output).exit_code == 0
    whole = bits(output)
    again = output.replace("/out/", "/again/")
    (tmp_path / "again").mkdir()
    with monkeypatch.context() as patch:
        stopping_after(patch, 3)
        result = embed(fasta, again)
    assert result.exit_code == 130
    assert "Finished parts are kept in " in result.stderr
    assert not Path(again).is_file()
    embedded.clear()
    result = embed(fasta, again)
    assert (result.exit_code, sorted(embedded)) == (0, sorted(SEQUENCES[24:]))
    assert "3 of 5 parts were already embedded." in result.stderr
    assert bits(again) == whole
    assert files_in(tmp_path / "again") == files_in(tmp_path / "out")


def test_parts_of_a_pipe_are_kept_too(tmp_path, monkeypatch, embedded):
    output = tmp_path / "vectors.npz"
    with monkeypatch.context() as patch:
        stopping_after(patch, 2)
        assert embed("-", output, stdin=FASTA).exit_code == 130
    embedded.clear()
    assert embed("-", output, stdin=FASTA).exit_code == 0
    assert len(embedded) == 24


def test_a_bad_record_in_a_pipe_is_named_when_it_is_met(tmp_path, embedded):
    result = embed("-", tmp_path / "vectors.npz", stdin=f"{FASTA}>bad\nM*\n")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: standard input: record 41, 'bad' (M*) has '*'")
    assert "Finished parts are kept in " in result.stderr
    assert sorted(embedded) == sorted(SEQUENCES)


@pytest.mark.parametrize(
    "change", [{"--layer": "3"}, {"--pooling": "max"}, {"--output-dtype": "float16"}]
)
def test_parts_of_other_settings_are_not_used(fasta, tmp_path, monkeypatch, embedded, change):
    output = tmp_path / "vectors.npz"
    with monkeypatch.context() as patch:
        stopping_after(patch, 3)
        embed(fasta, output, *(text for pair in change.items() for text in pair))
    embedded.clear()
    assert embed(fasta, output).exit_code == 0
    assert len(embedded) == 40
    assert files_in(tmp_path) == [fasta.name, output.name]


def test_parts_of_other_records_are_not_used(fasta, tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    embed(fasta, f"{tmp_path}/vectors/")
    changed = ["MKTAYI", *SEQUENCES[1:30]]
    fasta.write_text("".join(f">{n}\n{s}\n" for n, s in zip(NAMES, changed, strict=False)))
    result = embed(fasta, f"{tmp_path}/vectors/")
    assert "2 of 4 parts were already embedded." in result.stderr
    names, found = vectors(tmp_path / "vectors")
    assert names == NAMES[:30]
    assert_allclose(found, expected(changed), rtol=1e-5, atol=1e-6)


# each part says that it is embedded, so that the kill comes at a random moment between two of them
_SLOW = """
import sys, time
from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm.cli import _parts, main
_parts._ROWS = 8.5
transform = ESMEmbeddingTransformer.transform
def slow(self, X):
    print("part", flush=True)
    time.sleep(0.02)
    return transform(self, X)
ESMEmbeddingTransformer.transform = slow
sys.argv = ["sklearn-esm", *sys.argv[1:]]
main()
"""


def test_kills_at_random_moments_lose_nothing(fasta, output, tmp_path):
    assert embed(fasta, output).exit_code == 0
    whole = bits(output)
    again = output.replace("/out/", "/again/")
    (tmp_path / "again").mkdir()
    command = [sys.executable, "-c", _SLOW, "embed", fasta, "-o", again, "--model", MODEL]
    for part in (1, 3):
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
            for _ in range(part):
                process.stdout.readline()
            time.sleep(random.random() * 0.05)
            process.send_signal(signal.SIGKILL)
    assert embed(fasta, again).exit_code == 0
    assert bits(again) == whole
    assert files_in(tmp_path / "again") == files_in(tmp_path / "out")


# Disk


def test_an_output_larger_than_the_disk_is_refused_before_the_work(
    fasta, tmp_path, monkeypatch, embedded
):
    usage = type("Usage", (), {"free": 30_000})
    monkeypatch.setattr(_embed.shutil, "disk_usage", lambda path: usage)
    result = embed(fasta, tmp_path / "vectors.h5")
    assert (result.exit_code, embedded) == (1, [])
    # 40 x 128 x 4 bytes and the names, twice
    assert "needs about 41.7 kB of free space" in result.stderr
    assert "30.0 kB are free" in result.stderr


def test_the_sizes_are_said_before_the_work(fasta, tmp_path):
    result = embed(fasta, tmp_path / "vectors.h5")
    assert result.stderr.startswith("40 records, about 41.7 kB on the disk while they are embedded; ")
    assert " are free.\n" in result.stderr


@pytest.mark.parametrize("stdin", [False, True])
def test_a_name_that_npz_would_repeat_is_refused(fasta, tmp_path, monkeypatch, embedded, stdin):
    monkeypatch.setattr(_input, "_NAMES_BYTES", 10_000)
    text = f">{'n' * 200}\nMKT\n{FASTA}"
    fasta.write_text(text)
    result = embed("-" if stdin else fasta, tmp_path / "vectors.npz", stdin=text if stdin else None)
    assert (result.exit_code, len(embedded)) == (1, 8 if stdin else 0)
    assert "got 200 characters in record 1, 'nnn" in result.stderr
    assert run("embed", fasta, "-o", tmp_path / "vectors.h5", "--model", MODEL).exit_code == 0


# Formats


@pytest.mark.parametrize(
    ("output", "options", "message"),
    [
        (
            "v.npz",
            ["--pooling", "none"],
            "--pooling none must have an output of another format than npz",
        ),
        ("v.h5", ["--wide"], "--wide must have a parquet output and pooled vectors"),
        ("v.parquet", ["--wide", "--pooling", "none"], "--wide must have a parquet output and pooled"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(fasta, tmp_path, output, options, message):
    result = embed(fasta, tmp_path / output, *options)
    assert (result.exit_code, files_in(tmp_path)) == (2, [fasta.name])
    assert message in result.stderr


def test_a_row_group_holds_a_part(fasta, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    embed(fasta, tmp_path / "vectors.parquet")
    assert parquet.ParquetFile(tmp_path / "vectors.parquet").num_row_groups == PARTS


def test_the_engine_is_not_called_for_a_shard_without_records(fasta, output, monkeypatch):
    monkeypatch.setattr(_engine, "hidden_states", None)
    assert embed(fasta, output, "--shard", "50/50").exit_code == 0
