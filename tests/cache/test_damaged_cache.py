"""Damage to the cache in a folder: it may forget, and is never wrong and never an exception."""

import sqlite3
import warnings
from contextlib import closing
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_vectors import DATABASE, FINGERPRINT, VECTORS, key, known, lost, missing, put

from sklearn_esm._cache import _database, _folder, cache_info, open_cache, prune_cache


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_only_forgets(folder, files):
    """Whatever the files hold, vectors are right or missing, and can be put again."""
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):  # damage may come to light as late as with the first vector that is put
            with open_cache(folder, FINGERPRINT) as cache:
                vectors = missing(cache, VECTORS)
                if not vectors:
                    break
                cache.claim(list(vectors))
                cache.put(vectors)
                cache.release(list(vectors))
    assert vectors == {}
    assert [message for message in caught if "is damaged" not in str(message.message)] == []


def change(folder, statement):
    with closing(sqlite3.connect(folder / DATABASE)) as database, database:
        database.execute(statement)


def flipped(data, start, size):
    return (
        data[:start] + bytes(byte ^ 0xFF for byte in data[start : start + size]) + data[start + size :]
    )


# damage


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    """The files of a cache as a process leaves them that ends."""
    folder = tmp_path_factory.mktemp("closed")
    put(folder, VECTORS)
    return files_of(folder)


@pytest.fixture(scope="module")
def small_pages(tmp_path_factory):
    """The same, and as a process leaves them that is killed; pages so small that few bytes are idle."""
    folder = tmp_path_factory.mktemp("small")
    with pytest.MonkeyPatch.context() as patch, open_cache(folder, FINGERPRINT) as cache:
        patch.setattr(_database, "_PAGE_BYTES", 512)
        patch.setattr(_folder, "_COMMIT_SECONDS", 0)
        cache.claim([key(99)])
        for wanted, vector in VECTORS.items():
            cache.put({wanted: vector})
        killed = files_of(folder)
    return files_of(folder), killed


def test_damage_anywhere_in_a_database_only_forgets(closed, folder):
    data = closed[DATABASE]
    for start in range(0, len(data), 128):
        assert_only_forgets(folder, {DATABASE: flipped(data, start, 128)})


def test_small_damage_anywhere_in_a_database_only_forgets(small_pages, folder):
    data = small_pages[0][DATABASE]
    for start in range(0, len(data), 16):
        assert_only_forgets(folder, {DATABASE: flipped(data, start, 16)})


@pytest.mark.parametrize(("extra", "size"), [("-wal", 96), ("-shm", 2048)])
def test_damage_anywhere_in_a_log_left_behind_only_forgets(small_pages, folder, extra, size):
    name = DATABASE + extra
    data = small_pages[1][name]
    for start in range(0, len(data), size):
        assert_only_forgets(folder, {**small_pages[1], name: flipped(data, start, size)})


