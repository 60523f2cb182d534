"""An estimator holds no weights: its pickles are small, and it finds the files again or says why not."""

import itertools
import os
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest
from fair_esm_oracle import (
    LAYERS,
    assert_faithful,
    fair_esm_residues,
    regression_path,
    save_random_checkpoint,
    save_random_regression,
)
from three_estimators import CASES, SEQUENCES, assert_close_rows, assert_same_rows, forget

from sklearn_esm._cache import MEMORY_CACHE
from sklearn_esm._execution import _results

# weights of their own for every test: the process shares loaded models by content
SEEDS = itertools.count(100)
FITTED_WITH_OTHERS = "must be those this estimator was fitted with"


def save(path, seed):
    """Write weights, and a contact regression that is the same whatever the seed."""
    checkpoint = save_random_checkpoint(path, "esm2", seed=seed)
    save_random_regression(checkpoint)
    return checkpoint


def copied(checkpoint, path):
    """A copy of the weights and of the regression, of another name."""
    copy = replace(checkpoint, path=path)
    shutil.copy(checkpoint.path, path)
    shutil.copy(regression_path(checkpoint), regression_path(copy))
    return copy


@pytest.fixture
def checkpoint(tmp_path):
    """A file of this test's own, which it may overwrite."""
    return save(tmp_path / "mine.pt", next(SEEDS))


@pytest.fixture(params=["embedding", "contact-map", "variants"])
def case(request):
    """One of each class: what its outputs are changes nothing here."""
    return CASES[request.param]


@pytest.fixture
def estimator(case, checkpoint):
    return case.new(checkpoint, cache=None)


# Pickles and processes


@pytest.mark.parametrize("cache", ["memory", None])
def test_pickle_is_small_after_use(estimator, case, cache):
    estimator.set_params(cache=cache).fit(case.sequences).transform(case.sequences)
    assert len(pickle.dumps(estimator)) < 5_000


def test_unpickled_estimator_gives_the_same_values(estimator, case):
    expected = estimator.fit_transform(case.sequences)
    assert_same_rows(pickle.loads(pickle.dumps(estimator)).transform(case.sequences), expected)


def test_unpickled_estimators_give_the_same_values_in_a_new_process(checkpoint, tmp_path, new_process):
    fitted = [case.new(checkpoint, cache=None).fit(case.sequences) for case in CASES.values()]
    sequences = [case.sequences for case in CASES.values()]
    (tmp_path / "pickle").write_bytes(pickle.dumps((fitted, sequences)))
    code = """
import pickle, sys
with open(sys.argv[1], "rb") as file:
    fitted, sequences = pickle.load(file)
rows = [estimator.transform(X) for estimator, X in zip(fitted, sequences, strict=True)]
with open(sys.argv[2], "wb") as file:
    pickle.dump(rows, file)
"""
    done = new_process(code, tmp_path / "pickle", tmp_path / "rows")
    assert done.returncode == 0, done.stderr
    rows = dict(zip(CASES, pickle.loads((tmp_path / "rows").read_bytes()), strict=True))
    last = fair_esm_residues(checkpoint, SEQUENCES, LAYERS)
    assert_faithful(rows["embedding"][:, :32], np.stack([states.max(0) for states in last]))
    for name, estimator, X in zip(CASES, fitted, sequences, strict=True):
        assert_close_rows(rows[name], estimator.transform(X))


# Weights that change


def test_weights_overwritten_since_fit_are_refused(estimator, case, checkpoint):
    estimator.fit(case.sequences)
    save(checkpoint.path, seed=1)
    message = f"'mine' at {checkpoint.path} {FITTED_WITH_OTHERS}"
    with pytest.raises(ValueError, match=message):
        estimator.transform(case.sequences)


def test_weights_overwritten_since_fit_are_refused_where_all_is_cached(estimator, case, checkpoint):
    estimator.set_params(cache="memory").fit_transform(case.sequences)
    save(checkpoint.path, seed=1)
    with pytest.raises(ValueError, match=FITTED_WITH_OTHERS):
        estimator.transform(case.sequences)


def test_unpickled_estimator_refuses_other_weights(estimator, case, checkpoint):
    pickled = pickle.dumps(estimator.fit(case.sequences))
    save(checkpoint.path, seed=1)
    with pytest.raises(ValueError, match=FITTED_WITH_OTHERS):
        pickle.loads(pickled).transform(case.sequences)


def test_fitting_again_takes_the_new_weights_and_nothing_of_the_old(
    estimator, case, checkpoint, tmp_path
):
    old = estimator.set_params(cache="memory").fit_transform(case.sequences)
    other = save(tmp_path / "other.pt", seed=1)
    os.replace(other.path, checkpoint.path)
    new = estimator.fit_transform(case.sequences)
    again = save(tmp_path / "again.pt", seed=1)
    assert_close_rows(new, case.new(again, cache=None).fit_transform(case.sequences))
    assert max(np.abs(one - former).max() for one, former in zip(new, old, strict=True)) > 0.1


def test_deleted_weights_are_named(estimator, case, checkpoint):
    estimator.fit(case.sequences)
    checkpoint.path.unlink()
    with pytest.raises(
        FileNotFoundError, match=f"must be the path of an existing file; got {checkpoint.path}"
    ):
        estimator.transform(case.sequences)


def test_unpickled_estimator_names_deleted_weights(estimator, case, checkpoint):
    pickled = pickle.dumps(estimator.fit(case.sequences))
    checkpoint.path.unlink()
    with pytest.raises(
        FileNotFoundError, match=f"must be the path of an existing file; got {checkpoint.path}"
    ):
        pickle.loads(pickled).transform(case.sequences)


def test_renamed_copy_of_the_weights_shares_what_is_cached(case, checkpoint, tmp_path, runs):
    first = case.new(checkpoint).fit_transform(case.sequences)
    assert any(runs.values())
    forget(runs)
    copy = copied(checkpoint, tmp_path / "another name.pt")
    assert_same_rows(case.new(copy).fit_transform(case.sequences), first)
    assert not any(runs.values())


def test_copy_keeps_its_values_where_the_first_file_is_overwritten(
    estimator, case, checkpoint, tmp_path
):
    expected = estimator.fit_transform(case.sequences)
    copy = copied(checkpoint, tmp_path / "copy.pt")
    save(checkpoint.path, seed=1)
    assert_same_rows(case.new(copy, cache=None).fit_transform(case.sequences), expected)


def test_former_weights_put_back_give_the_former_values(estimator, case, checkpoint, tmp_path):
    expected = estimator.fit_transform(case.sequences)
    former = shutil.copy2(checkpoint.path, tmp_path / "former.pt")
    save(checkpoint.path, seed=1)
    os.replace(former, checkpoint.path)
    assert_same_rows(estimator.transform(case.sequences), expected)


def test_weights_replaced_during_a_run_are_noticed(estimator, case, checkpoint, monkeypatch):
    # else the vectors of the new file would be cached under the fingerprint of the former one
    plan_batches = _results.plan_batches

    def replaced_after_planning(*arguments):
        save(checkpoint.path, next(SEEDS))
        return plan_batches(*arguments)

    estimator.set_params(cache="memory").fit(case.sequences)
    monkeypatch.setattr(_results, "plan_batches", replaced_after_planning)
    with pytest.raises(ValueError, match="must be those with which this run began"):
        estimator.transform(case.sequences)
    assert MEMORY_CACHE.bytes == 0
