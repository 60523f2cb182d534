"""Nested cross-validation: no row is predicted by a model that saw it, and scores are scikit-learn's."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import spearmanr
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, cross_val_predict
from sklearn.neighbors import KNeighborsRegressor
from sklearn.svm import SVC

from sklearn_esm.recipes._nested import OutOfFold, fitted, out_of_fold, scores_by_fold

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 3))
Y = X[:, 0] + RANDOM.normal(size=60)
LABELS = np.where(Y > 0, "yes", "no")
GROUPS = np.arange(60) % 10


def nothing():
    pass


def test_predictions_are_those_of_scikit_learn_in_the_order_of_rows():
    search = GridSearchCV(KNeighborsRegressor(), {"n_neighbors": [1, 3, 9]}, cv=3)
    folds = KFold(4, shuffle=True, random_state=0)
    found = out_of_fold(search, X, Y, list(folds.split(X)), None, nothing)
    assert_allclose(found.predicted, cross_val_predict(search, X, Y, cv=folds))
    assert found.probabilities is found.decision is None


def test_inner_folds_get_the_groups_of_the_training_rows():
    search = GridSearchCV(KNeighborsRegressor(), {"n_neighbors": [1, 3, 9]}, cv=GroupKFold(3))
    rows = np.flatnonzero(GROUPS > 3)
    expected = search.fit(X[rows], Y[rows], groups=GROUPS[rows]).cv_results_["mean_test_score"]
    found = fitted(search, X, Y, rows, GROUPS)
    assert found is not search
    assert_allclose(found.cv_results_["mean_test_score"], expected)


def test_a_search_of_one_candidate_is_fitted_without_inner_folds():
    fits = []

    class Counting(KNeighborsRegressor):
        def fit(self, X, y):
            fits.append(len(X))
            return super().fit(X, y)

    found = fitted(GridSearchCV(Counting(), {}, cv=3), X, Y, np.arange(50), None)
    assert fits == [50]
    assert_allclose(found.predict(X[50:]), KNeighborsRegressor().fit(X[:50], Y[:50]).predict(X[50:]))


def test_a_classifier_without_probabilities_has_a_decision():
    splits = list(KFold(3).split(X))
    found = out_of_fold(SVC(), X, LABELS, splits, None, nothing)
    assert found.probabilities is None
    assert_allclose(
        found.decision, cross_val_predict(SVC(), X, LABELS, cv=KFold(3), method="decision_function")
    )


def test_three_classes_have_no_decision():
    labels = np.array(["a", "b", "c"] * 20)
    found = out_of_fold(SVC(), X, labels, list(KFold(3).split(X)), None, nothing)
    assert found.decision is None
    assert list(scores_by_fold(labels, found, KFold(3).split(X), "classification")) == [
        "balanced_accuracy",
        "mcc",
    ]


def test_regression_scores_by_hand():
    measured, predicted = np.array([1.0, 2, 4, 7, 7, 7]), np.array([1.0, 4, 2, 5, 6, 7])
    splits = [(None, np.arange(3)), (None, np.arange(3, 6))]
    scores = scores_by_fold(measured, OutOfFold(predicted, None, None), splits, "regression")
    # squared errors 0, 4 and 4; squared distances from the mean, 7/3, sum to 14/3
    assert scores["spearman"][0] == pytest.approx(spearmanr([1, 2, 4], [1, 4, 2]).statistic) == 0.5
    assert scores["r2"][0] == pytest.approx(1 - 8 / (14 / 3))
    assert_allclose(scores["rmse"], [np.sqrt(8 / 3), np.sqrt(5 / 3)])
    # one value in a fold has neither ranks nor a variance
    assert np.isnan(scores["spearman"][1])
    assert np.isnan(scores["r2"][1])


def test_a_constant_prediction_has_no_rank_correlation():
    scores = scores_by_fold(Y, OutOfFold(np.ones(60), None, None), [(None, np.arange(60))], "regression")
    assert np.isnan(scores["spearman"]).all()
    assert np.isfinite(scores["r2"]).all()


def test_classification_scores_by_hand():
    measured = np.array([0, 0, 1, 1, 1, 1])
    found = OutOfFold(np.array([0, 1, 1, 1, 1, 0]), None, np.array([0.1, 0.6, 0.5, 0.9, 1.0, 0.2]))
    splits = [(None, np.arange(4)), (None, np.array([4, 5]))]
    scores = scores_by_fold(measured, found, splits, "classification")
    assert scores["roc_auc"][0] == 0.75  # three of four pairs are in order
    assert scores["balanced_accuracy"] == [0.75, 0.5]
    assert scores["mcc"][0] == pytest.approx((2 * 1 - 1 * 0) / np.sqrt(3 * 2 * 2 * 1))
    # a test part of one class has no ROC curve, and its mistake is counted without a warning
    assert np.isnan(scores["roc_auc"][1])


def test_probabilities_are_in_the_order_of_rows():
    class Oracle(ClassifierMixin, BaseEstimator):
        def fit(self, X, y):
            self.classes_ = np.unique(y)
            return self

        def predict(self, X):
            return np.where(X[:, 0] > 0, "yes", "no")

        def predict_proba(self, X):
            return np.column_stack([-X[:, 0], X[:, 0]])

    folds = KFold(4, shuffle=True, random_state=1)
    calls = []
    found = out_of_fold(
        Oracle(), X, LABELS, list(folds.split(X)), None, lambda: calls.append(len(calls))
    )
    assert found.probabilities[:, 1].tolist() == X[:, 0].tolist() == found.decision.tolist()
    assert calls == [0, 1, 2, 3]
