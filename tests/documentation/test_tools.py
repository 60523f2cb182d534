"""Each row of the page "What works with which tool": the tool gives what it gives on embeddings."""

import pickle
import re
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose
from sklearn import config_context
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.ensemble import AdaBoostClassifier, BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401, which makes it importable
from sklearn.feature_selection import RFECV, SequentialFeatureSelector
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    permutation_test_score,
    train_test_split,
    validation_curve,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputRegressor
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.utils.fixes import parse_version

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm.datasets import load_peptides

pytestmark = pytest.mark.no_cover

PAGE = Path(__file__).parents[2] / "docs" / "user_guide" / "tools.md"
PEPTIDES = load_peptides()
ROWS = np.r_[0:30, 200:230]
SEQUENCES = PEPTIDES.data[ROWS].tolist()
TABLE = pd.DataFrame({"sequence": SEQUENCES})
FORMS = {"list": SEQUENCES, "array": np.array(SEQUENCES), "column": TABLE["sequence"], "frame": TABLE}
y = np.asarray(PEPTIDES.target)[ROWS]
LYSINES = np.array([sequence.count("K") for sequence in SEQUENCES], dtype=float)
CLASSES = np.digitize(LYSINES, [1, 3])
WEIGHTS = np.linspace(0.1, 2, len(y))
EMBED = ESMEmbeddingTransformer("esm2_t6_1M_bundled")
EMBEDDING = EMBED.fit_transform(SEQUENCES)
HEAD = [StandardScaler(), LogisticRegression(C=0.1)]
C = {"logisticregression__C": [0.01, 0.1]}


def classifier(first):
    return make_pipeline(*map(clone, [first, *HEAD]))


def regressor(first):
    return make_pipeline(clone(first), StandardScaler(), Ridge())


def probabilities(wrap, target=y):
    """Return a case: fit the classifier that ``wrap`` makes of one, and predict."""
    return lambda first, X: wrap(classifier(first)).fit(X, target).predict_proba(X)


def predictions(wrap, target):
    return lambda first, X: wrap(regressor(first)).fit(X, target).predict(X)


def routed(first, X):
    if parse_version(sklearn.__version__) < parse_version("1.8"):
        pytest.skip("a pipeline of scikit-learn 1.7 does not route weights to the score")
    with config_context(enable_metadata_routing=True):
        model = classifier(first)
        model[1].set_fit_request(sample_weight=False)
        model[-1].set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        return cross_val_score(model, X, y, params={"sample_weight": WEIGHTS})


def after_train_test_split(first, X):
    train, test, labels, _ = train_test_split(X, y, random_state=0)
    return classifier(first).fit(train, labels).predict_proba(test)


def stored(save, load):
    return lambda first, X: load(save(classifier(first).fit(X, y))).predict_proba(X)


def through_joblib(model):
    joblib.dump(model, "model.joblib")
    return "model.joblib"


def skops_model(first, X):
    io = pytest.importorskip("skops.io")
    trusted = ["sklearn_esm._embedding.ESMEmbeddingTransformer"]
    return stored(io.dumps, lambda data: io.loads(data, trusted=trusted))(first, X)


def frame_of(library):
    """Return a case: scaled embeddings as a frame of a library."""

    def case(first, X):
        frame = classifier(first)[:-1].set_output(transform=library).fit_transform(X)
        assert type(frame).__module__.startswith(library)
        return frame.to_numpy()

    return case


def with_samplers(first, X):
    imblearn = pytest.importorskip("imblearn")
    sampler = imblearn.over_sampling.SMOTE(random_state=0)
    return imblearn.pipeline.make_pipeline(first, sampler, *map(clone, HEAD)).fit(X, y).predict_proba(X)


def sampler_before(first, X):
    imblearn = pytest.importorskip("imblearn")
    sampler = imblearn.under_sampling.RandomUnderSampler(random_state=0)
    return imblearn.pipeline.make_pipeline(sampler, first, *map(clone, HEAD)).fit(X, y).predict_proba(X)


def balanced_bagging(first, X):
    ensemble = pytest.importorskip("imblearn.ensemble")
    model = ensemble.BalancedBaggingClassifier(classifier(first), n_estimators=2, random_state=0)
    return model.fit(X, y).predict_proba(X)


def optuna_study(first, X):
    optuna = pytest.importorskip("optuna")

    def score(trial):
        model = classifier(first).set_params(logisticregression__C=trial.suggest_float("C", 0.01, 1))
        return cross_val_score(model, X, y, scoring="neg_log_loss").mean()

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0), direction="maximize")
    study.optimize(score, n_trials=2)
    return [trial.value for trial in study.trials]


def optuna_search(first, X):
    optuna_integration = pytest.importorskip("optuna_integration")
    distributions = pytest.importorskip("optuna").distributions
    space = {"logisticregression__C": distributions.FloatDistribution(0.01, 1)}
    search = optuna_integration.OptunaSearchCV(classifier(first), space, n_trials=2, random_state=0)
    return search.fit(X, y).predict_proba(X)


