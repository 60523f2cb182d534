"""Downloads from a Hub on this machine: what is asked for, and what is said of each refusal."""

import threading

import pytest
from packaging.version import Version

from sklearn_esm._checkpoints._locate import find_checkpoint

huggingface_hub = pytest.importorskip("huggingface_hub")

CONFIG = b'{"model_type": "esm"}'
WEIGHTS = bytes(range(256)) * 8192  # 2 MiB
INDEX = b'{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}'
USELESS = {"README.md": b"", "vocab.txt": b"", "tokenizer_config.json": b"{}", "tf_model.h5": b"x"}


@pytest.fixture
def no_pause(monkeypatch):
    """Have the client try again at once."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)


def content_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# What is downloaded


@pytest.mark.parametrize(
    ("published", "needed"),
    [
        (["model.safetensors"], ["model.safetensors"]),
        (["model.safetensors", "pytorch_model.bin"], ["model.safetensors"]),
        (["pytorch_model.bin"], ["pytorch_model.bin"]),
        (
            [
                "model.safetensors.index.json",
                "model-1.safetensors",
                "model-2.safetensors",
                "model-3.bin",
            ],
            ["model.safetensors.index.json", "model-1.safetensors", "model-2.safetensors"],
        ),
    ],
    ids=["safetensors", "both", "bin", "sharded"],
)
def test_only_the_files_of_one_layout_are_downloaded(hub, published, needed):
    # files of equal content would be one download
    files = {name: INDEX if "index" in name else WEIGHTS + name.encode() for name in published}
    commit = hub.publish("me/model", {"config.json": CONFIG, **files, **USELESS})
    folder = find_checkpoint("me/model")
    assert folder.name == commit
    assert content_of(folder) == {"config.json": CONFIG, **{name: files[name] for name in needed}}
    assert hub.downloads == ["config.json", *needed]


def test_an_adapter_is_downloaded(hub):
    hub.publish(
        "me/model", {"adapter_config.json": b"{}", "adapter_model.safetensors": WEIGHTS, **USELESS}
    )
    assert set(content_of(find_checkpoint("me/model"))) == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }


def test_what_is_in_the_cache_is_not_downloaded_again(hub, forget_hub):
    hub.publish("me/model", {"config.json": CONFIG, "model.safetensors": WEIGHTS})
    folder = find_checkpoint("me/model")
    hub.requests.clear()
    assert find_checkpoint("me/model") == folder
    assert hub.requests == []
    forget_hub()
    assert find_checkpoint("me/model") == folder
    # a branch may have moved
    assert hub.requests == [("HEAD", "config.json", None)]
    forget_hub()
    hub.requests.clear()
    assert find_checkpoint(f"me/model@{folder.name}") == folder
    assert hub.requests == []


def test_a_moved_branch_is_noticed_by_the_next_process(hub, forget_hub):
    files = {"config.json": CONFIG, "model.safetensors": WEIGHTS}
    first = hub.publish("me/model", files)
    assert find_checkpoint("me/model").name == first
    second = hub.publish("me/model", {**files, "model.safetensors": WEIGHTS[::-1]})
    assert find_checkpoint("me/model").name == first
    forget_hub()
    folder = find_checkpoint("me/model")
    assert folder.name == second != first
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS[::-1]


def test_a_revision_is_a_branch_or_a_commit(hub):
    files = {"config.json": CONFIG, "model.safetensors": WEIGHTS}
    other = hub.publish("me/model", {**files, "model.safetensors": b"other"}, "v1")
    hub.publish("me/model", files)
    assert find_checkpoint("me/model@v1").name == other
    assert find_checkpoint(f"me/model@{other}").name == other


def test_pinned_weights_are_those_of_the_commit(hub):
    # a Hub that has another file at the pinned commit
    hub.files["biohub/ESMC-300M", "a59b831785f907e96e6a246b1d142bfb76df31ee"] = {
        "config.json": CONFIG,
        "model.safetensors": WEIGHTS,
    }
    with pytest.raises(
        ValueError, match="SHA-256 0772d8fe64bb25e14fe6f23b80e3c9a7d215d0da3c6cba5bd356d7"
    ):
        find_checkpoint("esmc_300m")


# older versions of the library raise the error, and the next call starts the file again
@pytest.mark.skipif(
    Version(huggingface_hub.__version__) < Version("1.20"), reason="huggingface_hub does not resume"
)
def test_a_broken_download_is_resumed(hub, no_pause, monkeypatch):
    hub.publish("me/model", {"config.json": CONFIG, "model.safetensors": WEIGHTS})
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 100_000)
    hub.break_after = [1_050_000, 550_000]
    folder = find_checkpoint("me/model")
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert [asked for method, _, asked in hub.requests if method == "GET"] == [
        None,  # of config.json
        None,
        "bytes=1000000-",
        "bytes=1500000-",
    ]


def test_the_token_is_sent(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_of_this_test")
    hub.publish("me/model", {"config.json": CONFIG, "model.safetensors": WEIGHTS})
    find_checkpoint("me/model")
    assert hub.tokens == {"Bearer hf_of_this_test"}


def test_a_thread_downloads_too_and_raises_its_errors(hub):
    hub.publish("me/model", {"config.json": CONFIG, "model.safetensors": WEIGHTS})
    hub.publish("me/other", {"config.json": CONFIG})
    found = {}

    def find(name):
        try:
            found[name] = find_checkpoint(name)
        except ValueError as error:
            found[name] = error

    for name in ("me/model", "me/other"):
        thread = threading.Thread(target=find, args=(name,))
        thread.start()
        thread.join()
    assert content_of(found["me/model"])["model.safetensors"] == WEIGHTS
    assert "has neither" in str(found["me/other"])


# What is refused


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("facebook/esm2_t6_8M_UR50S", "Did you mean 'facebook/esm2_t6_8M_UR50D'"),
        ("facebok/esm2_t33_650M_UR50D", "Did you mean 'facebook/esm2_t33_650M_UR50D'"),
        ("biohub/ESMC-600", "Did you mean 'biohub/ESMC-600M'"),
        ("nobody/nothing", "Published models: esmc_300m, "),
    ],
)
def test_a_repository_that_is_not_there_gets_a_suggestion(hub, typed, meant):
    with pytest.raises(FileNotFoundError, match=f"got '{typed}', which is neither") as error:
        find_checkpoint(typed)
    assert meant in str(error.value)
    assert "`hf auth login`" in str(error.value)


def test_a_revision_that_is_not_there_is_named(hub):
    hub.publish("me/model", {"config.json": CONFIG})
    with pytest.raises(FileNotFoundError, match=r"me/model has no revision 'v7'\. Pass a branch, a tag"):
        find_checkpoint("me/model@v7")


@pytest.mark.parametrize("status", [401, 403])
def test_a_gated_repository_needs_a_login(hub, status):
    hub.answers["me/model"] = (status, "GatedRepo")
    with pytest.raises(PermissionError, match="me/model is gated") as error:
        find_checkpoint("me/model")
    assert f"Request access at {hub.url}/me/model. Log in with `hf auth login`" in str(error.value)


def test_a_login_without_access_is_named(hub):
    hub.answers["me/model"] = (403, None)
    with pytest.raises(
        PermissionError, match=r"HTTP 403\)\. Log in with `hf auth login` or set HF_TOKEN"
    ):
        find_checkpoint("me/model")


def test_a_repository_without_settings_is_no_model(hub):
    hub.publish("me/model", {"model.safetensors": WEIGHTS})
    with pytest.raises(ValueError, match=r"got me/model, which has no config\.json"):
        find_checkpoint("me/model")


@pytest.mark.parametrize("name", ["tf_model.h5", "adapter_model.safetensors", "other.safetensors"])
def test_a_repository_without_weights_that_can_be_read_is_named(hub, name):
    commit = hub.publish("me/model", {"config.json": CONFIG, name: WEIGHTS})
    with pytest.raises(ValueError, match=r"model\.safetensors or pytorch_model\.bin") as error:
        find_checkpoint("me/model")
    assert f"got me/model@{commit}, which has neither" in str(error.value)


def test_a_shard_that_is_not_there_is_named(hub):
    files = {"model.safetensors.index.json": INDEX, "model-1.safetensors": WEIGHTS}
    hub.publish("me/model", {"config.json": CONFIG, **files})
    with pytest.raises(ValueError, match=r"index\.json lists; model-2\.safetensors is missing"):
        find_checkpoint("me/model")


@pytest.mark.parametrize("index", [b"", b"[]", b'{"weight_map": 1}', b"{}"])
def test_a_damaged_index_is_named(hub, index):
    files = {"config.json": CONFIG, "model.safetensors.index.json": index}
    hub.publish("me/model", files)
    with pytest.raises(
        ValueError, match=r"model\.safetensors\.index\.json must (be|hold|have) a (JSON|weight_map)"
    ):
        find_checkpoint("me/model")


def test_a_server_error_is_named(hub, no_pause):
    hub.answers["me/model"] = (500, None)
    with pytest.raises(ConnectionError, match=f"me/model from {hub.url} failed .*500") as error:
        find_checkpoint("me/model")
    assert "Run this again, or set HF_ENDPOINT to a mirror." in str(error.value)


def test_a_download_that_breaks_each_time_leaves_what_is_complete(hub, no_pause):
    commit = hub.publish("me/model", {"config.json": CONFIG, "model.safetensors": WEIGHTS})
    hub.break_after = [0] * 100
    with pytest.raises(ConnectionError, match=f"The download of me/model@{commit} from"):
        find_checkpoint("me/model")
    hub.break_after = []
    hub.requests.clear()
    assert content_of(find_checkpoint("me/model"))["model.safetensors"] == WEIGHTS
    assert hub.downloads == ["model.safetensors"]


def test_without_a_connection_the_cache_is_used(hub, monkeypatch, forget_hub, no_pause):
    hub.publish("me/model", {"config.json": CONFIG, "model.safetensors": WEIGHTS})
    folder = find_checkpoint("me/model")
    forget_hub()
    unreachable = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", unreachable)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert find_checkpoint("me/model") == folder
    with pytest.raises(
        ConnectionError, match=r"The download of me/other from http://127\.0\.0\.1:9 failed"
    ):
        find_checkpoint("me/other")


def test_a_cache_that_cannot_be_written_is_named(hub, hub_cache):
    hub_cache.write_text("a file")
    hub.publish("me/model", {"config.json": CONFIG, "model.safetensors": WEIGHTS})
    with pytest.raises(OSError, match="cannot be written to the Hugging Face cache") as error:
        find_checkpoint("me/model")
    assert "set HF_HOME to a writable folder" in str(error.value)
