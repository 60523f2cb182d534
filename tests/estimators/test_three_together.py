"""The three estimators in one pipeline, over one cache: each its own values, and no run twice."""

import pickle

import numpy as np
import pandas as pd
import pytest
from fair_esm_oracle import (
    LAYERS,
    WIDTH,
    assert_faithful,
    fair_esm_contacts,
    fair_esm_log_probability,
    fair_esm_residues,
)
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict, cross_val_score
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from three_estimators import CASES, assert_close_rows, assert_same_rows, forget

from sklearn_esm import ESMContactTransformer, ESMEmbeddingTransformer, ESMLikelihoodTransformer
from sklearn_esm._sequences import MASK

pytestmark = pytest.mark.no_cover

REFERENCE = "GIGKFLHSAK"
POSITIONS = [0, 3, 6, 9]  # those that vary
RESIDUES = "ADKWG"


def _variants(count):
    random = np.random.default_rng(0)
    variants = [REFERENCE]
    while len(variants) < count:
        letters = list(REFERENCE)
        for position in random.choice(POSITIONS, random.integers(1, 4), replace=False):
            letters[position] = str(random.choice(list(RESIDUES)))
        variants.append("".join(letters))
    return variants


# some come twice, as in the tables of assays
VARIANTS = _variants(24)
FITNESS = np.array([s.count("K") - s.count("W") + 0.1 * row for row, s in enumerate(VARIANTS)])
FOLDS = KFold(3, shuffle=True, random_state=0)
SCORING = {"cv": FOLDS, "scoring": "neg_mean_squared_error"}
# scores add up the differences of many numbers, through a solver
CLOSE_SCORES = {"rtol": 1e-3, "atol": 1e-4}
MARGINALS = ["masked-marginals", "wt-marginals"]
METHODS = [*MARGINALS, ["masked-marginals", "pseudo-log-likelihood"]]


def letters(sequences):
    """The residues of each sequence at the positions that vary, ``(sequences, positions)``."""
    return np.array([[sequence[position] for position in POSITIONS] for sequence in sequences])


def new_union(checkpoint, cache="memory"):
    of_residues = sorted(set(RESIDUES + REFERENCE))
    one_hot = OneHotEncoder(categories=[of_residues] * len(POSITIONS), sparse_output=False)
    return FeatureUnion(
        [
            ("embedding", ESMEmbeddingTransformer(checkpoint.path, cache=cache)),
            (
                "likelihood",
                ESMLikelihoodTransformer(
                    checkpoint.path, method="masked-marginals", reference=REFERENCE, cache=cache
                ),
            ),
            ("residues", make_pipeline(FunctionTransformer(letters), one_hot)),
        ]
    )


def new_model(checkpoint, cache="memory"):
    return Pipeline(
        [("features", new_union(checkpoint, cache)), ("scale", StandardScaler()), ("ridge", Ridge())]
    )


def new_search(checkpoint, cache="memory", **options):
    grid = {"features__likelihood__method": METHODS, "features__embedding__layer": [1, -1]}
    return GridSearchCV(new_model(checkpoint, cache), grid, **SCORING, **options)


# What each part is, by hand


def embedding_by_hand(checkpoint, layer=LAYERS):
    return np.stack([states.mean(0) for states in fair_esm_residues(checkpoint, VARIANTS, layer)])


def likelihood_by_hand(checkpoint, methods="masked-marginals"):
    columns = {
        "masked-marginals": lambda variant: marginal_by_hand(checkpoint, variant, masked=True),
        "wt-marginals": lambda variant: marginal_by_hand(checkpoint, variant, masked=False),
        "pseudo-log-likelihood": lambda variant: sum(
            fair_esm_log_probability(checkpoint, variant, position, masked=True)
            for position in range(len(variant))
        ),
    }
    methods = [methods] if isinstance(methods, str) else methods
    return np.array([[columns[method](variant) for method in methods] for variant in VARIANTS])