def test_an_undamaged_log_left_behind_has_everything(small_pages, folder):
    assert set(small_pages[1]) == {DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm"}
    assert_only_forgets(folder, {})
    for name, data in small_pages[1].items():
        (folder / name).write_bytes(data)
    assert lost(folder) == {}


@settings(deadline=None)  # a busy machine is no failure
@given(st.data())
def test_a_single_flipped_bit_only_forgets(closed, small_pages, tmp_path_factory, data):
    files = data.draw(st.sampled_from([closed, *small_pages]))
    name = data.draw(st.sampled_from(sorted(files)))
    place = data.draw(st.integers(0, 8 * len(files[name]) - 1))
    changed = bytearray(files[name])
    changed[place // 8] ^= 1 << place % 8
    assert_only_forgets(tmp_path_factory.getbasetemp() / "bit", {**files, name: bytes(changed)})


@pytest.mark.parametrize("size", [0, 1, 16, 99, 100, 5000, 16384, 16385, 40_000, 65_536, 81_919])
def test_a_truncated_database_only_forgets(closed, folder, size):
    assert size < len(closed[DATABASE])
    assert_only_forgets(folder, {DATABASE: closed[DATABASE][:size]})


@pytest.mark.parametrize("data", [bytes(81_920), b"\xff" * 5000, b"no database\n" * 500, b"SQLite"])
def test_a_file_that_is_no_database_is_replaced(folder, data):
    assert_only_forgets(folder, {DATABASE: data})


@pytest.mark.parametrize("extra", ["-wal", "-journal"])
def test_a_foreign_file_beside_the_database_only_forgets(closed, folder, extra):
    for data in (b"", b"no log\n" * 5000, closed[DATABASE]):
        assert_only_forgets(folder, {**closed, DATABASE + extra: data})
        assert_only_forgets(folder, {DATABASE + extra: data})


@pytest.mark.parametrize(
    "schema",
    [
        "CREATE TABLE mine (a)",
        "CREATE TABLE vectors (key BLOB PRIMARY KEY)",
        "CREATE TABLE vectors (key BLOB PRIMARY KEY, vector TEXT, checksum INTEGER, more TEXT NOT NULL)",
        "CREATE VIEW vectors AS SELECT 1 AS key, 2 AS vector, 3 AS checksum",
        "CREATE TABLE claims (key BLOB PRIMARY KEY, owner BLOB)",
    ],
)
def test_a_database_of_another_kind_only_forgets(folder, tmp_path, schema):
    change(tmp_path, schema)
    assert_only_forgets(folder, files_of(tmp_path))


def test_a_vector_under_the_key_of_another_is_not_returned(folder):
    put(folder, VECTORS)
    change(folder, "UPDATE vectors SET (vector, checksum) = (SELECT vector, checksum FROM vectors)")
    assert len(lost(folder)) == 11


def damage(folder):
    """Make every page but the schema's unreadable."""
    data = (folder / DATABASE).read_bytes()
    (folder / DATABASE).write_bytes(data[:16384] + bytes([255]) * (len(data) - 16384))


def test_a_damaged_database_is_set_aside_with_a_warning_that_says_where(folder):
    put(folder, VECTORS)
    damage(folder)
    before = (folder / DATABASE).read_bytes()
    aside = folder / f"{DATABASE}.damaged"
    with open_cache(folder, FINGERPRINT) as cache:
        with pytest.warns(UserWarning, match="is damaged") as caught:
            assert len(missing(cache, VECTORS)) == 12
        assert len(caught) == 1
        assert f"{folder / DATABASE} is damaged" in str(caught[0].message)
        assert f"renamed to {aside}," in str(caught[0].message)
        cache.put(VECTORS)
        assert missing(cache, VECTORS) == {}
    assert aside.read_bytes() == before
    assert lost(folder) == {}


def test_what_is_damaged_later_replaces_what_was_set_aside_before(folder):
    for width in (16, 3000):
        put(folder, known(range(12), width))
        damage(folder)
        size = (folder / DATABASE).stat().st_size
        with pytest.warns(UserWarning, match="is damaged"):
            lost(folder)
    assert (folder / f"{DATABASE}.damaged").stat().st_size == size
    assert len(list(folder.iterdir())) == 2


def test_only_the_first_who_finds_damage_sets_the_database_aside(folder):
    put(folder, VECTORS)
    damage(folder)
    with open_cache(folder, FINGERPRINT) as one, open_cache(folder, FINGERPRINT) as other:
        one.get([])
        other.get([])
        with pytest.warns(UserWarning, match="is damaged"):
            one.get(list(VECTORS))
        # with the log, which whoever still has the database open goes on to use
        assert (folder / f"{DATABASE}.damaged-wal").exists()
        one.put(VECTORS)
        assert missing(other, VECTORS) == {}  # not a warning, and not the new database set aside


def test_damage_to_a_database_just_made_is_noticed_by_whoever_made_it(folder):
    with open_cache(folder, FINGERPRINT) as cache:
        cache.put(VECTORS)
        change(folder, "DROP TABLE vectors")
        with pytest.warns(UserWarning, match="is damaged"):
            assert missing(cache, VECTORS) == VECTORS
        cache.put(VECTORS)
    assert lost(folder) == {}


@pytest.mark.parametrize("value", ["NULL", "'text'", "x'00ff'", "1e300", "-1", "1 << 40"])
@pytest.mark.parametrize("column", ["owner", "process", "until"])
def test_a_damaged_claim_is_never_an_exception(folder, column, value):
    put(folder, VECTORS)
    with open_cache(folder, FINGERPRINT) as cache:
        cache.claim([key(99)])
    change(folder, f"UPDATE claims SET {column} = {value}")
    with open_cache(folder, FINGERPRINT) as cache, warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is damaged")
        assert cache.claim([key(99)]) in ([True], [False])
        cache.release([key(99)])
        cache.put(VECTORS)
        assert missing(cache, VECTORS) == {}


@pytest.mark.parametrize("question", [cache_info, partial(prune_cache, max_bytes=10**6)])
def test_information_and_pruning_set_a_damaged_database_aside(folder, question):
    put(folder, VECTORS)
    (folder / DATABASE).write_bytes(b"no database\n" * 500)
    with pytest.warns(UserWarning, match="is damaged"):
        question(folder)
    assert cache_info(folder).vectors == 0


def test_an_interrupt_at_the_beginning_of_a_transaction_loses_no_vector(folder, monkeypatch):
    class Interrupted(sqlite3.Connection):
        armed = True

        def execute(self, statement, *arguments):
            result = super().execute(statement, *arguments)
            if statement.startswith("BEGIN") and Interrupted.armed:
                Interrupted.armed = False
                raise KeyboardInterrupt
            return result

    put(folder, VECTORS)
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Interrupted))
    with open_cache(folder, FINGERPRINT) as cache:
        with pytest.raises(KeyboardInterrupt):
            cache.put(known([99]))
        cache.release([key(99)])  # as whoever computes does on the way out
        assert missing(cache, known([*range(12), 99])) == {}
    assert lost(folder, known([*range(12), 99])) == {}
