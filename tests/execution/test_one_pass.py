"""One forward pass for each distinct sequence: across folds, candidates, processes and failures."""

import os
import pickle
import tracemalloc

import numpy as np
import pytest
from fair_esm_oracle import LAYERS, WIDTH, assert_faithful
from hundred_sequences import MANY_UNITS, POOLINGS, SEQUENCES, fair_esm_pooled, new_estimator
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sklearn_esm import _engine
from sklearn_esm._cache import MEMORY_CACHE, _folder
from sklearn_esm._execution import _outputs

pytestmark = pytest.mark.no_cover

FEW = SEQUENCES[:30]
CHARGE = np.array([sum(map(s.count, "KR")) - sum(map(s.count, "DE")) for s in SEQUENCES], dtype=float)
ALPHAS = [0.01, 1.0, 100.0]
FOLDS = KFold(3, shuffle=True, random_state=0)
OTHER_FOLDS = KFold(3, shuffle=True, random_state=1)
# predictions add up the differences of thousands of numbers, through a solver
CLOSE = {"rtol": 1e-3, "atol": 1e-4}


def begin_later_process():
    MEMORY_CACHE.prune(0)


def search(*steps, **options):
    """The search over the head of a pipeline."""
    pipeline = make_pipeline(*steps, StandardScaler(), Ridge())
    return GridSearchCV(pipeline, {"ridge__alpha": ALPHAS}, cv=FOLDS, **options)


def test_the_sequences_are_distinct():
    assert len(set(SEQUENCES)) == len(SEQUENCES) == 100


# Searches


def test_a_search_over_the_head_runs_each_sequence_once_and_what_follows_runs_none(
    checkpoint, cache, embedded
):
    searched = search(new_estimator(checkpoint, cache)).fit(SEQUENCES, CHARGE)
    assert sorted(embedded) == sorted(SEQUENCES)
    embedded.clear()
    actual = searched.predict(SEQUENCES[::-1])
    features = fair_esm_pooled(checkpoint)
    expected = search().fit(features, CHARGE)
    assert searched.best_params_ == expected.best_params_
    assert_allclose(actual, expected.predict(features[::-1]), **CLOSE)
    cross_val_score(searched.best_estimator_, SEQUENCES, CHARGE, cv=OTHER_FOLDS)
    assert_faithful(clone(searched.best_estimator_[0]).fit_transform(SEQUENCES), features)
    assert embedded == []


def test_a_search_beside_workers_of_joblib_runs_each_sequence_once(checkpoint, folder, embedded):
    # the folds of a worker overlap with those of the other, which has them at the same time
    main = os.getpid()
    ran = folder / "ran"
    ran.mkdir(parents=True)
    counting = FunctionTransformer(write_down, kw_args={"ran": ran, "main": main})
    embed = new_estimator(checkpoint, folder, batch_tokens=MANY_UNITS)
    actual = search(counting, embed, n_jobs=2).fit(SEQUENCES, CHARGE)
    lines = [line for file in ran.iterdir() for line in file.read_text().split()]
    assert sorted(lines + embedded) == sorted(SEQUENCES)
    expected = search().fit(fair_esm_pooled(checkpoint), CHARGE)
    scores = (of.cv_results_["mean_test_score"] for of in (actual, expected))
    assert_allclose(*scores, **CLOSE)


def write_down(X, ran, main):
    """Have this process write down what it runs through the model, unless it is the main one."""
    if os.getpid() != main:
        if not hasattr(_engine, "written_down_in"):
            _engine.hidden_states = writing(_engine.hidden_states)
        _engine.written_down_in = ran / str(os.getpid())
    return X


def writing(hidden_states):
    def run_and_write(model, sequences, layers):
        with _engine.written_down_in.open("a") as file:
            print(*sequences, file=file)
        return hidden_states(model, sequences, layers)

    return run_and_write


# Layers and poolings