def marginal_by_hand(checkpoint, variant, *, masked):
    return sum(
        fair_esm_log_probability(checkpoint, REFERENCE, position, new, masked=masked)
        - fair_esm_log_probability(checkpoint, REFERENCE, position, masked=masked)
        for position, (new, old) in enumerate(zip(variant, REFERENCE, strict=True))
        if new != old
    )


def residues_by_hand():
    residues = sorted(set(RESIDUES + REFERENCE))
    return np.array(
        [[float(variant[p] == r) for p in POSITIONS for r in residues] for variant in VARIANTS]
    )


def matrix_by_hand(checkpoint, methods="masked-marginals", layer=LAYERS):
    parts = embedding_by_hand(checkpoint, layer), likelihood_by_hand(checkpoint, methods)
    return np.hstack([*parts, residues_by_hand()])


def scores_by_hand(checkpoint, *settings):
    model = make_pipeline(StandardScaler(), Ridge())
    return cross_val_score(model, matrix_by_hand(checkpoint, *settings), FITNESS, **SCORING)


# Side by side


@pytest.mark.parametrize("cache", ["memory", None])
def test_a_union_is_the_parts_side_by_side(checkpoint, cache):
    actual = new_union(checkpoint, cache).fit_transform(VARIANTS)
    assert actual.dtype == np.float64
    assert_faithful(actual[:, :WIDTH], embedding_by_hand(checkpoint))
    assert_allclose(actual[:, WIDTH:], matrix_by_hand(checkpoint)[:, WIDTH:], rtol=1e-5, atol=1e-5)


def test_a_union_in_pandas_names_the_columns_of_each_part_and_keeps_the_index(checkpoint):
    index = pd.Index([f"variant {row}" for row in range(len(VARIANTS))])
    union = new_union(checkpoint)
    union.transformer_list.pop()  # one-hot columns of a function have no names
    table = union.set_output(transform="pandas").fit_transform(pd.Series(VARIANTS, index=index))
    pd.testing.assert_index_equal(table.index, index)
    names = [f"embedding__esm2_L3_mean_{i:04d}" for i in range(WIDTH)]
    assert table.columns.tolist() == [*names, "likelihood__esm2_masked-marginals"]
    expected = likelihood_by_hand(checkpoint)[:, 0]
    assert_allclose(table["likelihood__esm2_masked-marginals"], expected, rtol=1e-5, atol=1e-5)


def test_a_clone_of_a_union_has_its_parameters_and_nothing_fitted(checkpoint):
    union = new_union(checkpoint).fit(VARIANTS)
    copy = clone(union)
    for (name, part), (_, other) in zip(union.transformer_list, copy.transformer_list, strict=True):
        if name != "residues":
            assert part is not other
            assert part.get_params() == other.get_params()
            assert vars(other).keys() == other.get_params().keys()
    assert_same_rows(copy.fit_transform(VARIANTS), union.transform(VARIANTS))


def test_a_pickle_of_a_model_is_small_and_predicts_the_same(checkpoint):
    model = new_model(checkpoint).fit(VARIANTS, FITNESS)
    pickled = pickle.dumps(model)
    assert len(pickled) < 10_000
    assert_same_rows(pickle.loads(pickled).predict(VARIANTS[::-1]), model.predict(VARIANTS[::-1]))


# Cross-validation and searches


@pytest.mark.parametrize("cache", ["memory", None])
def test_cross_val_score_is_that_of_the_parts(checkpoint, cache):
    actual = cross_val_score(new_model(checkpoint, cache), VARIANTS, FITNESS, **SCORING)
    assert_allclose(actual, scores_by_hand(checkpoint), **CLOSE_SCORES)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_search_over_method_and_layer_scores_the_parts(checkpoint, n_jobs):
    search = new_search(checkpoint, n_jobs=n_jobs).fit(VARIANTS, FITNESS)
    expected = {
        (str(method), layer): scores_by_hand(checkpoint, method, layer % (LAYERS + 1))
        for method in METHODS
        for layer in (1, -1)
    }
    for candidate, settings in enumerate(search.cv_results_["params"]):
        method = settings["features__likelihood__method"]
        layer = settings["features__embedding__layer"]
        actual = [search.cv_results_[f"split{fold}_test_score"][candidate] for fold in range(3)]
        assert_allclose(actual, expected[str(method), layer], **CLOSE_SCORES)
    assert search.best_index_ == search.cv_results_["mean_test_score"].argmax()
    assert len(search.cv_results_["params"]) == len(expected) == 6


