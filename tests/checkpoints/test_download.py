"""Every server here runs on 127.0.0.1 in this process; nothing reaches further."""

import errno
import io
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from mirror import PAYLOAD, Mirror, running_mirror

from sklearn_esm._checkpoints import _download
from sklearn_esm._checkpoints._download import checkpoint_file, checkpoint_folder, checkpoint_url

NAME = "esm2_t6_8M_UR50D"
OTHER_PAYLOAD = PAYLOAD[:4] + PAYLOAD[:3:-1]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def mirror(monkeypatch):
    with running_mirror() as server:
        monkeypatch.setenv("SKLEARN_ESM_MIRROR", server.url)
        yield server


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    """Torch hub's checkpoint folder for this test, not created yet."""
    for variable in ("SKLEARN_ESM_OFFLINE", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(_download, "_PAUSE", 0.0)
    return tmp_path / "hub" / "checkpoints"


def put_part(folder, mirror, content, version='"first"'):
    """Leave what an interrupted download leaves."""
    folder.mkdir(parents=True)
    (folder / f"{NAME}.pt.part").write_bytes(content)
    note = {"url": f"{mirror.url}/models/{NAME}.pt", "version": version}
    (folder / f"{NAME}.pt.part.json").write_text(json.dumps(note))


def in_another_process(code):
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


DOWNLOAD = f"""
from sklearn_esm._checkpoints._download import checkpoint_file
print(checkpoint_file({NAME!r}))
"""


# Where


def test_downloaded_file_is_the_servers_and_nothing_else_remains(mirror, folder, capsys):
    path = checkpoint_file(NAME)
    assert path == folder / f"{NAME}.pt"
    assert path.read_bytes() == PAYLOAD
    assert mirror.requests == [(f"/models/{NAME}.pt", None, None)]
    assert {file.name for file in folder.iterdir()} <= {f"{NAME}.pt", f"{NAME}.pt.lock"}
    captured = capsys.readouterr()
    assert f"{NAME}.pt" in captured.err  # the progress bar
    assert captured.out == ""


def test_file_that_fair_esm_downloaded_is_used_without_a_request(mirror, folder):
    folder.mkdir(parents=True)
    (folder / f"{NAME}.pt").write_bytes(b"there already")
    assert checkpoint_file(NAME).read_bytes() == b"there already"
    assert mirror.requests == []
    assert [file.name for file in folder.iterdir()] == [f"{NAME}.pt"]


def test_alias_is_downloaded_under_the_name_of_its_model(mirror, folder):
    assert checkpoint_file("esm1v_t33_650M_UR90S") == folder / "esm1v_t33_650M_UR90S_1.pt"
    assert mirror.requests == [("/models/esm1v_t33_650M_UR90S_1.pt", None, None)]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TORCH_HOME": "/a/torch", "XDG_CACHE_HOME": "/b"}, "/a/torch/hub/checkpoints"),
        ({"TORCH_HOME": "~/torch", "HOME": "/c"}, "/c/torch/hub/checkpoints"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/torch/hub/checkpoints"),
        ({"HOME": "/c"}, "/c/.cache/torch/hub/checkpoints"),
    ],
)
@pytest.mark.parametrize("torch_is_loaded", [False, True])
def test_folder_is_torch_hubs(monkeypatch, environment, expected, torch_is_loaded):
    if torch_is_loaded:
        import torch.hub  # noqa: F401 - it is asked where it is loaded
    else:
        monkeypatch.delitem(sys.modules, "torch.hub", raising=False)
    for variable in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    assert checkpoint_folder() == Path(expected)


def test_folder_set_in_torch_is_honoured(monkeypatch, tmp_path):
    import torch.hub

    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    torch.hub.set_dir(tmp_path / "elsewhere")
    assert checkpoint_folder() == tmp_path / "elsewhere" / "checkpoints"


def test_address_is_metas_unless_a_mirror_is_set(monkeypatch):
    monkeypatch.delenv("SKLEARN_ESM_MIRROR", raising=False)
    assert checkpoint_url(NAME) == f"https://dl.fbaipublicfiles.com/fair-esm/models/{NAME}.pt"
    monkeypatch.setenv("SKLEARN_ESM_MIRROR", "http://example.org/esm/")
    assert checkpoint_url(NAME) == f"http://example.org/esm/models/{NAME}.pt"


@pytest.mark.parametrize("mirror_url", ["file:///data", "ftp://example.org", "/data", "https://"])
def test_mirror_must_be_http(monkeypatch, folder, mirror_url):
    monkeypatch.setenv("SKLEARN_ESM_MIRROR", mirror_url)
    with pytest.raises(ValueError, match="must be an http:// or https:// URL") as refusal:
        checkpoint_file(NAME)
    assert repr(mirror_url) in str(refusal.value)
    assert str(folder) in str(refusal.value)


