"""What changes while sequences are embedded: nothing wrong is returned or kept."""

import os
import shutil

import numpy as np
import pytest
from fair_esm_oracle import assert_faithful, fair_esm_residues, save_random_checkpoint

from sklearn_esm import ESMEmbeddingTransformer, _engine
from sklearn_esm._cache import Key, open_cache
from sklearn_esm._checkpoints._fingerprint import identify
from sklearn_esm._execution import _requested_model, _results

SEQUENCES = ["MKTAYIAKQRQISFVKSHFSRQ", "GIGKFLHSAKKFGKAFVGEIMNS", "DRVYIHPF"]
LONG_AGO = 1_000_000_000  # seconds since 1970


def means(checkpoint):
    return np.array([states.mean(0) for states in fair_esm_residues(checkpoint, SEQUENCES, 3)])


def old(path):
    """Return the path of a file that was last written to long ago, which is hashed once only."""
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


@pytest.fixture
def two(tmp_path):
    """Two checkpoints of the same size with other weights."""
    saved = [save_random_checkpoint(tmp_path / f"{seed}.pt", "esm2", seed=seed) for seed in (1, 2)]
    for checkpoint in saved:
        old(checkpoint.path)
    return saved


def test_a_checkpoint_rewritten_in_place_during_a_pass_fills_no_cache(two, cache, during_a_pass):
    first, second = two
    fingerprint = identify(first.path).fingerprint
    embed = ESMEmbeddingTransformer(first.path, cache=cache).fit(SEQUENCES)
    during_a_pass(lambda: first.path.write_bytes(second.path.read_bytes()))
    with pytest.raises(ValueError, match=r"1\.pt must be those with which this run began"):
        embed.transform(SEQUENCES)
    keys = [Key(fingerprint, "float32", 3, "mean", 0, sequence) for sequence in SEQUENCES]
    with open_cache(cache, fingerprint) as opened:
        assert opened.get(keys) == [None] * 3
    assert_faithful(embed.fit_transform(SEQUENCES), means(second))


def test_a_link_switched_during_a_pass_fills_no_cache(two, cache, tmp_path, during_a_pass):
    first, second = two
    link = tmp_path / "link.pt"
    link.symlink_to(first.path)

    def switch():
        link.unlink()
        link.symlink_to(second.path)

    embed = ESMEmbeddingTransformer(link, cache=cache).fit(SEQUENCES)
    during_a_pass(switch)
    with pytest.raises(ValueError, match="must be those with which this run began"):
        embed.transform(SEQUENCES)
    assert_faithful(embed.fit_transform(SEQUENCES), means(second))
    link.unlink()
    link.symlink_to(first.path)
    assert_faithful(embed.fit_transform(SEQUENCES), means(first))


def test_a_checkpoint_saved_twice_within_a_second_is_read_twice(tmp_path, cache):
    # on a file system that keeps whole seconds both have the same size and times
    now = None
    for seed in range(4):
        checkpoint = save_random_checkpoint(tmp_path / f"{seed}.pt", "esm2", seed=seed)
        path = tmp_path / "mine.pt"
        path.write_bytes(checkpoint.path.read_bytes())
        now = now or path.stat().st_mtime
        os.utime(path, (now, now))
        embed = ESMEmbeddingTransformer(path, cache=cache)
        assert_faithful(embed.fit_transform(SEQUENCES), means(checkpoint))


def test_a_model_is_not_served_for_another_file_of_the_same_inode_number(two, monkeypatch):
    # two file systems may give one number to a file each
    from sklearn_esm._checkpoints import _fingerprint

    state_of = _fingerprint.state_of
    monkeypatch.setattr(_fingerprint, "state_of", lambda path: state_of(path)._replace(inode=7))
    for checkpoint in two:
        embed = ESMEmbeddingTransformer(checkpoint.path, cache=None)
        assert_faithful(embed.fit_transform(SEQUENCES), means(checkpoint))


@pytest.mark.parametrize("length", [0, 1, 31, 33])
def test_a_cached_vector_of_another_length_is_computed_again(checkpoint, cache, length):
    fingerprint = identify(checkpoint.path).fingerprint
    key = Key(fingerprint, "float32", 3, "mean", 0, SEQUENCES[1])
    with open_cache(cache, fingerprint) as opened:
        opened.put({key: np.ones(length, dtype=np.float32)})
    embed = ESMEmbeddingTransformer(checkpoint.path, cache=cache)
    assert_faithful(embed.fit_transform(SEQUENCES), means(checkpoint))


