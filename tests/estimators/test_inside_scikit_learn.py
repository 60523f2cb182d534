"""The transformer in pipelines, column transformers and searches; the model runs once a sequence."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from fair_esm_oracle import LAYERS, WIDTH, assert_faithful, fair_esm_residues
from joblib import parallel_config
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict, cross_val_score
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_esm import ESMEmbeddingTransformer

pytestmark = pytest.mark.no_cover

LENGTHS = np.random.default_rng(1).permutation(np.arange(6, 26))
SEQUENCES = [
    "".join(np.random.default_rng(int(length)).choice(list("ACDEFGHIKLMNPQRSTVWY"), length))
    for length in LENGTHS
]
CHARGE = np.array([sum(map(s.count, "KR")) - sum(map(s.count, "DE")) for s in SEQUENCES], dtype=float)
IS_LONG = np.greater(LENGTHS, np.median(LENGTHS))
FOLDS = KFold(3, shuffle=True, random_state=0)
# scores add up the differences of thousands of numbers, through a solver
CLOSE_SCORES = {"rtol": 1e-3, "atol": 1e-4}
ALPHAS = [0.01, 1.0, 100.0]


def fair_esm_pooled(checkpoint, layer=LAYERS, pooling=np.mean):
    states = fair_esm_residues(checkpoint, SEQUENCES, layer)
    return np.stack([pooling(residues, axis=0) for residues in states])


def ridge(checkpoint, **parameters):
    return make_pipeline(
        ESMEmbeddingTransformer(checkpoint.path, **parameters), StandardScaler(), Ridge()
    )


# Composition


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("selected", ["seq", ["seq"]])
def test_column_transformer_takes_a_column_by_name_and_as_a_list(checkpoint, library, selected):
    data = {"charge": CHARGE, "seq": SEQUENCES, "length": LENGTHS.astype(float)}
    table = {"pandas": pd.DataFrame, "polars": pl.DataFrame}[library](data)
    columns = ColumnTransformer(
        [
            ("embedding", ESMEmbeddingTransformer(checkpoint.path), selected),
            ("numbers", "passthrough", ["length", "charge"]),
        ]
    )
    expected = np.column_stack([fair_esm_pooled(checkpoint), LENGTHS, CHARGE])
    assert_faithful(columns.fit_transform(table), expected)
    names = [f"embedding__esm2_L3_mean_{i:04d}" for i in range(WIDTH)]
    assert columns.get_feature_names_out().tolist() == [*names, "numbers__length", "numbers__charge"]


@pytest.mark.parametrize("selected", ["seq", ["seq"]])
def test_column_transformer_keeps_the_index_in_pandas_output(checkpoint, selected):
    index = pd.Index([f"protein {row}" for row in range(len(SEQUENCES))])
    table = pd.DataFrame({"seq": SEQUENCES, "charge": CHARGE}, index=index)
    embed = ESMEmbeddingTransformer(checkpoint.path)
    columns = ColumnTransformer([("esm", embed, selected)], remainder="passthrough")
    result = columns.set_output(transform="pandas").fit_transform(table)
    pd.testing.assert_index_equal(result.index, index)
    assert_faithful(result.filter(like="esm__"), fair_esm_pooled(checkpoint))
    assert_array_equal(result["remainder__charge"], CHARGE)


def test_column_transformer_in_pandas_output_keeps_the_rows_of_a_shuffled_table_together(checkpoint):
    # scikit-learn before 1.7.1 drops the index of a Series, and joins columns by their index
    table = pd.DataFrame({"seq": SEQUENCES, "charge": CHARGE}).sample(frac=1, random_state=0)
    columns = ColumnTransformer(
        [("esm", ESMEmbeddingTransformer(checkpoint.path), "seq")], remainder="passthrough"
    )
    result = columns.set_output(transform="pandas").fit_transform(table)
    assert_faithful(result.filter(like="esm__"), fair_esm_pooled(checkpoint)[table.index])
    assert_array_equal(result["remainder__charge"], CHARGE[table.index])


def test_feature_union_puts_two_models_side_by_side(checkpoints):
    parts = {family: ESMEmbeddingTransformer(checkpoints[family].path) for family in ("esm2", "esm1b")}
    union = FeatureUnion(list(parts.items()))
    expected = np.hstack([fair_esm_pooled(checkpoints[family]) for family in parts])
    assert_faithful(union.fit_transform(SEQUENCES), expected)
    assert union.get_feature_names_out()[[0, -1]].tolist() == [
        "esm2__esm2_L3_mean_0000",
        "esm1b__esm1b_L3_mean_0031",
    ]


def test_feature_names_go_through_a_pipeline(checkpoint):
    names = ridge(checkpoint)[:-1].fit(SEQUENCES).get_feature_names_out()
    assert names.tolist() == [f"esm2_L3_mean_{i:04d}" for i in range(WIDTH)]


def test_pipeline_with_a_passthrough_transformer_step_scores_fitted_sequences(checkpoint):
    pipeline = ridge(checkpoint).set_params(standardscaler="passthrough").fit(SEQUENCES, CHARGE)
    features = fair_esm_pooled(checkpoint)
    expected = Ridge().fit(features, CHARGE).predict(features)
    assert_allclose(pipeline.predict(SEQUENCES), expected, **CLOSE_SCORES)


# Cross-validation and searches


@pytest.mark.parametrize("cache", ["memory", None])
def test_cross_val_score_of_a_regression_is_that_of_fair_esms_features(checkpoint, cache):
    features = fair_esm_pooled(checkpoint)
    plain = make_pipeline(StandardScaler(), Ridge())
    expected = cross_val_score(plain, features, CHARGE, cv=FOLDS, scoring="neg_mean_squared_error")
    model = ridge(checkpoint, cache=cache)
    actual = cross_val_score(model, SEQUENCES, CHARGE, cv=FOLDS, scoring="neg_mean_squared_error")
    assert_allclose(actual, expected, **CLOSE_SCORES)


@pytest.mark.parametrize("cache", ["memory", None])
def test_cross_val_score_of_a_classification_is_that_of_fair_esms_features(checkpoint, cache):
    plain = make_pipeline(StandardScaler(), LogisticRegression())
    model = make_pipeline(ESMEmbeddingTransformer(checkpoint.path, cache=cache), clone(plain))
    expected = cross_val_score(plain, fair_esm_pooled(checkpoint), IS_LONG, scoring="neg_log_loss")
    actual = cross_val_score(model, SEQUENCES, IS_LONG, scoring="neg_log_loss")
    assert_allclose(actual, expected, rtol=5e-3)  # the solver stops at a tolerance of its own


def test_cross_val_predict_with_shuffled_folds_keeps_rows_in_place(checkpoint):
    plain = make_pipeline(StandardScaler(), Ridge())
    expected = cross_val_predict(plain, fair_esm_pooled(checkpoint), CHARGE, cv=FOLDS)
    actual = cross_val_predict(ridge(checkpoint), SEQUENCES, CHARGE, cv=FOLDS)
    assert_allclose(actual, expected, **CLOSE_SCORES)


@pytest.mark.parametrize("X", [pd.Series(SEQUENCES, index=LENGTHS), np.array(SEQUENCES)], ids=type)
def test_cross_val_predict_takes_columns_and_arrays(checkpoint, X):
    expected = cross_val_predict(ridge(checkpoint), SEQUENCES, CHARGE, cv=FOLDS)
    assert_allclose(cross_val_predict(ridge(checkpoint), X, CHARGE, cv=FOLDS), expected, **CLOSE_SCORES)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_grid_search_over_layer_and_pooling_scores_fair_esms_features(checkpoint, n_jobs):
    grid = {
        "esmembeddingtransformer__layer": [0, 1, -1],
        "esmembeddingtransformer__pooling": ["mean", "max"],
    }
    options = {"cv": FOLDS, "scoring": "neg_mean_squared_error"}
    search = GridSearchCV(ridge(checkpoint), grid, n_jobs=n_jobs, **options).fit(SEQUENCES, CHARGE)
    plain = make_pipeline(StandardScaler(), Ridge())
    expected = [
        cross_val_score(plain, fair_esm_pooled(checkpoint, layer, pooling), CHARGE, **options)
        for layer in (0, 1, LAYERS)
        for pooling in (np.mean, np.max)
    ]
    actual = [search.cv_results_[f"split{fold}_test_score"] for fold in range(FOLDS.n_splits)]
    assert_allclose(np.transpose(actual), expected, **CLOSE_SCORES)
    assert search.best_index_ == np.mean(expected, axis=1).argmax()


@pytest.mark.parametrize("backend", ["loky", "threading"])
@pytest.mark.parametrize("pooling", ["mean", None])
def test_workers_of_the_transformer_give_fair_esms_values(checkpoint, backend, pooling):
    embed = ESMEmbeddingTransformer(
        checkpoint.path, pooling=pooling, batch_tokens=60, n_jobs=2, cache=None
    )
    with parallel_config(backend):
        actual = embed.fit_transform(SEQUENCES)
    expected = fair_esm_residues(checkpoint, SEQUENCES, LAYERS)
    for row, states in enumerate(expected):
        assert_faithful(actual[row], states.mean(0) if pooling else states)


# One forward pass for each distinct sequence


def test_search_over_the_head_embeds_each_sequence_once(checkpoint, embedded):
    search = GridSearchCV(ridge(checkpoint), {"ridge__alpha": ALPHAS}, cv=FOLDS, n_jobs=1)
    search.fit(SEQUENCES, CHARGE)
    assert sorted(embedded) == sorted(SEQUENCES)


def test_search_over_layers_embeds_each_sequence_once_for_each(checkpoint, embedded):
    grid = {"esmembeddingtransformer__layer": [1, 2, 3], "ridge__alpha": ALPHAS[:2]}
    GridSearchCV(ridge(checkpoint), grid, cv=FOLDS, n_jobs=1).fit(SEQUENCES, CHARGE)
    assert sorted(embedded) == sorted(3 * SEQUENCES)


def test_search_after_precompute_does_not_run_the_model(checkpoint, embedded):
    grid = {
        "esmembeddingtransformer__layer": range(LAYERS + 1),
        "esmembeddingtransformer__pooling": ["mean", "max", ["max", "mean"]],
    }
    model = ridge(checkpoint)
    model[0].precompute(SEQUENCES, layers="all", poolings=["mean", "max"])
    assert sorted(embedded) == sorted(SEQUENCES)
    embedded.clear()
    GridSearchCV(model, grid, cv=FOLDS, n_jobs=1).fit(SEQUENCES, CHARGE)
    assert embedded == []


def test_precomputed_vectors_are_fair_esms(checkpoint):
    embed = ESMEmbeddingTransformer(checkpoint.path).precompute(SEQUENCES, poolings=["mean", "max"])
    for layer in range(LAYERS + 1):
        for name, pooling in {"mean": np.mean, "max": np.max}.items():
            actual = embed.set_params(layer=layer, pooling=name).fit_transform(SEQUENCES)
            assert_faithful(actual, fair_esm_pooled(checkpoint, layer, pooling))


def test_precompute_returns_the_estimator_and_leaves_it_unfitted(checkpoint):
    embed = ESMEmbeddingTransformer(checkpoint.path)
    assert embed.precompute(SEQUENCES) is embed
    assert vars(embed) == embed.get_params()


@pytest.mark.parametrize("parameters", [{"cache": None}, {"pooling": None}, {"pooling": np.ptp}])
def test_precompute_with_nothing_to_keep_is_refused(checkpoint, parameters):
    embed = ESMEmbeddingTransformer(checkpoint.path, **parameters)
    with pytest.raises((TypeError, ValueError), match="precompute must have a cache"):
        embed.precompute(SEQUENCES)


def test_clones_and_new_estimators_share_what_one_has_embedded(checkpoint, embedded):
    first = ESMEmbeddingTransformer(checkpoint.path)
    expected = first.fit_transform(SEQUENCES)
    embedded.clear()
    assert_array_equal(clone(first).fit_transform(SEQUENCES), expected)
    other = ESMEmbeddingTransformer(str(checkpoint.path), layer=LAYERS, batch_tokens=30, n_jobs=2)
    assert_array_equal(other.fit_transform(SEQUENCES), expected)
    assert embedded == []


def test_only_new_sequences_are_embedded(checkpoint, embedded):
    embed = ESMEmbeddingTransformer(checkpoint.path).fit(SEQUENCES)
    embed.transform(SEQUENCES[:15])
    embedded.clear()
    assert_faithful(embed.transform(SEQUENCES[5:]), fair_esm_pooled(checkpoint)[5:])
    assert sorted(embedded) == sorted(SEQUENCES[15:])


def test_without_a_cache_each_call_embeds_again(checkpoint, embedded):
    embed = ESMEmbeddingTransformer(checkpoint.path, cache=None).fit(SEQUENCES)
    embed.transform(SEQUENCES)
    embed.transform(SEQUENCES)
    assert sorted(embedded) == sorted(2 * SEQUENCES)


@pytest.mark.parametrize("cache", ["memory", None])
def test_repeated_sequences_are_embedded_once(checkpoint, embedded, cache):
    embed = ESMEmbeddingTransformer(checkpoint.path, cache=cache)
    # the same protein in another writing is the same protein
    given = [*SEQUENCES, *SEQUENCES[::-1], f" {SEQUENCES[0].lower()}\n"]
    expected = fair_esm_pooled(checkpoint)
    assert_faithful(embed.fit_transform(given), expected[[*range(20), *range(20)[::-1], 0]])
    assert sorted(embedded) == sorted(SEQUENCES)


def test_changing_the_matrix_does_not_change_what_is_cached(checkpoint):
    embed = ESMEmbeddingTransformer(checkpoint.path)
    expected = embed.fit_transform(SEQUENCES).copy()
    embed.transform(SEQUENCES)[:] = 0
    assert_array_equal(embed.transform(SEQUENCES), expected)
