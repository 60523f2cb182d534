"""What a checkpoint file is, found out once: notes about it are believed only where they are right."""

import hashlib
import json
import os
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from fair_esm_oracle import FAMILIES, save_random_checkpoint

from sklearn_esm._checkpoints import _fingerprint
from sklearn_esm._checkpoints._download import checkpoint_folder
from sklearn_esm._checkpoints._file_state import FileState, checksum_of
from sklearn_esm._checkpoints._fingerprint import identify
from sklearn_esm._checkpoints._reader import read_checkpoint

LONG_AGO = 1_000_000_000  # seconds since 1970
posix = pytest.mark.skipif(os.name == "nt", reason="Windows keeps no time of an inode's change")


@pytest.fixture(autouse=True)
def first_process(monkeypatch, tmp_path):
    """No checkpoint is known and there are no notes."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(_fingerprint, "_known", {})


@pytest.fixture
def path(tmp_path):
    """A small checkpoint that was written long ago."""
    return save(tmp_path / "mine.pt")


@pytest.fixture
def reads(monkeypatch):
    """The files that were hashed and opened, in their order."""
    paths = []
    find_out = _fingerprint._find_out

    def reading(state, *rest):
        paths.append(Path(state.path))
        time.sleep(0.02)  # long enough for every thread to arrive
        return find_out(state, *rest)

    monkeypatch.setattr(_fingerprint, "_find_out", reading)
    return paths


def save(path, seconds=LONG_AGO, **options):
    if path.exists():
        time.sleep(0.02)  # the clock of a file system may go in steps of 10 ms
    save_random_checkpoint(path, "esm2", **{"layers": 1, "width": 8, "heads": 2, **options})
    os.utime(path, (seconds, seconds))
    return path


def begin_later_process():
    _fingerprint._known.clear()


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def folder_of_notes():
    return checkpoint_folder().parent / "sklearn_esm"


def notes():
    return sorted(folder_of_notes().iterdir()) if folder_of_notes().is_dir() else []


def only_note():
    (note,) = notes()
    return note


# What is found out


@pytest.mark.parametrize("family", FAMILIES)
def test_the_fingerprint_is_the_sha256_of_the_file(checkpoints, family):
    path = checkpoints[family].path
    assert identify(path).fingerprint == sha256(path)


def test_the_fingerprint_is_of_the_whole_of_a_large_file(tmp_path):
    path = save(tmp_path / "large.pt", width=192)
    assert path.stat().st_size > 2**20
    assert identify(path).fingerprint == sha256(path)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_architecture_is_that_of_the_checkpoint(checkpoints, family):
    path = checkpoints[family].path
    assert identify(path).architecture == read_checkpoint(path).architecture


@pytest.mark.parametrize("family", FAMILIES)
def test_a_later_process_is_told_the_same_by_the_note(checkpoints, tmp_path, reads, family):
    path = Path(shutil.copy(checkpoints[family].path, tmp_path / "copy.pt"))
    os.utime(path, (LONG_AGO, LONG_AGO))
    found_out = identify(path)
    begin_later_process()
    assert identify(path) == found_out
    assert reads == [path]


@pytest.mark.parametrize("place", ["other.pt", "folder/mine.pt", "модель ä 模型.pt"])
def test_the_same_content_elsewhere_has_the_same_fingerprint(path, tmp_path, place):
    (tmp_path / "folder").mkdir()
    copy = Path(shutil.copy(path, tmp_path / place))
    assert identify(copy) == identify(path)


def test_a_link_has_the_fingerprint_of_its_target(path, tmp_path):
    (tmp_path / "link.pt").symlink_to(path)
    assert identify(tmp_path / "link.pt") == identify(path)


def test_an_absent_file_is_not_found(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.pt"):
        identify(tmp_path / "absent.pt")


# What was replaced


@pytest.mark.parametrize("later", [False, True], ids=["this process", "a later process"])
@pytest.mark.parametrize(
    "replacement",
    [
        {"layers": 2},
        {"seed": 1, "seconds": LONG_AGO + 1},
        pytest.param({"seed": 1}, marks=posix),
    ],
    ids=["longer", "same size", "same size and modification time"],
)
def test_replaced_content_has_another_fingerprint(path, replacement, later):
    former = identify(path).fingerprint
    size = path.stat().st_size
    save(path, **replacement)
    if later:
        begin_later_process()
    assert (path.stat().st_size == size) == ("seed" in replacement)
    assert identify(path).fingerprint == sha256(path) != former


@posix
def test_content_moved_into_place_with_its_time_has_another_fingerprint(path, tmp_path):
    former = identify(path).fingerprint
    os.replace(save(tmp_path / "other.pt", seed=1), path)
    assert identify(path).fingerprint == sha256(path) != former


def test_former_content_put_back_has_the_former_fingerprint(path, tmp_path):
    former = identify(path)
    backup = shutil.copy2(path, tmp_path / "backup.pt")
    save(path, layers=2)
    identify(path)
    os.replace(backup, path)
    assert identify(path) == former


def test_content_replaced_while_it_is_read_is_read_again(path, monkeypatch):
    former = path.read_bytes()
    read = _fingerprint.read_checkpoint

    def replaced_meanwhile(path):
        monkeypatch.setattr(_fingerprint, "read_checkpoint", read)
        save(path, layers=2)
        return read(path)

    monkeypatch.setattr(_fingerprint, "read_checkpoint", replaced_meanwhile)
    found_out = identify(path)
    begin_later_process()
    for identity in (found_out, identify(path)):
        assert identity.fingerprint == sha256(path)
        assert identity.architecture.layers == 2
    assert path.read_bytes() != former


# Found out once


def test_a_file_is_hashed_once_in_a_process(path, reads):
    assert identify(path) is identify(path)
    assert reads == [path]


def test_a_file_modified_lately_is_hashed_at_each_call_until_its_times_would_change(path, reads):
    # a file system may keep times in whole seconds: what is written now can get the same time
    os.utime(path)
    assert identify(path) == identify(path)
    assert reads == [path, path]
    os.utime(path, (time.time() - 3,) * 2)
    assert identify(path) is identify(path)
    assert reads == [path, path, path]


def test_content_replaced_without_a_change_of_its_state_is_noticed(path, monkeypatch):
    # as on a file system with whole seconds, for a file that was saved twice within one
    now = time.time_ns()
    monkeypatch.setattr(
        _fingerprint, "state_of", lambda path: FileState(os.path.realpath(path), 1, now, now, 2, 3)
    )
    former = identify(path).fingerprint
    save(path, seed=1)
    assert identify(path).fingerprint == sha256(path) != former


def test_threads_that_ask_at_once_hash_once(path, reads):
    threads = 8
    barrier = Barrier(threads)

    def ask(_):
        barrier.wait()
        return identify(path)

    with ThreadPoolExecutor(threads) as pool:
        identities = list(pool.map(ask, range(threads)))
    assert {identity.fingerprint for identity in identities} == {sha256(path)}
    assert reads == [path]


def test_each_file_has_a_note_of_its_own(path, tmp_path, reads):
    other = save(tmp_path / "other.pt", seed=1)
    both = [identify(path), identify(other)]
    begin_later_process()
    assert [identify(path), identify(other)] == both
    assert reads == [path, other]


@pytest.mark.parametrize("seconds", [0, 1, -3600], ids=["now", "a second ago", "in the future"])
def test_a_file_modified_lately_leaves_no_note(path, reads, seconds):
    # it could be written again without a change of its time
    os.utime(path, (time.time() - seconds,) * 2)
    identify(path)
    assert notes() == []
    begin_later_process()
    identify(path)
    assert reads == [path, path]


# Notes that are not to be believed


@pytest.fixture
def noted(path, monkeypatch):
    """The identity of the checkpoint, which lies in a note; to be found out again costs nothing."""
    identity = identify(path)
    monkeypatch.setattr(_fingerprint, "_find_out", lambda *_: identity)
    return identity


def test_a_note_with_any_byte_damaged_is_ignored(path, noted):
    note = only_note()
    sound = note.read_bytes()
    for position in range(len(sound)):
        damaged = bytearray(sound)
        damaged[position] ^= 1 << position % 8
        note.write_bytes(damaged)
        begin_later_process()
        assert identify(path) == noted, damaged


def test_a_note_cut_short_anywhere_is_ignored(path, noted):
    note = only_note()
    sound = note.read_bytes()
    for length in range(len(sound)):
        note.write_bytes(sound[:length])
        begin_later_process()
        assert identify(path) == noted, length


@pytest.mark.parametrize(
    "content",
    ["null", "3", "NaN", '"text"', "[]", "{}", '{"checksum": null}', "[" * 100_000, "9" * 10_000],
    ids=lambda content: content[:20],
)
def test_a_note_of_other_json_is_ignored(path, reads, content):
    identity = identify(path)
    only_note().write_text(content)
    begin_later_process()
    assert identify(path) == identity
    assert reads == [path, path]


def sealed(note):
    """The note with the checksum that belongs to it."""
    return {**note, "checksum": checksum_of(note)}


@pytest.mark.parametrize(
    "change",
    [
        {"file": None},
        {"file": []},
        {"architecture": {}},
        {"architecture": None},
        {"architecture": {"of": "a later version"}},
    ],
    ids=str,
)
def test_a_note_of_another_form_is_ignored_though_its_checksum_is_right(path, reads, change):
    identity = identify(path)
    note = json.loads(only_note().read_text())
    del note["checksum"]
    only_note().write_text(json.dumps(sealed({**note, **change})))
    begin_later_process()
    assert identify(path) == identity
    assert reads == [path, path]


@pytest.mark.parametrize("part", range(6), ids=_fingerprint.FileState._fields)
def test_a_note_about_another_state_of_the_file_is_not_taken(path, reads, part):
    identity = identify(path)
    note = json.loads(only_note().read_text())
    del note["checksum"]
    note["fingerprint"] = "of another file"
    # the counter-check: as it stands, it would be taken
    only_note().write_text(json.dumps(sealed(note)))
    begin_later_process()
    assert identify(path).fingerprint == "of another file"
    note["file"][part] *= 2
    only_note().write_text(json.dumps(sealed(note)))
    begin_later_process()
    assert identify(path) == identity
    assert reads == [path, path]


def test_a_damaged_note_is_replaced_by_a_right_one(path, reads):
    identify(path)
    sound = only_note().read_bytes()
    only_note().write_bytes(sound[:-1])
    begin_later_process()
    identify(path)
    assert only_note().read_bytes() == sound


# Disks that refuse


def full(*_, **__):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("module", "function"),
    [(tempfile, "mkstemp"), (json, "dump"), (os, "replace"), (Path, "mkdir"), (Path, "read_text")],
    ids=lambda given: getattr(given, "__name__", given),
)
def test_where_no_note_can_be_kept_the_file_is_read_again(path, reads, monkeypatch, module, function):
    with monkeypatch.context() as refusing:
        refusing.setattr(module, function, full)
        for _ in range(2):
            begin_later_process()
            assert identify(path).fingerprint == sha256(path)
    assert reads == [path, path]
    assert [note.suffix for note in notes() if note.suffix != ".json"] == []  # no draft is left


def test_a_file_in_place_of_the_folder_is_no_error(path, reads):
    folder_of_notes().parent.mkdir(parents=True)
    folder_of_notes().write_text("in the way")
    for _ in range(2):
        begin_later_process()
        assert identify(path).fingerprint == sha256(path)
    assert reads == [path, path]
    assert folder_of_notes().read_text() == "in the way"


def test_a_folder_in_place_of_the_note_is_no_error(path):
    identify(path)
    note = only_note()
    note.unlink()
    note.mkdir()
    begin_later_process()
    assert identify(path).fingerprint == sha256(path)
    assert notes() == [note]  # no draft is left


def test_a_user_without_a_home_gets_no_note_and_no_error(path, tmp_path, monkeypatch):
    # as in containers that run under a number nobody has entered
    for variable in ("TORCH_HOME", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(pytest.importorskip("pwd"), "getpwuid", {}.__getitem__)
    monkeypatch.chdir(tmp_path)
    assert identify(path).fingerprint == sha256(path)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.pt"]


# Files that are no checkpoint


def test_a_damaged_checkpoint_is_refused_and_leaves_no_note(path):
    path.write_bytes(path.read_bytes()[:-1000])
    os.utime(path, (LONG_AGO, LONG_AGO))
    for _ in range(2):
        with pytest.raises(ValueError, match=r"mine\.pt must be a PyTorch checkpoint"):
            identify(path)
    assert notes() == []


def test_a_checkpoint_that_was_mended_is_read(path):
    sound = path.read_bytes()
    path.write_bytes(bytes(len(sound)))
    with pytest.raises(ValueError, match=r"mine\.pt"):
        identify(path)
    path.write_bytes(sound)
    assert identify(path).fingerprint == sha256(path)
