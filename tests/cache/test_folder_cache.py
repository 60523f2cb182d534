"""The cache in a folder: exact, kept between runs, and shrunk on request."""

import os
import shutil
import sqlite3
import time
from functools import partial

import numpy as np
import pytest
from known_vectors import DATABASE, FINGERPRINT, key, known, missing, put
from numpy.testing import assert_array_equal

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm._cache import _contents, _database, _folder, cache_info, open_cache, prune_cache

SEQUENCES = ["MKTAYIAKQRQIS", "GLDALQITV", "A", "GIGKFLHSAKKFGKAFV"]


def kept(folder, vectors, fingerprint=FINGERPRINT):
    """The numbers of the vectors that are in the folder; they must be right."""
    with open_cache(folder, fingerprint) as cache:
        lost = missing(cache, vectors)
    return [int(known.sequence) for known in vectors if known not in lost]


def bytes_of(folder):
    return sum(path.stat().st_size for path in folder.iterdir())


# what is put and got


def test_a_vector_comes_back_bit_for_bit(opened):
    bits = np.array([0, 1 << 31, 1, 0x7F800000, 0x7FC01234, 0xFFFFFFFF, 0x3DCCCCCD], dtype=np.uint32)
    opened.put({key(1): bits.view(np.float32)})
    (found,) = opened.get([key(1)])
    assert found.dtype == np.float32
    assert_array_equal(found.view(np.uint32), bits)


def test_a_column_of_a_matrix_comes_back(opened):
    matrix = np.arange(12, dtype=np.float32).reshape(3, 4)
    opened.put({key(1): matrix[:, 1]})
    assert_array_equal(opened.get([key(1)]), [[1, 5, 9]])


def test_what_was_never_put_is_not_there(opened):
    assert opened.get([key(1)]) == [None]


def test_vectors_come_in_the_order_asked_for_and_as_often(opened):
    vectors = known(range(3))
    opened.put(vectors)
    asked = [key(2), key(7), key(0), key(2)]
    found = opened.get(asked)
    assert found[1] is None
    for number in (0, 2, 3):
        assert_array_equal(found[number], vectors[asked[number]])


@pytest.mark.parametrize(
    "change",
    [{"dtype": "float16"}, {"layer": 5}, {"pooling": "max"}, {"window": 40}, {"sequence": "00011"}],
    ids=lambda change: next(iter(change)),
)
def test_keys_that_differ_in_one_field_are_different(opened, change):
    opened.put(known([1]))
    assert opened.get([key(1)._replace(**change)]) == [None]


def test_every_checkpoint_has_a_database_of_its_own(folder):
    put(folder, known([1]))
    assert kept(folder, known([1]), "another") == []
    assert sorted(path.name for path in folder.iterdir()) == [DATABASE, "another.v3.sqlite"]


def test_a_second_vector_under_a_key_replaces_the_first(opened, folder):
    opened.put({key(1): np.zeros(16, dtype=np.float32)})
    opened.put(known([1]))
    assert missing(opened, known([1])) == {}
    opened.close()
    assert missing(opened, known([1])) == {}
    assert cache_info(folder).vectors == 1


def test_vectors_survive_closing_and_opening(folder):
    for number in range(3):
        put(folder, known([number]))
    assert kept(folder, known(range(3))) == [0, 1, 2]


def test_a_closed_database_is_one_file(folder):
    put(folder, known([1]))
    assert [path.name for path in folder.iterdir()] == [DATABASE]