def masked_in_turn(sequence, positions):
    """Return copies of a sequence with each of some positions masked."""
    return [sequence[:p] + MASK + sequence[p + 1 :] for p in positions]


def test_a_search_runs_each_text_once_for_each_kind_of_part_and_a_second_search_none(
    checkpoint, runs, cache
):
    new_search(checkpoint, cache).fit(VARIANTS, FITNESS)
    distinct = sorted(set(VARIANTS))
    assert len(distinct) < len(VARIANTS)
    assert sorted(runs["hidden_states"]) == sorted(2 * distinct)  # two layers
    whole = [copy for variant in distinct for copy in masked_in_turn(variant, range(len(variant)))]
    expected = [*masked_in_turn(REFERENCE, POSITIONS), REFERENCE, *whole]
    assert sorted(runs["log_probabilities"]) == sorted(expected)
    assert runs["contact_map"] == []
    forget(runs)
    new_search(checkpoint, cache).fit(VARIANTS[::-1], FITNESS[::-1])
    assert not any(runs.values())


# Contacts in a pipeline


def test_features_of_contacts_in_a_classifier_are_those_of_fair_esm(checkpoint, runs):
    sequences = CASES["contact-features"].sequences
    kinds = np.array([0, 1] * 4)
    scaled = make_pipeline(StandardScaler(), LogisticRegression())
    contacts = ESMContactTransformer(checkpoint.path, output="features")
    model = make_pipeline(contacts, *scaled)
    actual = cross_val_predict(model, sequences, kinds, cv=4, method="predict_proba")
    features = np.array([features_by_hand(one) for one in fair_esm_contacts(checkpoint, sequences)])
    expected = cross_val_predict(scaled, features, kinds, cv=4, method="predict_proba")
    assert_allclose(actual, expected, rtol=1e-3)
    assert sorted(runs["contact_map"]) == sorted(sequences)


def features_by_hand(contacts):
    numbers = []
    i, j = np.triu_indices(len(contacts), k=6)
    p, apart = contacts[i, j].astype(float), j - i
    for first, last in ((6, 11), (12, 23), (24, len(contacts))):
        band = p[(apart >= first) & (apart <= last)]
        numbers += [(band > 0.5).sum(), band.mean() if len(band) else 0]
    return [*numbers, (p * apart).sum() / p.sum() / len(contacts)]


# One folder

KINDS = {
    "embedding": [(ESMEmbeddingTransformer, {"layer": layer}) for layer in (-1, 0)],
    "contacts": [(ESMContactTransformer, {"output": output}) for output in ("map", "features")],
    "likelihood": [
        (ESMLikelihoodTransformer, {"method": method, "reference": REFERENCE})
        for method in (*MARGINALS, "log-likelihood", "pseudo-perplexity")
    ],
}


@pytest.mark.parametrize("order", [[*KINDS], [*KINDS][::-1]], ids="-".join)
def test_a_folder_keeps_what_each_put_there_apart_in_any_order(checkpoint, folder, runs, order):
    few = VARIANTS[:6]  # the reference is one of them: the same text is run for every kind
    estimators = [
        kind(checkpoint.path, cache=folder, **parameters)
        for name in order
        for kind, parameters in KINDS[name]
    ]
    expected = [clone(one).set_params(cache=None).fit_transform(few) for one in estimators]
    forget(runs)
    for estimator, rows in zip(estimators, expected, strict=True):
        assert_close_rows(estimator.fit_transform(few), rows)
    assert all(runs.values())
    forget(runs)
    for estimator, rows in zip(estimators, expected, strict=True):
        assert_close_rows(clone(estimator).fit_transform(few), rows)
    assert not any(runs.values())
