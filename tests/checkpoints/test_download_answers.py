"""Answers of a server that are no checkpoint: a log-in page, an error, nothing. None is installed."""

import json
import time

import pytest
from mirror import PAYLOAD, running_mirror

from sklearn_esm._checkpoints import _download
from sklearn_esm._checkpoints._download import checkpoint_file, checkpoint_url

NAME = "esm2_t6_8M_UR50D"


@pytest.fixture
def mirror(monkeypatch):
    for variable in ("SKLEARN_ESM_OFFLINE", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(_download, "_PAUSE", 0.0)
    with running_mirror() as server:
        monkeypatch.setenv("SKLEARN_ESM_MIRROR", server.url)
        yield server


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    """Torch hub's checkpoint folder for this test, not created yet."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub" / "checkpoints"


def kept(folder):
    """The names of the files in the folder, but for locks."""
    return sorted(file.name for file in folder.iterdir() if file.suffix != ".lock")


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Length": None},
        {"Content-Type": "text/html; charset=utf-8"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/json"},
        {"Content-Type": "application/problem+json"},
        {"Content-Type": "application/xhtml+xml; charset=utf-8"},
        {"Content-Type": "Application/XML"},
    ],
    ids=str,
)
def test_answer_that_is_no_checkpoint_is_refused(mirror, folder, headers):
    mirror.headers = headers
    with pytest.raises(ConnectionError, match="must send a file of known length"):
        checkpoint_file(NAME)
    assert kept(folder) == []


def test_answer_of_no_length_is_refused(mirror, folder):
    mirror.payload = b""
    with pytest.raises(ConnectionError, match=r"of known length; got .* length 0\."):
        checkpoint_file(NAME)
    assert kept(folder) == []


LOG_IN = b'{"message": "please log in"}'


@pytest.mark.parametrize("kind", [None, "application/octet-stream", "binary/octet-stream"])
@pytest.mark.parametrize(
    "content",
    [LOG_IN, LOG_IN * 100_000, b"\n<!DOCTYPE html><html>403</html>", b"PK", b"P", bytes(300_000)],
    ids=["json", "long json", "page", "two bytes", "one byte", "zeros"],
)
def test_content_that_is_no_pytorch_file_is_not_installed(mirror, folder, kind, content):
    mirror.payload, mirror.headers = content, {"ETag": '"first"', "Content-Type": kind}
    with pytest.raises(
        ConnectionError, match=r"PyTorch file; got .* Nothing is kept; the next"
    ) as failure:
        checkpoint_file(NAME)
    assert f"must send a PyTorch file; got a file that begins with {content[:16]!r}" in str(
        failure.value
    )
    assert f"copy the file to {folder / NAME}.pt" in str(failure.value)
    assert kept(folder) == []
    assert len(mirror.requests) == 1

    mirror.payload, mirror.headers = PAYLOAD, {"Content-Type": "application/octet-stream"}
    assert checkpoint_file(NAME).read_bytes() == PAYLOAD
    assert mirror.ranges == [None, None]


def test_content_that_is_no_pytorch_file_is_noticed_at_its_first_bytes(mirror, folder):
    mirror.payload = bytes(50_000_000)
    mirror.pause = 0.05  # all of it would take more than a minute
    started = time.monotonic()
    with pytest.raises(ConnectionError, match="must send a PyTorch file"):
        checkpoint_file(NAME)
    assert time.monotonic() - started < 20
    assert kept(folder) == []


def test_file_of_the_older_format_is_installed(mirror):
    mirror.payload = b"\x80\x02" + PAYLOAD
    assert checkpoint_file(NAME).read_bytes() == mirror.payload


def test_part_that_is_no_pytorch_file_is_not_completed(mirror, folder):
    # left by a version that did not look
    folder.mkdir(parents=True)
    (folder / f"{NAME}.pt.part").write_bytes(LOG_IN)
    note = {"url": checkpoint_url(NAME), "version": '"first"'}
    (folder / f"{NAME}.pt.part.json").write_text(json.dumps(note))
    with pytest.raises(ConnectionError, match=r"PyTorch file; got .* Nothing is kept; the next"):
        checkpoint_file(NAME)
    assert kept(folder) == []
    assert checkpoint_file(NAME).read_bytes() == PAYLOAD


def test_page_in_place_of_the_rest_leaves_what_has_arrived(mirror, folder):
    mirror.break_after = [300_000, 0]
    with pytest.raises(ConnectionError, match="after 300000 of 1048576 bytes"):
        checkpoint_file(NAME)
    mirror.payload, mirror.headers = b"<html></html>", {"Content-Type": "text/html"}
    with pytest.raises(ConnectionError, match="must send a file of known length"):
        checkpoint_file(NAME)
    mirror.payload, mirror.headers = PAYLOAD, {"ETag": '"first"'}
    assert checkpoint_file(NAME).read_bytes() == PAYLOAD
    assert mirror.ranges[-1] == "bytes=300000-"
