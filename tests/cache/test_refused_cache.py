"""A folder's cache on a disk that is full, read-only or slow: the estimators go on without it."""

import os
import shutil
import sqlite3
import tempfile
import warnings
from contextlib import contextmanager
from pathlib import Path

import pytest
from fair_esm_oracle import assert_faithful
from known_vectors import DATABASE, FINGERPRINT, VECTORS, key, known, lost, missing, put

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm._cache import _database, cache_info, open_cache

SEQUENCES = ["MKTAYIAKQRQIS", "GLDALQITV", "A", "GIGKFLHSAKKFGKAFV"]


# a disk that refuses


@contextmanager
def largest_file(size):
    """Let no file grow beyond a size; the disk is full there, as it were."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def one_warning():
    with pytest.warns(UserWarning, match="cannot be used") as caught:
        yield
    assert len(caught) == 1


def test_a_full_disk_gives_one_warning_and_loses_nothing(folder):
    put(folder, VECTORS)
    with largest_file(200_000), open_cache(folder, FINGERPRINT) as cache:
        with one_warning():
            for start in range(1000, 3000, 1000):
                cache.put(known(range(start, start + 1000), width=320))
                assert cache.claim([key(start)]) == [True]
        assert lost(folder) == {}
    put(folder, known([20]))
    assert lost(folder, known([*range(12), 20])) == {}
    assert not list(folder.glob("*.damaged*"))


@pytest.mark.parametrize("size", [0, 40_000, 120_000])
def test_a_full_disk_does_not_keep_an_estimator_from_its_work(checkpoints, folder, size):
    transformer = ESMEmbeddingTransformer(checkpoints["esm2"].path, cache=None, layer="all")
    fresh = transformer.fit_transform(SEQUENCES)
    with largest_file(size), one_warning():
        actual = transformer.set_params(cache=folder, batch_tokens=1).transform(SEQUENCES)
    assert_faithful(actual, fresh)


@pytest.mark.parametrize("code", ["PROTOCOL", "IOERR", "IOERR_SHORT_READ", "BUSY", "BUSY_RECOVERY"])
def test_what_the_disk_refuses_is_no_damage(folder, monkeypatch, code):
    def refuse(*_, **__):
        error = sqlite3.OperationalError(code)
        error.sqlite_errorcode = getattr(sqlite3, f"SQLITE_{code}")
        raise error

    put(folder, VECTORS)
    with monkeypatch.context() as patch, one_warning():
        patch.setattr(_database, "_WAIT", 0.1)
        patch.setattr(_database, "_connect", refuse)
        assert len(lost(folder)) == 12
    assert lost(folder) == {}


# a folder that is others'


@pytest.fixture
def public():
    """A folder that every user can reach; pytest's own are for one."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


@contextmanager
def read_only(folder):
    """Take the right to write in a folder; from root as well, who needs none."""
    contents = [*folder.iterdir(), folder]
    for path in contents:
        path.chmod(0o555 if path.is_dir() else 0o444)
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        if not os.access(folder, os.R_OK | os.X_OK, effective_ids=root) or os.access(
            folder, os.W_OK, effective_ids=root
        ):
            pytest.skip("no folder here can be made read-only")
        yield
    finally:
        if root:
            os.seteuid(0)
        for path in reversed(contents):
            path.chmod(0o755)


def test_a_read_only_folder_serves_its_vectors_and_takes_none(public):
    put(public, VECTORS)
    with read_only(public), open_cache(public, FINGERPRINT) as cache:
        assert missing(cache, VECTORS) == {}
        with one_warning():
            cache.put(known([20]))
            cache.put(known([21]))
        assert lost(public) == {}
        assert cache_info(public)[3:] == (12, (public / DATABASE).stat().st_size)
    assert [path.name for path in public.iterdir()] == [DATABASE]


def test_a_read_only_folder_grants_every_claim(public):
    put(public, VECTORS)
    with open_cache(public, FINGERPRINT) as owner:
        owner.claim(list(VECTORS))
    with read_only(public), open_cache(public, FINGERPRINT) as cache, one_warning():
        assert cache.claim(list(VECTORS)) == [True] * 12


def test_a_read_only_folder_with_a_log_left_behind_only_forgets(public, folder):
    with open_cache(folder, FINGERPRINT) as cache:
        cache.put(VECTORS)
        shutil.copytree(folder, public, dirs_exist_ok=True)
    with read_only(public), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lost(public)
    assert lost(public) == {}


def test_damage_in_a_read_only_folder_stays_where_it_is(public):
    put(public, VECTORS)
    (public / DATABASE).write_bytes(b"no database\n" * 500)
    with read_only(public), one_warning():
        assert len(lost(public)) == 12
    assert [path.name for path in public.iterdir()] == [DATABASE]


def test_a_folder_that_cannot_be_made_gives_one_warning(public):
    with read_only(public), open_cache(public / "cache", FINGERPRINT) as cache, one_warning():
        assert missing(cache, VECTORS) == VECTORS
        assert cache.claim([key(1)]) == [True]
        cache.put(VECTORS)
        assert missing(cache, VECTORS) == VECTORS


def test_a_file_in_the_place_of_the_folder_gives_one_warning(folder):
    folder.write_text("mine")
    with open_cache(folder, FINGERPRINT) as cache, one_warning():
        assert missing(cache, VECTORS) == VECTORS
        cache.put(VECTORS)
    assert folder.read_text() == "mine"


def test_a_read_only_folder_does_not_keep_an_estimator_from_its_work(checkpoints, public):
    path = shutil.copy(checkpoints["esm2"].path, public / "model.pt")
    (public / "cache").mkdir()
    transformer = ESMEmbeddingTransformer(path, cache=None)
    fresh = transformer.fit_transform([*SEQUENCES, "MKT"])
    transformer.set_params(cache=public / "cache").transform(SEQUENCES)
    with read_only(public / "cache"):
        assert_faithful(transformer.transform(SEQUENCES), fresh[:4])
        with one_warning():
            assert_faithful(transformer.transform([*SEQUENCES, "MKT"]), fresh)