def dask_ml_search(first, X):
    dask_ml = pytest.importorskip("dask_ml.model_selection")
    search = dask_ml.GridSearchCV(classifier(first), C, scheduler="threads")
    return search.fit(X, y).predict_proba(X)


def dask_ml_wrapper(first, X):
    wrappers = pytest.importorskip("dask_ml.wrappers")
    return wrappers.ParallelPostFit(classifier(first)).fit(X, y).predict_proba(X)


def trees(module, name, **parameters):
    def case(first, X):
        model = getattr(pytest.importorskip(module), name)(n_estimators=3, **parameters)
        return make_pipeline(first, model).fit(X, y).predict_proba(X)

    return case


# the columns of the frame are the sequences, or the dimensions of their embeddings
def chosen_columns(first, X):
    columns = make_column_transformer((first, list(X.columns)))
    return columns.fit_transform(X)


def importance(first, X):
    model = classifier(first).fit(X, y)
    if X.shape[1] == 1:
        return permutation_importance(model, X, y, n_repeats=3, random_state=0).importances[0]
    # the same permutations as in scikit-learn, of all dimensions of an embedding at once
    rng = np.random.RandomState(np.random.RandomState(0).randint(np.iinfo(np.int32).max + 1))
    baseline, order, drops = model.score(X, y), np.arange(len(X)), []
    for _ in range(3):
        rng.shuffle(order)
        X = X.iloc[order]
        drops.append(baseline - model.score(X, y))
    return drops


# Name on the page: a function of the first step of a model and of X, which returns numbers.
ANY = {
    "make_pipeline": lambda first, X: classifier(first).fit(X, y).predict_proba(X),
    "make_union": lambda first, X: make_union(first, clone(first)).fit_transform(X),
    "clone": lambda first, X: clone(classifier(first)).fit(X, y).predict_proba(X),
    "train_test_split": after_train_test_split,
    "cross_validate": lambda first, X: cross_validate(classifier(first), X, y)["test_score"],
    "cross_val_score": lambda first, X: cross_val_score(classifier(first), X, y),
    "cross_val_predict": lambda first, X: cross_val_predict(classifier(first), X, y),
    "learning_curve": lambda first, X: learning_curve(
        classifier(first), X, y, train_sizes=[0.5, 1.0], shuffle=True, random_state=0
    )[2],
    "validation_curve": lambda first, X: validation_curve(
        classifier(first), X, y, param_name="logisticregression__C", param_range=[0.01, 0.1]
    )[1],
    "permutation_test_score": lambda first, X: permutation_test_score(
        classifier(first), X, y, n_permutations=2, random_state=0
    )[1],
    "GridSearchCV": probabilities(lambda model: GridSearchCV(model, C)),
    "RandomizedSearchCV": probabilities(
        lambda model: RandomizedSearchCV(model, C, n_iter=2, random_state=0)
    ),
    "HalvingGridSearchCV": probabilities(
        lambda model: HalvingGridSearchCV(model, C, cv=2, random_state=0)
    ),
    "StackingClassifier": probabilities(lambda model: StackingClassifier([("esm", model)], cv=3)),
    "VotingClassifier": probabilities(lambda model: VotingClassifier([("esm", model)], voting="soft")),
    "CalibratedClassifierCV": probabilities(lambda model: CalibratedClassifierCV(model, cv=3)),
    "TunedThresholdClassifierCV": probabilities(lambda model: TunedThresholdClassifierCV(model)),
    "FrozenEstimator": lambda first, X: (
        CalibratedClassifierCV(FrozenEstimator(classifier(first).fit(X, y))).fit(X, y).predict_proba(X)
    ),
    "OneVsRestClassifier": probabilities(OneVsRestClassifier, CLASSES),
    "MultiOutputRegressor": predictions(MultiOutputRegressor, np.column_stack([LYSINES, y])),
    "TransformedTargetRegressor": predictions(
        lambda model: TransformedTargetRegressor(model, func=np.log1p, inverse_func=np.expm1), LYSINES
    ),
    "sample_weight": lambda first, X: (
        classifier(first).fit(X, y, logisticregression__sample_weight=WEIGHTS).predict_proba(X)
    ),
    "enable_metadata_routing": routed,
    'set_output(transform="pandas")': frame_of("pandas"),
    'set_output(transform="polars")': frame_of("polars"),
    "pickle": stored(pickle.dumps, pickle.loads),
    "joblib.dump": stored(through_joblib, joblib.load),
    "skops.io.dump": skops_model,
    "imblearn.pipeline": with_samplers,
    "optuna": optuna_study,
    "OptunaSearchCV": optuna_search,
    "dask_ml.model_selection": dask_ml_search,
    "ParallelPostFit": dask_ml_wrapper,
    "XGBClassifier": trees("xgboost", "XGBClassifier"),
    "LGBMClassifier": trees("lightgbm", "LGBMClassifier", verbose=-1, min_child_samples=5),
}
FRAME = {
    "ColumnTransformer": chosen_columns,
    "BaggingClassifier": probabilities(
        lambda model: BaggingClassifier(model, n_estimators=2, random_state=0)
    ),
    "permutation_importance": importance,
    "RandomUnderSampler": sampler_before,
    "BalancedBaggingClassifier": balanced_bagging,
}
# these wrap what follows the embedding, and refuse a pipeline that begins with it
UNLABELLED = np.where(np.arange(len(y)) % 3, y, -1)
AFTER = {
    "AdaBoostClassifier": (lambda model: AdaBoostClassifier(model, n_estimators=2, random_state=0), y),
    "OneVsOneClassifier": (OneVsOneClassifier, CLASSES),
    "ClassifierChain": (ClassifierChain, np.column_stack([y, LYSINES > 2])),
    "SelfTrainingClassifier": (SelfTrainingClassifier, UNLABELLED),
    "RFECV": (lambda model: RFECV(model, step=0.5, cv=3), y),
    "SequentialFeatureSelector": (
        lambda model: SequentialFeatureSelector(model, n_features_to_select=1, cv=2),
        y,
    ),
    "StackingClassifier(passthrough=True)": (
        lambda model: StackingClassifier([("esm", model)], cv=3, passthrough=True),
        y,
    ),
    "partial_dependence": None,  # a function, with a test of its own
}


