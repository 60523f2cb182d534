"""A cache of the Hugging Face Hub of each test's own, and a Hub on this machine."""

import pytest
from hub_server import running_hub

from sklearn_esm._checkpoints import _hub, _hub_checksum, _identity

PRIVATE = ("HF_TOKEN", "HF_ENDPOINT", "HF_HOME", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")


@pytest.fixture
def forget_hub(monkeypatch):
    """A function that forgets what this process knows of the Hub."""

    def forget():
        for module, name in (
            (_hub, "_commits"),
            (_hub, "_files"),
            (_identity, "_known"),
            (_identity, "_contents"),
            (_hub_checksum, "_known"),
        ):
            monkeypatch.setattr(module, name, {})

    forget()
    return forget


@pytest.fixture
def hub_cache(monkeypatch, tmp_path, forget_hub):
    """An empty cache; the Hub is not there."""
    constants = pytest.importorskip("huggingface_hub.constants")
    for variable in PRIVATE:
        monkeypatch.delenv(variable, raising=False)
    folder = tmp_path / "hub cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    # newer versions of the client ask the Hub for a list, and keep it beside the cache
    monkeypatch.setattr(constants, "AGENT_HARNESSES_PATH", str(tmp_path / "harnesses"), raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    return folder


@pytest.fixture
def hub(monkeypatch, hub_cache):
    """A Hub that answers."""
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session

    monkeypatch.delenv("SKLEARN_ESM_OFFLINE", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    close_session()
    with running_hub() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield server
        close_session()