def test_rows_that_nobody_filled_are_an_error_and_no_unset_memory(checkpoint, monkeypatch):
    run = _results.Workers.run

    def losing_one(*arguments):
        for unit, results in run(*arguments):
            yield (
                unit,
                [result._replace(rows=result.rows[1:], values=result.values[1:]) for result in results],
            )

    embed = ESMEmbeddingTransformer(checkpoint.path, cache=None).fit(SEQUENCES)
    monkeypatch.setattr(_results.Workers, "run", losing_one)
    with pytest.raises(RuntimeError, match="Some sequences have no result"):
        embed.transform(SEQUENCES)
    with pytest.raises(RuntimeError, match="Some sequences have no result"):
        embed.set_params(pooling=None).fit(SEQUENCES).transform(SEQUENCES)


def test_a_checkpoint_copied_over_itself_changes_nothing(two, tmp_path):
    path = shutil.copy(two[0].path, tmp_path / "copy.pt")
    embed = ESMEmbeddingTransformer(path, cache=None).fit(SEQUENCES)
    shutil.copy(two[0].path, path)
    assert_faithful(embed.transform(SEQUENCES), means(two[0]))


@pytest.fixture
def identified(monkeypatch):
    """The checkpoints that a run has identified: a list that grows."""
    names = []
    identify_weights = _requested_model.identify_weights

    def identifying(name):
        names.append(name)
        return identify_weights(name)

    monkeypatch.setattr(_requested_model, "identify_weights", identifying)
    return names


def save_folder(folder, seed):
    """Save a folder of transformers that was written long ago."""
    oracle = pytest.importorskip("hugging_face_oracle")
    oracle.save_random_model(folder, seed=seed)
    for file in folder.iterdir():
        old(file)
    return folder


@pytest.mark.parametrize("layout", ["file", "folder"])
def test_an_unchanged_checkpoint_is_identified_once_for_all_batches(
    two, tmp_path, layout, identified, embedded
):
    model = two[0].path if layout == "file" else save_folder(tmp_path / "folder", seed=1)
    embed = ESMEmbeddingTransformer(model, cache=None, batch_tokens=1, device="cpu").fit(SEQUENCES)
    identified.clear()
    embed.transform(SEQUENCES * 2)
    assert sorted(embedded) == sorted(SEQUENCES)
    # once each by the threads that begin at the same time
    assert 1 <= len(identified) <= 2


def test_a_checkpoint_rewritten_during_the_last_batch_is_noticed(two, cache, monkeypatch):
    first, second = two
    hidden_states = _engine.hidden_states

    def running(model, sequences, layers):
        yield from hidden_states(model, sequences, layers)
        if sequences == [SEQUENCES[2]]:
            first.path.write_bytes(second.path.read_bytes())

    embed = ESMEmbeddingTransformer(first.path, cache=cache, batch_tokens=1).fit(SEQUENCES)
    monkeypatch.setattr(_engine, "hidden_states", running)
    with pytest.raises(ValueError, match=r"1\.pt must be those with which this run began"):
        embed.transform(SEQUENCES)
    fingerprint = embed.model_fingerprint_
    key = Key(fingerprint, "float32", 3, "mean", 0, SEQUENCES[2])
    with open_cache(cache, fingerprint) as opened:
        assert opened.get([key]) == [None]


@pytest.mark.parametrize("change", ["rewrite", "replace", "link"])
def test_a_folder_changed_during_a_pass_fills_no_cache(tmp_path, cache, during_a_pass, change):
    first, second = (save_folder(tmp_path / name, seed) for seed, name in enumerate(["one", "two"]))
    link = tmp_path / "link"
    link.symlink_to(first)
    weights = "model.safetensors"

    def happen():
        if change == "rewrite":
            (first / weights).write_bytes((second / weights).read_bytes())
        elif change == "replace":
            os.replace(second / weights, first / weights)
        else:
            link.unlink()
            link.symlink_to(second)

    embed = ESMEmbeddingTransformer(link, cache=cache).fit(SEQUENCES)
    during_a_pass(happen)
    with pytest.raises(ValueError, match="must be those with which this run began"):
        embed.transform(SEQUENCES)
    assert embed.cache_info().vectors == 0