def test_the_folder_is_made_with_its_parents_where_the_tilde_says(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    put("~/not/there yet", known([1]))
    assert kept(tmp_path / "not" / "there yet", known([1])) == [1]
    assert cache_info("~/not/there yet").location == str(tmp_path / "not" / "there yet")


def test_a_relative_folder_stays_the_same_when_the_working_directory_changes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open_cache("here", FINGERPRINT) as cache:
        monkeypatch.chdir("/")
        cache.put(known([1]))
    assert kept(tmp_path / "here", known([1])) == [1]


def test_the_disk_holds_little_more_than_the_numbers(folder):
    put(folder, known(range(1000), width=320))
    raw = 1000 * 320 * 4
    assert raw < bytes_of(folder) < 1.25 * raw + 200_000


def test_no_sequence_can_be_read_from_the_files(folder):
    sequence = "MKTAYIAKQRQISFVKSHFSRQ"
    with open_cache(folder, FINGERPRINT) as cache:
        wanted = key(1)._replace(sequence=sequence)
        cache.claim([wanted])
        cache.put({wanted: np.ones(16, dtype=np.float32)})
        # the log is looked at as well: it is merged at the end
        data = b"".join(path.read_bytes() for path in folder.iterdir())
    data += (folder / DATABASE).read_bytes()
    assert b"vectors" in data
    assert sequence[:6].encode() not in data


def test_ten_thousand_vectors_are_read_in_twenty_queries(opened):
    matrix = np.random.default_rng(0).standard_normal((10_000, 320), dtype=np.float32)
    keys = [key(number) for number in range(10_000)]
    opened.put(dict(zip(keys, matrix, strict=True)))
    statements = []
    opened._database.connection.set_trace_callback(statements.append)
    for start in range(0, 10_000, 1000):
        found = opened.get(keys[start : start + 1000])
        assert_array_equal(found, matrix[start : start + 1000])
    assert len(statements) <= 20


def test_two_keys_of_the_same_number_are_never_mixed_up(folder, monkeypatch):
    monkeypatch.setattr(_folder, "numbers_of", lambda digests: [7] * len(digests))
    with open_cache(folder, FINGERPRINT) as cache:
        cache.put(known([1]))
        assert missing(cache, known([1])) == {}
        assert missing(cache, known([2])).keys() == {key(2)}
    put(folder, known([2]))
    assert kept(folder, known([1])) == []
    assert kept(folder, known([2])) == [2]
    assert len(kept(folder, known([1, 2]))) <= 1


# how much there is, and less of it


def test_the_information_counts_vectors_and_the_files_bytes(folder):
    put(folder, known(range(30)))
    put(folder, known(range(12)), "another")
    info = cache_info(folder)
    assert info == (str(folder), 0, 0, 42, bytes_of(folder))


def test_the_information_includes_a_database_in_use(opened, folder):
    opened.put(known(range(30)))
    info = cache_info(folder)
    assert info.vectors == 30
    assert info.bytes == bytes_of(folder)
    assert len(list(folder.iterdir())) == 3  # with the log and its index


def test_a_folder_that_is_not_there_holds_nothing_and_is_not_made(folder):
    prune_cache(folder, 0)
    assert cache_info(folder) == (str(folder), 0, 0, 0, 0)
    assert not folder.exists()


def test_files_that_come_and_go_do_not_disturb_the_information(folder):
    # between a listing and a look at its files, whoever has the database open may close it
    put(folder, known([1]))
    (folder / f"{DATABASE}.damaged-wal").symlink_to(folder / "gone")
    assert cache_info(folder).vectors == 1
    assert cache_info(folder).bytes == (folder / DATABASE).stat().st_size


def test_hits_are_sequences_served_and_misses_sequences_computed(checkpoints, cache):
    transformer = ESMEmbeddingTransformer(checkpoints["esm2"].path, layer=[1, 2], cache=cache)
    before = cache_info(cache)
    transformer.fit(SEQUENCES).transform(SEQUENCES[:3])
    transformer.transform(SEQUENCES + SEQUENCES[:2])
    info = cache_info(cache)
    assert (info.hits - before.hits, info.misses - before.misses) == (3, 4)
    assert info.vectors - before.vectors == 8  # two layers


def test_no_cache_holds_nothing(checkpoints):
    ESMEmbeddingTransformer(checkpoints["esm2"].path, cache=None).fit_transform(SEQUENCES)
    assert (cache_info(None).location, cache_info(None).vectors, cache_info(None).bytes) == (None, 0, 0)


def test_pruning_keeps_the_newest(folder):
    vectors = known(range(600), width=320)
    for start in range(0, 600, 100):
        put(folder, dict(list(vectors.items())[start : start + 100]))
    prune_cache(folder, 400_000)
    left = kept(folder, vectors)
    assert left == list(range(600 - len(left), 600))
    assert 200 < len(left) < 300
    assert 300_000 < bytes_of(folder) < 450_000


def test_a_vector_put_again_is_new_again(folder):
    put(folder, known(range(200), width=320))
    put(folder, known([0], width=320))
    prune_cache(folder, 200_000)
    left = kept(folder, known(range(200), width=320))
    assert left[0] == 0
    assert left[1:] == list(range(201 - len(left), 200))


def test_pruning_to_nothing_leaves_no_vector_and_hardly_a_byte(folder):
    for fingerprint in (FINGERPRINT, "another"):
        put(folder, known(range(500), width=320), fingerprint)
    prune_cache(folder, 0)
    assert cache_info(folder).vectors == 0
    assert bytes_of(folder) < 200_000
    put(folder, known([1]))
    assert kept(folder, known([1])) == [1]


def test_pruning_to_more_than_there_is_removes_nothing(folder):
    put(folder, known(range(100)))
    prune_cache(folder, bytes_of(folder))
    assert len(kept(folder, known(range(100)))) == 100


def test_the_checkpoint_written_to_the_longest_ago_loses_its_vectors_first(folder):
    vectors = known(range(300), width=320)
    for fingerprint, hours in (("new", 0), ("old", 2), ("middle", 1)):
        put(folder, vectors, fingerprint)
        os.utime(folder / f"{fingerprint}.v3.sqlite", (time.time() - 3600 * hours,) * 2)
    size = bytes_of(folder) // 3
    prune_cache(folder, int(1.5 * size))
    sizes = [len(kept(folder, vectors, fingerprint)) for fingerprint in ("old", "middle", "new")]
    assert sizes[0] == 0
    assert 0 < sizes[1] < 150
    assert sizes[2] == 300


def test_what_was_set_aside_is_removed_before_any_vector(folder):
    put(folder, known(range(100)))
    size = bytes_of(folder)
    aside = [folder / f"{DATABASE}.damaged{extra}" for extra in ("", "-wal")]
    for path in aside:
        path.write_bytes(bytes(10**6))
    assert cache_info(folder).bytes == size + 2 * 10**6
    prune_cache(folder, size)
    assert not any(path.exists() for path in aside)
    assert len(kept(folder, known(range(100)))) == 100


def test_a_log_left_by_a_killed_process_is_merged_before_anything_is_removed(
    folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(_folder, "_COMMIT_SECONDS", 0)
    with open_cache(folder, FINGERPRINT) as cache:
        for _ in range(3):
            cache.put(known(range(100), width=320))
        shutil.copytree(folder, tmp_path / "left")
    assert bytes_of(tmp_path / "left") > 2 * bytes_of(folder)
    prune_cache(tmp_path / "left", bytes_of(folder) + 50_000)
    assert len(kept(tmp_path / "left", known(range(100), width=320))) == 100


@pytest.mark.parametrize("left", [0, 50, 1900])
def test_pruning_makes_no_second_copy_of_the_file(folder, monkeypatch, left):
    vectors = known(range(2000), width=320)
    put(folder, vectors)
    before, sizes = bytes_of(folder), []

    class Watched(sqlite3.Connection):
        def execute(self, *arguments):
            sizes.append(bytes_of(folder))
            return super().execute(*arguments)

    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Watched))
    monkeypatch.setattr(_contents, "_ROWS_AT_A_TIME", 100)
    monkeypatch.setattr(_contents, "_PAGES_AT_A_TIME", 20)
    monkeypatch.setattr(_database, "_LOG_PAGES", 20)
    prune_cache(folder, left * 1400)
    assert len(sizes) > 20
    assert max(sizes) < before + 900_000  # the log of 20 pages and a transaction, and its index
    kept_numbers = kept(folder, vectors)
    assert kept_numbers == list(range(2000 - len(kept_numbers), 2000))
    assert bytes_of(folder) < 1.1 * left * 1400 + 150_000


@pytest.mark.parametrize("name", ["another.v1.sqlite", "another.v2.sqlite", "another.v2.sqlite-wal"])
def test_databases_of_earlier_formats_are_counted_and_removed_before_any_vector(folder, name):
    put(folder, known(range(100)))
    size = bytes_of(folder)
    (folder / name).write_bytes(bytes(10**6))
    assert cache_info(folder) == (str(folder), 0, 0, 100, size + 10**6)
    prune_cache(folder, size)
    assert not (folder / name).exists()
    assert len(kept(folder, known(range(100)))) == 100


def test_foreign_files_are_neither_counted_nor_removed(folder):
    put(folder, known([1]))
    size = bytes_of(folder)
    (folder / "notes.txt").write_text("mine")
    assert cache_info(folder).bytes == size
    prune_cache(folder, 0)
    assert (folder / "notes.txt").read_text() == "mine"


def test_the_memory_cache_is_pruned_to_its_newest():
    with open_cache("memory", FINGERPRINT) as cache:
        cache.put(known(range(100)))
        half = cache_info("memory").bytes // 2
        prune_cache("memory", half)
        assert cache_info("memory")[3:] == (50, half)
        assert missing(cache, known(range(50, 100))) == {}
