"""`make_property_search` is the grid search that a user would write, and checks its parameters."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, StratifiedKFold
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_esm import ESMEmbeddingTransformer, ESMLikelihoodTransformer
from sklearn_esm.baselines import OneHotResidues, ResidueComposition
from sklearn_esm.datasets import load_gb1, load_peptides
from sklearn_esm.recipes import make_property_search
from sklearn_esm.recipes._estimators import CLASSIFIERS, REGRESSORS
from sklearn_esm.variants import MutationsToSequences

MODEL = "esm2_t6_1M_bundled"
PEPTIDES, GB1 = load_peptides(), load_gb1()
SOME = slice(None, None, 7)


def scores_of(search):
    return search.cv_results_["mean_test_score"]


def test_a_classifier_equals_plain_scikit_learn():
    X, y = PEPTIDES.data[SOME], PEPTIDES.target[SOME]
    steps = [
        ("features", ESMEmbeddingTransformer(MODEL)),
        ("scale", StandardScaler()),
        ("estimator", LogisticRegression(max_iter=5000, random_state=1)),
    ]
    grid = {
        "features__layer": [3, 6],
        "features__pooling": ["mean", "max"],
        "estimator__C": [0.001, 0.01, 0.1, 1, 10],
    }
    folds = StratifiedKFold(3, shuffle=True, random_state=1)
    expected = GridSearchCV(Pipeline(steps), grid, scoring="balanced_accuracy", cv=folds).fit(X, y)
    search = make_property_search(
        "logistic", model=MODEL, layers=[3, 6], poolings=["mean", "max"], cv=3, random_state=1
    ).fit(X, y)
    assert_allclose(scores_of(search), scores_of(expected))
    assert search.best_params_ == expected.best_params_


def test_a_union_on_mutations_equals_plain_scikit_learn():
    X, y, groups = GB1.mutations[SOME], GB1.target[SOME], GB1.positions[SOME]
    wild = GB1.reference
    features = FeatureUnion(
        [
            ("one-hot", OneHotResidues(reference=wild)),
            ("embedding", ESMEmbeddingTransformer(MODEL)),
            ("composition", ResidueComposition(length="log")),
            ("likelihood", ESMLikelihoodTransformer(MODEL, method="masked-marginals", reference=wild)),
        ]
    )
    steps = [
        ("sequences", MutationsToSequences(wild)),
        ("features", features),
        ("scale", StandardScaler()),
        ("estimator", Ridge()),
    ]
    grid = {
        "features__embedding__layer": [0, 6],
        "estimator__alpha": [1, 10, 100, 1000, 10000],
    }
    expected = GridSearchCV(Pipeline(steps), grid, scoring="r2", cv=GroupKFold(3))
    expected.fit(X, y, groups=groups)
    search = make_property_search(
        features=["one-hot", "embedding", "composition", "likelihood"],
        model=MODEL,
        layers=[0, 6],
        mutations=True,
        reference=wild,
        cv=GroupKFold(3),
    ).fit(X, y, groups=groups)
    assert_allclose(scores_of(search), scores_of(expected), rtol=1e-6)
    assert_allclose(search.predict(X), expected.predict(X), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("estimator", "task"),
    [(name, "regression") for name in REGRESSORS] + [(name, "classification") for name in CLASSIFIERS],
)
def test_every_estimator_learns_composition(estimator, task):
    X = PEPTIDES.data[::3]
    y = PEPTIDES.target[::3]
    if task == "regression":  # hydrophobic residues, which the composition holds
        y = np.array([sum(residue in "AILMFVW" for residue in one) / len(one) for one in X])
        y += np.random.default_rng(0).normal(scale=0.05, size=len(y))
    search = make_property_search(
        estimator, task=task, features="composition", cv=3, random_state=0
    ).fit(X, y)
    assert search.best_score_ > (0.4 if task == "regression" else 0.7)


def test_scores_of_a_support_vector_machine_do_not_depend_on_units():
    X, y = GB1.data[::20], GB1.target[::20]
    search = make_property_search("svm", features="one-hot", cv=3, random_state=0)
    small = clone(search).fit(X, y / 1000).predict(X)
    # its solver stops at a tolerance
    assert_allclose(small * 1000, search.fit(X, y).predict(X), rtol=0.02, atol=0.01)


def test_the_seed_repeats_folds_and_estimator():
    X, y = PEPTIDES.data[SOME], PEPTIDES.target[SOME]
    one, other = (
        make_property_search(
            "random-forest", task="classification", features="composition", cv=3, random_state=5
        ).fit(X, y)
        for _ in range(2)
    )
    assert scores_of(one).tolist() == scores_of(other).tolist()
    assert one.predict_proba(X).tolist() == other.predict_proba(X).tolist()


def test_all_layers_are_those_of_the_model(checkpoint):
    assert make_property_search(model=MODEL, layers="all").param_grid["features__layer"] == [*range(7)]
    # known from the catalog, so nothing is downloaded
    published = make_property_search(model="esm2_t33_650M_UR50D", layers="all")
    assert published.param_grid["features__layer"] == [*range(34)]
    n_layers = ESMEmbeddingTransformer(checkpoint.path).fit(["MKT"]).n_layers_
    local = make_property_search(model=checkpoint.path, layers="all")
    assert local.param_grid["features__layer"] == [*range(n_layers + 1)]


def test_parameters_reach_the_steps():
    search = make_property_search(
        "gaussian-process",
        features=["embedding", "likelihood", "one-hot"],
        model=MODEL,
        layers=2,
        poolings="bos",
        mutations=True,
        reference="MKTAYI",
        first_position=7,
        overlong="truncate",
        max_length=5,
        invalid="mask",
        cache=None,
        device="cpu",
        dtype="bfloat16",
        batch_tokens=100,
        n_jobs=2,
        scoring="neg_mean_absolute_error",
        verbose=True,
        random_state=3,
    )
    steps = search.estimator.named_steps
    parts = dict(steps["features"].transformer_list)
    assert (steps["sequences"].reference, steps["sequences"].first_position) == ("MKTAYI", 7)
    assert (parts["embedding"].layer, parts["embedding"].pooling) == (2, "bos")
    assert parts["likelihood"].reference == parts["one-hot"].reference == "MKTAYI"
    assert parts["one-hot"].invalid == "mask"
    shared = {
        "model": MODEL,
        "overlong": "truncate",
        "max_length": 5,
        "invalid": "mask",
        "cache": None,
        "device": "cpu",
        "dtype": "bfloat16",
        "batch_tokens": 100,
        "verbose": True,
    }
    for name in ("embedding", "likelihood"):
        assert shared.items() <= parts[name].get_params().items()
    assert (search.n_jobs, search.scoring, search.param_grid) == (2, "neg_mean_absolute_error", {})
    assert steps["estimator"].random_state == search.cv.random_state == 3
    assert isinstance(search.cv, KFold)


def test_an_invalid_sequence_is_an_error_and_no_score_of_nan():
    with pytest.raises(ValueError, match="'J' at position 2"):
        make_property_search(features="composition", cv=2).fit(["MJ", "MK", "AK", "AA"], [1, 2, 3, 4])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"estimator": "lasso"}, "estimator must be 'ridge', 'svm'"),
        ({"task": "ranking"}, "task must be 'regression' or 'classification'; got 'ranking'"),
        ({"task": "classification"}, "estimator must be 'logistic', .* for classification; got 'ridge'"),
        ({"estimator": "logistic", "task": "regression"}, "for regression; got 'logistic'"),
        ({"features": []}, "features must not be empty"),
        ({"features": ["one-hot", "one-hot"]}, "features must not repeat a name"),
        ({"features": "embeddings"}, "features must be 'embedding', 'likelihood', 'one-hot' or"),
        ({"layers": "last"}, "layers must be an integer, a list of integers or 'all'; got 'last'"),
        ({"layers": [1, 1]}, "layers must not be empty or repeat a value"),
        ({"poolings": []}, "poolings must not be empty or repeat a value"),
        ({"poolings": "median"}, "poolings must be 'mean'"),
        ({"mutations": True}, "reference must be the wild-type sequence if mutations=True; got None"),
    ],
)
def test_invalid_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        make_property_search(**parameters)


def test_mutations_must_be_a_bool():
    with pytest.raises(TypeError, match="mutations must be a bool; got 'mutant'"):
        make_property_search(mutations="mutant", reference="MKT")
