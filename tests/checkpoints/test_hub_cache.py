"""Names of repositories, and a Hugging Face cache laid out by hand that is read without a network."""

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from sklearn_esm._checkpoints import _file_state, _hub, _hub_checksum
from sklearn_esm._checkpoints._hub import Repository, repository_of
from sklearn_esm._checkpoints._locate import find_checkpoint, find_repository, is_path, model_label

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NEWER = "fedcba9876543210fedcba9876543210fedcba98"
CONFIG = b'{"model_type": "esm"}'
INDEX = json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}).encode()


def lay_out(cache, name, files, commit=COMMIT, **branches):
    """Write a snapshot as the Hub's client does, and its branches; give its folder."""
    repository = cache / f"models--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / commit
    for folder in ("blobs", "refs", f"snapshots/{commit}"):
        (repository / folder).mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        blob = repository / "blobs" / sha256(content).hexdigest()
        blob.write_bytes(content)
        (snapshot / file).symlink_to(Path("../../blobs") / blob.name)
    for branch in branches or {"main": True}:
        (repository / "refs" / branch).write_text(commit)
    return snapshot


# Names


@pytest.mark.parametrize(
    ("text", "name", "revision"),
    [
        ("facebook/esm2_t6_8M_UR50D", "facebook/esm2_t6_8M_UR50D", None),
        ("me/esm2.v1-2@main", "me/esm2.v1-2", "main"),
        (f"me/a@{COMMIT}", "me/a", COMMIT),
        ("me/a@refs/pr/4", "me/a", "refs/pr/4"),
        ("esmc_300m", "biohub/ESMC-300M", "a59b831785f907e96e6a246b1d142bfb76df31ee"),
        ("esmc_600m", "biohub/ESMC-600M", "a7e82012c83126b9eedb055fea9fa84b6c02f094"),
        ("esmc_6b", "biohub/ESMC-6B", None),
        ("biohub/ESMC-300M", "biohub/ESMC-300M", None),
    ],
)
def test_a_repository_and_its_revision(text, name, revision):
    assert repository_of(text) == find_repository(text) == Repository(name, revision)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "esm2_t6_8M_UR50D",
            "a/b/c",
            "/a",
            "a/",
            "a/b@",
            "a/b@c@d",
            "a b/c",
            "a/b@c d",
            "a/b@../c",
        ),
        *("a--b/c", "a/..b", "a/b.git", "-a/b", "https://huggingface.co/a/b", f"a/{'b' * 96}", "ä/b"),
    ],
)
def test_text_of_another_form_is_no_repository(text):
    assert repository_of(text) is None


def test_an_existing_folder_is_a_path_and_no_repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not is_path("me/model")
    assert find_repository("me/model") == Repository("me/model")
    (tmp_path / "me" / "model").mkdir(parents=True)
    assert is_path("me/model")
    assert find_repository("me/model") is None
    assert find_checkpoint("me/model") == tmp_path / "me" / "model"


@pytest.mark.parametrize(
    "text", ["./me/model", "../model", "~/model", "/me/model", "me/model.pt", "a.pth", "a/b.safetensors"]
)
def test_text_like_a_path_is_one_that_may_be_missing(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert is_path(text)
    assert find_repository(text) is None
    with pytest.raises(FileNotFoundError, match="must be the path of an existing file; got"):
        find_checkpoint(text)


@pytest.mark.parametrize("name", ["esmc_300m", "esmc_6b"])
def test_a_folder_does_not_hide_a_published_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    assert not is_path(name)
    assert is_path(f"./{name}")


@pytest.mark.parametrize(
    ("model", "label"),
    [
        ("facebook/esm2_t6_8M_UR50D", "esm2_t6_8M_UR50D"),
        (f"me/mine@{COMMIT}", "mine"),
        ("me/mine@refs/pr/4", "mine"),
        ("esmc_300m", "esmc_300m"),
        ("esm2_t6_8M_UR50D", "esm2_t6_8M_UR50D"),
        ("some/where/mine.pt", "mine"),
        ("some/where/model.safetensors", "model"),
        (Path("/some/where/folder"), "folder"),
    ],
)
def test_the_label_of_a_model(model, label):
    assert model_label(model) == label


def test_without_the_extra_the_error_names_it(monkeypatch, forget_hub):
    monkeypatch.setitem(sys.modules, "huggingface_hub.constants", None)
    for name in ("me/model", "esmc_300m"):
        with pytest.raises(ImportError, match=r'pip install "sklearn-esm\[hub\]"'):
            find_checkpoint(name)


# The cache


@pytest.mark.parametrize(
    "files",
    [
        {"model.safetensors": b"weights"},
        {"pytorch_model.bin": b"weights"},
        {
            "model.safetensors.index.json": INDEX,
            "model-1.safetensors": b"1",
            "model-2.safetensors": b"2",
        },
        {"pytorch_model.bin": b"weights", "model.safetensors.index.json": INDEX},
    ],
    ids=["safetensors", "bin", "sharded", "incomplete shards beside bin"],
)
@pytest.mark.parametrize("text", ["me/model", "me/model@main", f"me/model@{COMMIT}"])
def test_a_cached_repository_is_found_without_a_network(hub_cache, files, text):
    snapshot = lay_out(hub_cache, "me/model", {"config.json": CONFIG, **files})
    assert find_checkpoint(text) == snapshot


def test_an_adapter_is_found(hub_cache):
    files = {"adapter_config.json": b"{}", "adapter_model.safetensors": b"weights"}
    snapshot = lay_out(hub_cache, "me/model", files)
    assert find_checkpoint("me/model") == snapshot


def test_each_branch_has_its_commit(hub_cache):
    files = {"config.json": CONFIG, "model.safetensors": b"weights"}
    old = lay_out(hub_cache, "me/model", files, v1=True)
    new = lay_out(hub_cache, "me/model", files, NEWER, main=True)
    assert find_checkpoint("me/model") == new
    assert find_checkpoint("me/model@v1") == old


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "SKLEARN_ESM_OFFLINE"])
@pytest.mark.parametrize(
    "files",
    [
        None,
        {"model.safetensors": b"weights"},
        {"config.json": CONFIG},
        {"config.json": CONFIG, "model.safetensors.index.json": INDEX, "model-1.safetensors": b"1"},
    ],
    ids=["nothing", "no settings", "no weights", "a shard is missing"],
)
def test_what_is_not_cached_is_an_error_offline(hub_cache, monkeypatch, variable, files):
    if variable == "SKLEARN_ESM_OFFLINE":
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    if files is not None:
        lay_out(hub_cache, "me/model", files)
    with pytest.raises(FileNotFoundError, match="is not complete in the Hugging Face cache") as error:
        find_checkpoint("me/model")
    message = str(error.value)
    assert message.startswith("me/model")
    assert str(hub_cache) in message
    assert f"{variable} forbids the download. Unset {variable}" in message
    assert "`sklearn-esm download me/model" in message