def test_layers_and_poolings_asked_for_together_come_from_one_pass(checkpoint, cache, embedded):
    embed = new_estimator(checkpoint, cache, layer="all", pooling=list(POOLINGS))
    actual = embed.fit_transform(FEW)
    assert sorted(embedded) == sorted(FEW)
    columns = [(layer, pooling) for layer in range(LAYERS + 1) for pooling in POOLINGS]
    expected = [fair_esm_pooled(checkpoint, FEW, *column) for column in columns]
    assert_faithful(actual.reshape(len(FEW), -1, WIDTH), np.stack(expected, axis=1))


def test_what_was_asked_for_together_is_there_apart(checkpoint, cache, embedded):
    new_estimator(checkpoint, cache, layer="all", pooling=list(POOLINGS)).fit_transform(FEW)
    embedded.clear()
    for layer in range(LAYERS + 1):
        for pooling in POOLINGS:
            actual = new_estimator(checkpoint, cache, layer=layer, pooling=pooling)
            expected = fair_esm_pooled(checkpoint, FEW, layer, pooling)
            assert_faithful(actual.fit_transform(FEW), expected)
    assert embedded == []


def test_a_search_over_layers_and_poolings_after_precompute_runs_nothing(checkpoint, cache, embedded):
    embed = new_estimator(checkpoint, cache)
    embed.precompute(FEW, poolings=list(POOLINGS))
    assert sorted(embedded) == sorted(FEW)
    embedded.clear()
    grid = {
        "esmembeddingtransformer__layer": range(LAYERS + 1),
        "esmembeddingtransformer__pooling": list(POOLINGS),
    }
    plain = make_pipeline(StandardScaler(), Ridge())
    found = GridSearchCV(make_pipeline(embed, *plain), grid, cv=FOLDS).fit(FEW, CHARGE[:30])
    assert embedded == []
    expected = [
        cross_val_score(plain, fair_esm_pooled(checkpoint, FEW, layer, pooling), CHARGE[:30], cv=FOLDS)
        for layer in range(LAYERS + 1)
        for pooling in POOLINGS
    ]
    assert_allclose(found.cv_results_["mean_test_score"], np.mean(expected, axis=1), **CLOSE)


@pytest.mark.parametrize("filled", [False, True])
def test_precompute_holds_no_matrix(checkpoint, folder, monkeypatch, filled):
    monkeypatch.setattr(_outputs, "_LOOKUP", 100)  # vectors at a time, of 5,600
    monkeypatch.setattr(_folder, "_COMMIT_BYTES", 100 * 4 * WIDTH)
    embed = new_estimator(checkpoint, folder, batch_tokens=MANY_UNITS)
    poolings = ["mean", "max", "min", "sum", "std", "bos", "eos"]
    sequences = SEQUENCES + [sequence[::-1] for sequence in SEQUENCES]
    matrix = 4 * len(sequences) * (LAYERS + 1) * len(poolings) * WIDTH
    # what is imported and loaded does not count
    embed.precompute(sequences if filled else ["A"], poolings=poolings)
    tracemalloc.start()
    try:
        embed.precompute(sequences, poolings=poolings)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < matrix / 2


# Later processes


def test_a_later_process_finds_the_vectors_in_the_folder(checkpoint, folder, embedded):
    first = new_estimator(checkpoint, folder).fit_transform(SEQUENCES)
    begin_later_process()
    embedded.clear()
    later = new_estimator(checkpoint, str(folder)).fit_transform(SEQUENCES[::-1])
    assert_array_equal(later, first[::-1])
    assert embedded == []


def test_an_unpickled_estimator_finds_the_vectors_in_the_folder(checkpoint, folder, embedded):
    embed = new_estimator(checkpoint, folder)
    first = embed.fit_transform(SEQUENCES)
    begin_later_process()
    embedded.clear()
    assert_array_equal(pickle.loads(pickle.dumps(embed)).transform(SEQUENCES), first)
    assert embedded == []