def test_a_name_cannot_lead_out_of_the_folder(mirror):
    with pytest.raises(ValueError, match="name of a published ESM model"):
        checkpoint_file("../../secret")
    assert mirror.requests == []


# Interrupted


def test_broken_connection_is_resumed_within_the_call(mirror):
    mirror.break_after = [300_000, 200_000]
    assert checkpoint_file(NAME).read_bytes() == PAYLOAD
    assert [request[1:] for request in mirror.requests] == [
        (None, None),
        ("bytes=300000-", '"first"'),
        ("bytes=500000-", '"first"'),
    ]


def test_after_three_breaks_the_next_call_resumes(mirror, folder):
    mirror.break_after = [100_000, 100_000, 100_000]
    with pytest.raises(ConnectionError, match="after 300000 of 1048576 bytes") as failure:
        checkpoint_file(NAME)
    assert f"first 300000 bytes are kept in {folder / NAME}.pt.part" in str(failure.value)
    assert checkpoint_url(NAME) in str(failure.value)
    assert not (folder / f"{NAME}.pt").exists()

    assert checkpoint_file(NAME).read_bytes() == PAYLOAD
    assert mirror.ranges == [None, "bytes=100000-", "bytes=200000-", "bytes=300000-"]


def test_break_without_progress_is_not_tried_again(mirror):
    mirror.break_after = [0]
    with pytest.raises(ConnectionError, match="Nothing is kept"):
        checkpoint_file(NAME)
    assert len(mirror.requests) == 1


def test_silent_server_does_not_hang_the_download(mirror, monkeypatch):
    monkeypatch.setattr(_download, "_TIMEOUT", 0.2)
    mirror.gate.clear()
    with pytest.raises(ConnectionError, match="timed out"):
        checkpoint_file(NAME)


def test_date_identifies_the_version_where_there_is_no_strong_etag(mirror):
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    mirror.headers = {"ETag": 'W/"weak"', "Last-Modified": date}
    mirror.break_after = [300_000]
    assert checkpoint_file(NAME).read_bytes() == PAYLOAD
    assert mirror.requests[1][1:] == ("bytes=300000-", date)


def test_file_without_a_version_starts_again(mirror):
    mirror.headers = {}
    mirror.break_after = [300_000]
    assert checkpoint_file(NAME).read_bytes() == PAYLOAD
    assert mirror.ranges == [None, None]


@pytest.mark.parametrize("heeds_if_range", [True, False])
def test_changed_file_starts_again(mirror, folder, heeds_if_range):
    put_part(folder, mirror, PAYLOAD[:300_000])
    mirror.payload, mirror.headers = OTHER_PAYLOAD, {"ETag": '"second"'}
    mirror.heeds_if_range = heeds_if_range
    assert checkpoint_file(NAME).read_bytes() == OTHER_PAYLOAD
    assert mirror.ranges[0] == "bytes=300000-"


def test_server_that_ignores_ranges_starts_again(mirror, folder):
    put_part(folder, mirror, PAYLOAD[:300_000])
    mirror.heeds_range = False
    assert checkpoint_file(NAME).read_bytes() == PAYLOAD
    assert mirror.ranges == ["bytes=300000-"]


def test_server_that_answers_another_range_starts_again(mirror, folder):
    put_part(folder, mirror, PAYLOAD[:300_000])
    mirror.range_slips_by = 1000
    assert checkpoint_file(NAME).read_bytes() == PAYLOAD
    assert mirror.ranges == ["bytes=300000-", None]


def test_part_longer_than_the_file_starts_again(mirror, folder):
    put_part(folder, mirror, PAYLOAD + b"more")
    assert checkpoint_file(NAME).read_bytes() == PAYLOAD
    assert mirror.ranges == [f"bytes={len(PAYLOAD) + 4}-", None]


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"url": "http://elsewhere", "version": "x"}'])
def test_part_of_unknown_origin_is_not_continued(mirror, folder, note):
    put_part(folder, mirror, b"of what?")
    (folder / f"{NAME}.pt.part.json").write_text(note)
    assert checkpoint_file(NAME).read_bytes() == PAYLOAD
    assert mirror.ranges == [None]


def test_killed_download_is_resumed_by_the_next_call(mirror, folder):
    mirror.pause = 0.05
    part = folder / f"{NAME}.pt.part"
    process = in_another_process(DOWNLOAD)
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size > 100_000):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert not (folder / f"{NAME}.pt").exists()
    arrived = part.stat().st_size

    mirror.pause = 0.0
    assert checkpoint_file(NAME).read_bytes() == PAYLOAD
    assert mirror.ranges == [None, f"bytes={arrived}-"]