def test_deleted_weights_are_noticed(hub_cache):
    snapshot = lay_out(hub_cache, "me/model", {"config.json": CONFIG, "model.safetensors": b"weights"})
    assert find_checkpoint("me/model") == snapshot
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="is not complete"):
        find_checkpoint("me/model")


def test_the_variables_of_the_hub_are_heeded(tmp_path):
    snapshot = lay_out(tmp_path / "hub", "me/model", {"config.json": CONFIG, "model.safetensors": b"w"})
    code = """
from sklearn_esm._checkpoints._locate import find_checkpoint
print(find_checkpoint("me/model"))
"""
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    environment.pop("HF_HUB_CACHE", None)
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, env=environment, timeout=120, capture_output=True, text=True)
    assert (result.stdout, result.stderr) == (f"{snapshot}\n", "")


# Pinned weights


@pytest.fixture
def pinned(hub_cache, monkeypatch):
    """The weights of ``esmc_300m``, of which the right SHA-256 is known."""
    repository = repository_of("esmc_300m")
    files = {"config.json": CONFIG, "model.safetensors": b"weights"}
    snapshot = lay_out(hub_cache, repository.name, files, repository.revision)
    monkeypatch.setitem(_hub._PINNED, repository, sha256(b"weights").hexdigest())
    return snapshot / "model.safetensors"


def test_pinned_weights_with_the_right_sum_are_found(pinned):
    assert find_checkpoint("esmc_300m") == pinned.parent
    assert find_checkpoint(str(repository_of("esmc_300m"))) == pinned.parent


def test_pinned_weights_with_another_sum_are_refused_with_both(pinned, forget_hub):
    find_checkpoint("esmc_300m")
    pinned.resolve().write_bytes(b"WEIGHTS")
    expected, actual = (sha256(content).hexdigest() for content in (b"weights", b"WEIGHTS"))
    for forget in (lambda: None, forget_hub):
        forget()
        with pytest.raises(ValueError, match=f"with SHA-256 {expected}; got {actual}") as error:
            find_checkpoint("esmc_300m")
        assert f"Delete {pinned.resolve()} to download it again" in str(error.value)


def test_the_sums_that_are_shipped_are_checked(hub_cache):
    repository = repository_of("esmc_600m")
    files = {"config.json": CONFIG, "model.safetensors": b"weights"}
    lay_out(hub_cache, repository.name, files, repository.revision)
    with pytest.raises(ValueError, match="with SHA-256 e4232c30fd35fe2f57051ec88a703996ac94520580b4b8"):
        find_checkpoint("esmc_600m")


def test_other_commits_are_not_checked(hub_cache):
    files = {"config.json": CONFIG, "model.safetensors": b"weights"}
    snapshot = lay_out(hub_cache, "biohub/ESMC-300M", files)
    assert find_checkpoint("biohub/ESMC-300M") == snapshot


def test_pinned_weights_are_hashed_once_on_a_machine(pinned, monkeypatch, forget_hub):
    find_checkpoint("esmc_300m")
    forget_hub()
    monkeypatch.setattr(_hub_checksum, "_compute", lambda state: pytest.fail("hashed again"))
    assert find_checkpoint("esmc_300m") == pinned.parent


@pytest.mark.parametrize("note", ["", "{", "[]", '{"file": []}', "\x00"])
def test_a_damaged_note_is_ignored(pinned, forget_hub, note):
    find_checkpoint("esmc_300m")
    path = _file_state._note_file(str(pinned.resolve()), ".sha256.json")
    assert path.is_file()
    path.write_text(note)
    forget_hub()
    assert find_checkpoint("esmc_300m") == pinned.parent