def rows_of_the_page():
    """Return what the page says of each tool, ``{name: "any", "frame" or "after"}``."""
    kinds = {"anything": "any", '`df[["sequence"]]`': "frame", "embeddings": "after"}
    rows = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) >= 2 and cells[1] in kinds:
            for name in re.findall(r"`([^`]+)`", cells[0]):
                assert name not in rows, name
                rows[name] = kinds[cells[1]]
    return rows


def test_each_row_of_the_page_is_a_case_and_each_case_a_row():
    cases = [*((name, "any") for name in ANY), *((name, "frame") for name in FRAME)]
    assert rows_of_the_page() == dict([*cases, *((name, "after") for name in AFTER)])


def on_embeddings(case, frame=False):
    X = pd.DataFrame(EMBEDDING) if frame else EMBEDDING
    return case(FunctionTransformer(feature_names_out="one-to-one"), X)


@pytest.mark.filterwarnings(
    "ignore:OptunaSearchCV is exp", "ignore:`optuna.terminator` module has been dep"
)
@pytest.mark.parametrize("form", ["list", "column", "frame"])
@pytest.mark.parametrize("name", ANY)
def test_tools_that_accept_anything(name, form, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    actual = ANY[name](EMBED, FORMS[form])
    assert_allclose(actual, on_embeddings(ANY[name]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", FRAME)
def test_tools_that_need_a_frame(name):
    actual = FRAME[name](EMBED, TABLE)
    assert_allclose(actual, on_embeddings(FRAME[name], frame=True), rtol=1e-4, atol=1e-5)
    for form in ("list", "array", "column"):
        with pytest.raises((ValueError, IndexError, AttributeError)):
            FRAME[name](EMBED, FORMS[form])


@pytest.mark.parametrize("name", [name for name in AFTER if AFTER[name]])
def test_tools_that_need_embeddings(name):
    wrap, target = AFTER[name]
    for form in ("list", "array", "frame"):
        with pytest.raises(ValueError, match=r"2D array|could not convert|sample_weight|dimensions"):
            wrap(classifier(EMBED)).fit(FORMS[form], target)
    wrapped = wrap(clone(HEAD[-1]))
    actual = make_pipeline(EMBED, StandardScaler(), clone(wrapped)).fit(SEQUENCES, target)
    expected = make_pipeline(StandardScaler(), wrapped).fit(EMBEDDING, target)
    method = "predict" if hasattr(wrapped, "predict") and name != "RFECV" else "transform"
    assert_allclose(
        getattr(actual, method)(SEQUENCES), getattr(expected, method)(EMBEDDING), rtol=1e-4, atol=1e-5
    )


def test_partial_dependence_needs_numbers_and_works_for_columns_beside_the_sequences():
    for form in ("list", "array", "frame"):
        with pytest.raises((ValueError, IndexError, TypeError)):
            partial_dependence(
                classifier(EMBED).fit(FORMS[form], y), FORMS[form], [0], grid_resolution=9
            )
    table = TABLE.assign(lysines=LYSINES)
    columns = make_column_transformer((EMBED, "sequence"), ("passthrough", ["lysines"]))
    actual = partial_dependence(classifier(columns).fit(table, y), table, ["lysines"])["average"]
    matrix = np.column_stack([EMBEDDING, LYSINES])
    model = make_pipeline(*map(clone, HEAD)).fit(matrix, y)
    expected = partial_dependence(model, matrix, [matrix.shape[1] - 1])["average"]
    assert_allclose(actual, expected, rtol=1e-4)