# Refused


def test_404_names_url_and_path(mirror, folder):
    mirror.status = 404
    with pytest.raises(FileNotFoundError, match="answered HTTP 404") as failure:
        checkpoint_file(NAME)
    assert checkpoint_url(NAME) in str(failure.value)
    assert f"copy the file to {folder / NAME}.pt" in str(failure.value)
    assert "SKLEARN_ESM_MIRROR" in str(failure.value)


def test_other_status_keeps_what_has_arrived(mirror, folder):
    put_part(folder, mirror, PAYLOAD[:300_000])
    mirror.status = 503
    with pytest.raises(ConnectionError, match="answered HTTP 503") as failure:
        checkpoint_file(NAME)
    assert checkpoint_url(NAME) in str(failure.value)
    assert "first 300000 bytes are kept" in str(failure.value)


@pytest.mark.parametrize("value", ["1", "true", "YES"])
def test_offline_makes_no_request(mirror, folder, monkeypatch, value):
    monkeypatch.setenv("SKLEARN_ESM_OFFLINE", value)
    with pytest.raises(FileNotFoundError, match="SKLEARN_ESM_OFFLINE") as failure:
        checkpoint_file(NAME)
    assert checkpoint_url(NAME) in str(failure.value)
    assert f"{folder / NAME}.pt" in str(failure.value)
    assert mirror.requests == []


@pytest.mark.parametrize("value", ["0", "", "false"])
def test_offline_switched_off_downloads(mirror, monkeypatch, value):
    monkeypatch.setenv("SKLEARN_ESM_OFFLINE", value)
    assert checkpoint_file(NAME).read_bytes() == PAYLOAD


def test_unreachable_server_names_url_path_and_way_out(folder, monkeypatch):
    with Mirror() as server:
        port = server.server_port  # closed again: nothing listens there
    monkeypatch.setenv("SKLEARN_ESM_MIRROR", f"http://127.0.0.1:{port}")
    with pytest.raises(ConnectionError, match="no connection") as failure:
        checkpoint_file(NAME)
    assert f"http://127.0.0.1:{port}/models/{NAME}.pt" in str(failure.value)
    assert f"{folder / NAME}.pt" in str(failure.value)
    assert "SKLEARN_ESM_MIRROR" in str(failure.value)


# The disk


def test_full_disk_is_noticed_before_the_first_byte(mirror, folder, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(OSError, match="is full") as failure:
        checkpoint_file(NAME)
    assert failure.value.errno == errno.ENOSPC
    assert f"{folder / NAME}.pt. It needs 1048576 more bytes, and 1000 bytes are free." in str(
        failure.value
    )
    assert not (folder / f"{NAME}.pt").exists()


def test_disk_that_fills_up_leaves_a_part_to_resume(mirror, folder, monkeypatch):
    class FullDisk(io.FileIO):
        def write(self, data):
            if self.tell() + len(data) > 327_680:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)

    open_any = Path.open

    def open_on_full_disk(path, *args, **kwargs):
        return FullDisk(path, *args) if path.suffix == ".part" else open_any(path, *args, **kwargs)

    with monkeypatch.context() as full:
        full.setattr(Path, "open", open_on_full_disk)
        with pytest.raises(OSError, match="needs 720896 more bytes") as failure:
            checkpoint_file(NAME)
    assert failure.value.errno == errno.ENOSPC
    assert not (folder / f"{NAME}.pt").exists()

    assert checkpoint_file(NAME).read_bytes() == PAYLOAD
    assert mirror.ranges == [None, "bytes=327680-"]


def test_unwritable_folder_names_the_path_and_the_way_out(mirror, tmp_path, folder):
    (tmp_path / "hub").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="cannot be written") as failure:
        checkpoint_file(NAME)
    assert f"{folder / NAME}.pt" in str(failure.value)
    assert "Set TORCH_HOME" in str(failure.value)
    assert mirror.requests == []


# Several at once


def test_two_processes_download_it_once(mirror):
    mirror.gate.clear()
    first = in_another_process(DOWNLOAD)
    deadline = time.monotonic() + 60
    while not mirror.requests:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    second = in_another_process(DOWNLOAD)
    assert "Waiting for another process to download" in second.stderr.readline()
    mirror.gate.set()
    outputs = {process.communicate(timeout=60)[0].strip() for process in (first, second)}
    assert outputs == {str(checkpoint_file(NAME))}
    assert checkpoint_file(NAME).read_bytes() == PAYLOAD
    assert len(mirror.requests) == 1
