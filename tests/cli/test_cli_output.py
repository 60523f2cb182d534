"""What `embed` writes, in each format: whole or not at all."""

import os
import signal
import subprocess
import sys
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from command_line import FASTA, MODEL, NAMES, SEQUENCES, embed, expected, files_in
from numpy.testing import assert_allclose

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm.cli._formats import FORMATS as WRITERS
from sklearn_esm.cli._formats import Content, Parts
from sklearn_esm.cli._output import Destination
from sklearn_esm.cli._parts import Embedded

ROOT = Path(__file__).parents[2]
FORMATS = [".npz", ".parquet", ".h5"]
FEATURES = [f"f{number}" for number in range(50)]
NUMBERS = np.random.default_rng(0).standard_normal((1000, 50), dtype=np.float32)  # 200 kB
CONTENT = Content("model", [1], ["mean"], FEATURES, np.dtype("float32"))
LARGE = Parts(1000, 1, lambda: iter([Embedded(["a"] * 1000, NUMBERS)]))


@pytest.fixture
def fasta(tmp_path):
    path = tmp_path / "proteins.fasta"
    path.write_text(FASTA, encoding="utf-8")
    return path


@pytest.fixture
def folder_of_output(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture(params=FORMATS)
def output(request, folder_of_output):
    """A file of each format, which is not there yet."""
    if request.param != ".npz":
        pytest.importorskip({".parquet": "pyarrow", ".h5": "h5py"}[request.param])
    return folder_of_output / f"vectors{request.param}"


def content(path):
    """The names and the vectors in a file."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return arrays["names"].tolist(), arrays["embeddings"]
    if path.suffix == ".h5":
        import h5py

        with h5py.File(path) as file:
            return file["names"].asstr()[:].tolist(), file["embeddings"][:]
    from pyarrow import parquet

    table = parquet.read_table(path)
    assert table.column_names == ["name", "embedding"]
    vectors = table["embedding"].combine_chunks()
    values = vectors.flatten().to_numpy().reshape(len(table), vectors.type.list_size)
    return table["name"].to_pylist(), values


# Formats


@pytest.mark.parametrize("suffix_case", [str.lower, str.upper])
def test_each_format_holds_names_and_vectors(fasta, output, suffix_case):
    path = output.with_suffix(suffix_case(output.suffix))
    assert embed(fasta, path, "--layer", "0,6").exit_code == 0
    found_names, found = content(path.rename(output))
    assert found_names == NAMES
    assert found.dtype == np.float32
    assert_allclose(found, expected(layer=[0, 6]), rtol=1e-5, atol=1e-6)


def test_each_format_holds_rows_of_nan(fasta, output):
    fasta.write_text(">a\nMKT\n>missing\n>c\nGIG\n")
    embed(fasta, output, "--missing", "nan")
    found_names, found = content(output)
    assert found_names == ["a", "missing", "c"]
    assert np.isnan(found).all(axis=1).tolist() == [False, True, False]


def test_each_format_holds_no_records(fasta, output):
    embed(fasta, output, "--shard", "9/9")
    found_names, found = content(output)
    assert (found_names, found.shape) == ([], (0, 128))


def test_each_format_holds_unusual_names(fasta, output):
    names = ["", "蛋白\t1", "a" * 5000, "=1+1", 'quote"', "new\x0bline"]
    fasta.write_text("".join(f">{name}\nMKT\n" for name in names), encoding="utf-8")
    embed(fasta, output)
    assert content(output)[0] == names


def test_standard_output_is_npz(fasta, tmp_path):
    result = embed(fasta, "-")
    assert result.exit_code == 0
    path = tmp_path / "piped.npz"
    path.write_bytes(result.stdout_bytes)
    found_names, found = content(path)
    assert found_names == NAMES
    assert_allclose(found, expected(), rtol=1e-5, atol=1e-6)
    assert result.stderr == "Wrote 6 records of 128 features to standard output.\n"
    assert files_in(tmp_path) == ["piped.npz", "proteins.fasta"]


def test_npz_is_not_compressed(fasta, folder_of_output):
    path = folder_of_output / "vectors.npz"
    embed(fasta, path)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["names.npy", "embeddings.npy"]
        assert {member.compress_type for member in archive.infolist()} == {zipfile.ZIP_STORED}
    with np.load(path) as arrays:
        assert arrays["names"].dtype.kind == "U"


def test_wide_columns_of_parquet_are_named_like_features(fasta, folder_of_output):
    parquet = pytest.importorskip("pyarrow.parquet")
    path = folder_of_output / "vectors.parquet"
    embed(fasta, path, "--layer", "3,6", "--pooling", "mean,std", "--wide")
    embedder = ESMEmbeddingTransformer(MODEL, layer=[3, 6], pooling=["mean", "std"]).fit(SEQUENCES)
    schema = parquet.read_schema(path)
    assert schema.names == ["name", *embedder.get_feature_names_out()]
    assert [str(kind) for kind in schema.types] == ["string"] + ["float"] * 512
    columns = parquet.read_table(path).columns[1:]
    found = np.column_stack([column.to_numpy() for column in columns])
    assert_allclose(found, expected(layer=[3, 6], pooling=["mean", "std"]), rtol=1e-5, atol=1e-6)
    assert schema.metadata[b"model"] == MODEL.encode()
    assert (schema.metadata[b"layer"], schema.metadata[b"pooling"]) == (b"3,6", b"mean,std")


def test_attributes_of_hdf5_say_what_was_computed(fasta, folder_of_output):
    h5py = pytest.importorskip("h5py")
    path = folder_of_output / "vectors.h5"
    embed(fasta, path, "--layer", "3,-1", "--pooling", "mean,std")
    with h5py.File(path) as file:
        assert file.attrs["model"] == MODEL
        assert file.attrs["layer"].tolist() == [3, 6]
        assert file.attrs["pooling"].tolist() == ["mean", "std"]


# Before the work


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nowhere/vectors.npz", "cannot be written: No such file or directory. Create the folder first"),
        ("file/vectors.npz", "cannot be written: Not a directory."),
        ("folder.npz", "folder.npz is a folder. Pass a file to -o."),
    ],
)
def test_where_nothing_can_be_written_the_model_is_not_run(fasta, tmp_path, embedded, target, message):
    (tmp_path / "file").touch()
    (tmp_path / "folder.npz").mkdir()
    before = files_in(tmp_path)
    result = embed(fasta, tmp_path / target)
    assert (result.exit_code, embedded, files_in(tmp_path)) == (1, [], before)
    assert f"Error: {tmp_path}/" in result.stderr
    assert message in result.stderr


@pytest.mark.parametrize(("library", "suffix"), [("h5py", ".h5"), ("pyarrow", ".parquet")])
def test_without_a_library_the_extra_is_named(fasta, tmp_path, monkeypatch, embedded, library, suffix):
    monkeypatch.setitem(sys.modules, library, None)
    result = embed(fasta, tmp_path / f"vectors{suffix}")
    assert (result.exit_code, embedded) == (1, [])
    assert result.stderr == (
        f'Error: This format needs {library}, which is not installed: pip install "sklearn-esm[cli]"\n'
    )


def test_nothing_binary_is_written_to_a_terminal(monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    with pytest.raises(ValueError, match="Redirect it to a file or a pipe"):
        Destination("-")


# Whole or not at all


def test_a_former_file_is_replaced(fasta, output):
    output.write_bytes(b"former")
    embed(fasta, output)
    assert content(output)[0] == NAMES
    assert files_in(output.parent) == [output.name]


def test_the_file_has_the_rights_of_any_other(fasta, output):
    output.with_name("other").touch()
    embed(fasta, output)
    assert output.stat().st_mode == output.with_name("other").stat().st_mode


def test_what_a_link_leads_to_is_replaced(fasta, output, tmp_path):
    output.symlink_to(tmp_path / f"elsewhere{output.suffix}")
    embed(fasta, output)
    assert output.is_symlink()
    assert content(tmp_path / f"elsewhere{output.suffix}")[0] == NAMES


@pytest.mark.parametrize(("failure", "code"), [(KeyboardInterrupt(), 130), (MemoryError(), 1)])
def test_a_failure_while_writing_leaves_the_former_file(fasta, output, monkeypatch, failure, code):
    def write(path, content, parts):
        path.write_bytes(b"half")
        raise failure

    broken = WRITERS[output.suffix]._replace(write=write)
    output.write_bytes(b"former")
    with monkeypatch.context() as patch:
        patch.setitem(WRITERS, output.suffix, broken)
        result = embed(fasta, output)
    assert result.exit_code == code
    kept = output.with_name(f"{output.name}.parts")
    assert f"Finished parts are kept in {kept}; rerun the command to resume." in result.stderr
    assert output.read_bytes() == b"former"
    assert len(files_in(kept)) == 1
    assert embed(fasta, output).exit_code == 0
    assert (content(output)[0], files_in(output.parent)) == (NAMES, [output.name])


@contextmanager
def room_of(size):
    """Let this process write no more than so many bytes into a file: what a full disk is like."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_nothing(output):
    with room_of(50_000), pytest.raises(OSError, match="cannot be written: ") as refusal:
        Destination(str(output)).write(CONTENT, LARGE)
    assert str(output) in str(refusal.value)
    assert "or pass another file to -o." in str(refusal.value)
    assert files_in(output.with_name(f"{output.name}.parts")) == []


# The writer says that it is half done, and waits for its end. The package itself is left out: to
# import scikit-learn takes seconds, and nothing of it is needed here.
_SLOW = """
import signal, sys, time, types
package = sys.modules["sklearn_esm"] = types.ModuleType("sklearn_esm")
package.__path__ = ["sklearn_esm"]
from sklearn_esm import cli
from sklearn_esm.cli._formats import FORMATS
from sklearn_esm.cli._output import Destination

def write(path, content, parts):
    path.write_bytes(b"half")
    print("half", flush=True)
    time.sleep(60)

signal.signal(signal.SIGTERM, cli._terminate)
FORMATS[".npz"] = FORMATS[".npz"]._replace(write=write)
Destination(sys.argv[1]).write(None, None)
"""


@pytest.mark.parametrize(("number", "left"), [("SIGKILL", 1), ("SIGTERM", 0)])
def test_a_kill_while_writing_leaves_no_output(folder_of_output, number, left):
    path = folder_of_output / "vectors.npz"
    command = [sys.executable, "-c", _SLOW, path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout.readline() == b"half\n"
        process.send_signal(getattr(signal, number))
    assert files_in(folder_of_output) == ["vectors.npz.parts"]
    # nobody can clean up after SIGKILL, but the next run of the command does
    assert len(files_in(folder_of_output / "vectors.npz.parts")) == left
    assert process.returncode == (-signal.SIGKILL if number == "SIGKILL" else 128 + signal.SIGTERM)


# Standard output


@contextmanager
def standard_output(monkeypatch, file):
    # closed at the end: where something is left to be written, that fails
    with open(file, "w") as stdout, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stdout)
        yield


def test_a_pipe_that_nobody_reads_ends_the_writing(monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    with standard_output(monkeypatch, writing), pytest.raises(BrokenPipeError):
        Destination("-").write(CONTENT, LARGE)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no file that is always full")
def test_a_full_disk_behind_standard_output_is_an_error(monkeypatch):
    with (
        standard_output(monkeypatch, "/dev/full"),
        pytest.raises(OSError, match=r"standard output .* No space left"),
    ):
        Destination("-").write(CONTENT, LARGE)
