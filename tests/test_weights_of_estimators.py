"""An estimator holds no weights: its pickles are small, and it finds the file again or says why not."""

import itertools
import os
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
from fair_esm_oracle import LAYERS, assert_faithful, fair_esm_residues, save_random_checkpoint
from numpy.testing import assert_array_equal

from sklearn_esm import ESMEmbeddingTransformer, engine
from sklearn_esm._cache import MEMORY_CACHE

SEQUENCES = ["GIGKFLHSAKKFGKAFVGEIMNS", "YGGFM", "RPKPQQFFGLM", "CYIQNCPLG", "DRVYIHPF", "YGGFL"]

# weights of their own for every test: the process shares loaded models by content
SEEDS = itertools.count(100)


def fair_esm_means(checkpoint):
    return np.stack([states.mean(0) for states in fair_esm_residues(checkpoint, SEQUENCES, LAYERS)])


@pytest.fixture
def checkpoint(tmp_path):
    """A file of this test's own, which it may overwrite."""
    return save_random_checkpoint(tmp_path / "mine.pt", "esm2", seed=next(SEEDS))


@pytest.fixture
def estimator(checkpoint):
    return ESMEmbeddingTransformer(checkpoint.path, cache=None)


# Pickles and processes


def run_python(code, *arguments):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    subprocess.run(command, check=True, timeout=120)


@pytest.mark.parametrize("cache", ["memory", None])
def test_pickle_is_small_after_use(estimator, cache):
    estimator.set_params(cache=cache).fit(SEQUENCES).transform(SEQUENCES)
    assert len(pickle.dumps(estimator)) < 5_000


def test_unpickled_estimator_gives_the_same_values(estimator):
    expected = estimator.fit_transform(SEQUENCES)
    assert_array_equal(pickle.loads(pickle.dumps(estimator)).transform(SEQUENCES), expected)


def test_unpickled_estimator_gives_the_same_values_in_a_fresh_process(estimator, checkpoint, tmp_path):
    (tmp_path / "pickle").write_bytes(pickle.dumps((estimator.fit(SEQUENCES), SEQUENCES)))
    code = """
import pickle, sys, numpy
with open(sys.argv[1], "rb") as file:
    estimator, sequences = pickle.load(file)
numpy.save(sys.argv[2], estimator.transform(sequences))
"""
    run_python(code, tmp_path / "pickle", tmp_path / "values.npy")
    expected = fair_esm_means(checkpoint)
    assert_faithful(np.load(tmp_path / "values.npy"), expected)


def test_import_and_unpickling_load_neither_torch_nor_esm(estimator, tmp_path):
    (tmp_path / "pickle").write_bytes(pickle.dumps(estimator.fit(SEQUENCES)))
    code = """
import sys
import sklearn_esm
assert not {"torch", "esm"} & set(sys.modules)
import pickle
with open(sys.argv[1], "rb") as file:
    estimator = pickle.load(file)
assert not {"torch", "esm"} & set(sys.modules)
"""
    run_python(code, tmp_path / "pickle")


# Weights that change


def test_weights_overwritten_since_fit_are_refused(estimator, checkpoint):
    estimator.fit(SEQUENCES)
    save_random_checkpoint(checkpoint.path, "esm2", seed=1)
    message = f"'mine' at {checkpoint.path} are not those this estimator was fitted with"
    with pytest.raises(ValueError, match=message):
        estimator.transform(SEQUENCES)


def test_weights_overwritten_since_fit_are_refused_where_all_is_cached(estimator, checkpoint):
    estimator.set_params(cache="memory").fit_transform(SEQUENCES)
    save_random_checkpoint(checkpoint.path, "esm2", seed=1)
    with pytest.raises(ValueError, match="not those this estimator was fitted with"):
        estimator.transform(SEQUENCES)


def test_unpickled_estimator_refuses_other_weights(estimator, checkpoint):
    pickled = pickle.dumps(estimator.fit(SEQUENCES))
    save_random_checkpoint(checkpoint.path, "esm2", seed=1)
    with pytest.raises(ValueError, match="not those this estimator was fitted with"):
        pickle.loads(pickled).transform(SEQUENCES)


def test_fitting_again_takes_the_new_weights_and_none_of_the_old_vectors(estimator, tmp_path):
    old = estimator.set_params(cache="memory").fit_transform(SEQUENCES)
    other = save_random_checkpoint(tmp_path / "other.pt", "esm2", seed=1)
    os.replace(other.path, tmp_path / "mine.pt")
    new = estimator.fit_transform(SEQUENCES)
    written = save_random_checkpoint(tmp_path / "again.pt", "esm2", seed=1)
    assert_faithful(new, fair_esm_means(written))
    assert np.abs(new - old).max() > 0.1


def test_deleted_weights_are_named(estimator, checkpoint):
    estimator.fit(SEQUENCES)
    checkpoint.path.unlink()
    with pytest.raises(FileNotFoundError, match=f"no checkpoint at {checkpoint.path}"):
        estimator.transform(SEQUENCES)


def test_unpickled_estimator_names_deleted_weights(estimator, checkpoint):
    pickled = pickle.dumps(estimator.fit(SEQUENCES))
    checkpoint.path.unlink()
    with pytest.raises(FileNotFoundError, match=f"no checkpoint at {checkpoint.path}"):
        pickle.loads(pickled).transform(SEQUENCES)


def test_renamed_copy_of_the_weights_shares_cached_vectors(checkpoint, tmp_path, embedded):
    first = ESMEmbeddingTransformer(checkpoint.path).fit_transform(SEQUENCES)
    embedded.clear()
    copy = shutil.copy(checkpoint.path, tmp_path / "another name.pt")
    assert_array_equal(ESMEmbeddingTransformer(copy).fit_transform(SEQUENCES), first)
    assert embedded == []


def test_copy_keeps_its_values_where_the_first_file_is_overwritten(estimator, checkpoint, tmp_path):
    expected = estimator.fit_transform(SEQUENCES)
    copy = shutil.copy(checkpoint.path, tmp_path / "copy.pt")
    save_random_checkpoint(checkpoint.path, "esm2", seed=1)
    assert_array_equal(ESMEmbeddingTransformer(copy, cache=None).fit_transform(SEQUENCES), expected)


def test_former_weights_put_back_give_the_former_values(estimator, checkpoint, tmp_path):
    expected = estimator.fit_transform(SEQUENCES)
    former = shutil.copy2(checkpoint.path, tmp_path / "former.pt")
    save_random_checkpoint(checkpoint.path, "esm2", seed=1)
    os.replace(former, checkpoint.path)
    assert_array_equal(estimator.transform(SEQUENCES), expected)


def test_weights_replaced_during_a_run_are_noticed(estimator, checkpoint, monkeypatch):
    # else the vectors of the new file would be cached under the fingerprint of the former one
    plan_units = engine.plan_units

    def replaced_after_planning(*arguments):
        save_random_checkpoint(checkpoint.path, "esm2", seed=next(SEEDS))
        return plan_units(*arguments)

    estimator.set_params(cache="memory").fit(SEQUENCES)
    monkeypatch.setattr(engine, "plan_units", replaced_after_planning)
    with pytest.raises(ValueError, match="are not those this run began with"):
        estimator.transform(SEQUENCES)
    assert MEMORY_CACHE.bytes == 0
