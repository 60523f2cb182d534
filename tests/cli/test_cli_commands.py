"""Help, and the commands besides `embed`."""

import inspect
import re
import sys
import threading

import pytest
from command_line import MODEL, SEQUENCES, run
from mirror import PAYLOAD, Mirror
from rich.filesize import decimal

from sklearn_esm import ESMEmbeddingTransformer, __version__
from sklearn_esm._checkpoints._catalog import CATALOG, ESMC
from sklearn_esm._checkpoints._download import checkpoint_folder
from sklearn_esm._checkpoints._fingerprint import identify
from sklearn_esm._checkpoints._locate import find_checkpoint
from sklearn_esm.cli import _app, _options, _tables

# Help


def test_the_version_is_shown():
    assert run("--version").stdout == f"sklearn-esm {__version__}\n"


def test_help_lists_the_commands_and_exit_codes():
    text = run("--help").stdout
    for command in ("embed", "download", "models", "cache"):
        assert re.search(rf"\b{command}\b", text)
    assert "130 interrupted" in " ".join(text.split())


@pytest.mark.parametrize(("arguments", "command"), [([], "download"), (["cache"], "prune")])
def test_without_a_command_the_help_is_shown(arguments, command):
    assert command in run(*arguments).output


def test_help_of_embed_lists_its_options():
    text = run("embed", "-h").stdout
    for name in inspect.signature(_app.embed).parameters:
        assert name == "fasta" or f"--{name.replace('_', '-')}" in text


# models, download, cache


def test_models_lists_the_catalog():
    rows = [re.split(r" {2,}", line.strip()) for line in run("models").stdout.splitlines()]
    found = {row[0]: row[1:] for row in rows if row[0].startswith("esm")}
    assert list(found) == [*ESMC, *CATALOG, MODEL]
    assert found["esmc_600m"] == ["600 M", "36", "1152", "any", "MIT", "Hugging Face", "no"]
    assert found["esm2_t36_3B_UR50D"] == ["3 B", "36", "2560", "any", "MIT", "torch hub", "no"]
    assert found["esm1b_t33_650M_UR50S"][3:] == ["1,022", "MIT", "torch hub", "no"]
    assert found[MODEL] == ["1.2 M", "6", "128", "any", "MIT", "package", "2.5 MB"]


def test_models_says_in_which_folders_they_are(monkeypatch, tmp_path):
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    lines = run("models").stdout.splitlines()
    assert lines[-2:] == [f"torch hub: {checkpoint_folder()}", f"Hugging Face: {tmp_path}"]


def test_models_is_listed_without_the_extra_hub(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub.constants", None)
    result = run("models")
    assert (result.exit_code, result.stderr) == (0, "")
    assert 'pip install "sklearn-esm[hub]"' in result.stdout.splitlines()[-1]


def test_models_says_what_is_on_the_disk(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    checkpoint_folder().mkdir(parents=True)
    (checkpoint_folder() / "esm2_t6_8M_UR50D.pt").write_bytes(bytes(3000))
    (line,) = (line for line in run("models").stdout.splitlines() if "esm2_t6_8M" in line)
    assert line.rstrip().endswith("3.0 kB")


def test_facts_about_the_bundled_model_are_right():
    architecture = identify(find_checkpoint(MODEL)).architecture
    for fact in ("family", "layers", "width", "heads", "max_length"):
        assert getattr(_tables._BUNDLED, fact) == getattr(architecture, fact)


def test_download_prints_where_the_file_is(monkeypatch, tmp_path):
    with Mirror() as mirror:
        thread = threading.Thread(target=mirror.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        monkeypatch.setenv("SKLEARN_ESM_MIRROR", mirror.url)
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        for variable in ("SKLEARN_ESM_OFFLINE", "http_proxy", "HTTP_PROXY"):
            monkeypatch.delenv(variable, raising=False)
        result = run("download", "esm2_t6_8M_UR50D")
        mirror.shutdown()
        thread.join()
    path = checkpoint_folder() / "esm2_t6_8M_UR50D.pt"
    assert (result.exit_code, result.stdout) == (0, f"{path}\n")
    assert path.read_bytes() == PAYLOAD
    assert "100%" in result.stderr


def test_download_of_the_bundled_model_has_nothing_to_do():
    assert run("download", MODEL).stdout == f"{find_checkpoint(MODEL)}\n"


@pytest.mark.parametrize(
    ("model", "code", "message"),
    [("esm2", 2, "must be the name of a published ESM model"), ("esm2_t6_8M_UR50D", 1, "Error: ")],
)
def test_download_that_cannot_be(model, code, message):
    result = run("download", model)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr


def test_cache_info_is_that_of_the_transformer(folder):
    estimator = ESMEmbeddingTransformer(MODEL, layer=[3, 6], cache=folder)
    estimator.fit_transform(SEQUENCES)
    size = decimal(estimator.cache_info().bytes)
    assert run("cache", "info", folder).stdout == f"10 vectors, {size}\n"


def test_cache_prune_removes_vectors(folder):
    estimator = ESMEmbeddingTransformer(MODEL, cache=folder)
    estimator.fit_transform(SEQUENCES)
    result = run("cache", "prune", folder, "--max-bytes", "1GB")
    assert result.stdout.startswith("removed 0 vectors\n5 vectors, ")
    result = run("cache", "prune", folder, "--max-bytes", "0")
    assert result.stdout.startswith("removed 5 vectors\n0 vectors, ")
    assert estimator.cache_info().vectors == 0


@pytest.mark.parametrize("arguments", [["info"], ["prune", "--max-bytes", "0"]])
def test_a_cache_that_is_not_there_is_no_empty_one(tmp_path, arguments):
    result = run("cache", *arguments, tmp_path / "nowhere")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"Error: FOLDER must exist; got {tmp_path}/nowhere.")
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("arguments", [["info"], ["prune", "--max-bytes", "0"]])
@pytest.mark.parametrize("folder", ["~no-such-user/c", "x" * 300, f"{__file__}/c"])
def test_a_path_that_no_cache_can_have_is_wrong_usage(folder, arguments):
    result = run("cache", *arguments, folder)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"--cache must be the path of a folder; got '{folder[:90]}" in result.stderr


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1000", 1000),
        ("12 B", 12),
        ("500MB", 500_000_000),
        ("500 mb", 500_000_000),
        ("2GiB", 2 * 2**30),
        ("1.5KiB", 1536),
        ("3TB", 3 * 10**12),
        ("9007199254740993", 9007199254740993),  # no float has this number
    ],
)
def test_sizes_are_read(text, size):
    assert _options.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "2G", "-1", "1e9", "MB", "1.GB", "٣", "1 000"])
def test_what_is_no_size_is_wrong_usage(folder, text):
    result = run("cache", "prune", folder, f"--max-bytes={text}")
    assert result.exit_code == 2
    assert "SIZE must be a number of bytes, or have a unit such as 500MB or 2GiB; got" in result.stderr
