"""Names of the columns, and matrices as frames of pandas and polars: what stands in each, and where."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from fair_esm_oracle import WIDTH, assert_faithful, fair_esm_residues
from numpy.testing import assert_array_equal
from sklearn.base import clone
from three_estimators import CASES, SEQUENCES, assert_same_rows

from sklearn_esm import ESMEmbeddingTransformer

INDEX = pd.Index([f"protein {row}" for row in range(8)], name="accession")


@pytest.fixture
def estimator(case, checkpoint):
    """Not fitted; without a cache, which could hide that values change."""
    return case.new(checkpoint, cache=None)


# Names


def test_feature_names_tell_the_model_and_what_stands_in_each_column(estimator, case):
    names = estimator.fit(case.sequences).get_feature_names_out()
    assert names.tolist() == case.names
    assert names.dtype == object


def test_feature_names_call_a_function_by_its_name(checkpoint):
    def first_two(residues):
        return residues[0, :2]

    embed = ESMEmbeddingTransformer(checkpoint.path, pooling=["mean", first_two]).fit(SEQUENCES)
    assert embed.get_feature_names_out()[-3:].tolist() == [
        "esm2_L3_mean_0031",
        "esm2_L3_first_two_0000",
        "esm2_L3_first_two_0001",
    ]


def test_columns_of_an_embedding_are_what_their_names_say(checkpoint):
    embed = CASES["embedding"].new(checkpoint)
    table = embed.set_output(transform="pandas").fit_transform(SEQUENCES)
    states = fair_esm_residues(checkpoint, SEQUENCES, 0)
    expected = np.stack([residues.max(0) for residues in states])
    assert_faithful(table[[f"esm2_L0_max_{i:04d}" for i in range(WIDTH)]], expected)


@pytest.mark.parametrize("name", ["likelihood", "variants"])
def test_columns_of_likelihood_are_the_methods_that_their_names_say(checkpoint, name):
    case = CASES[name]
    table = case.new(checkpoint).set_output(transform="pandas").fit_transform(case.sequences)
    for method in case.parameters["method"]:
        alone = case.new(checkpoint, method=method).fit_transform(case.sequences)
        assert_array_equal(table[f"esm2_{method}"], alone[:, 0])
    assert table.nunique().min() >= len(case.sequences) - 1


# Frames


@pytest.mark.parametrize("form", ["series", "frame"])
def test_pandas_output_has_names_and_keeps_the_index(estimator, case, form):
    X = pd.Series(case.sequences, index=INDEX, name="seq")
    if form == "frame":
        X = X.to_frame()
    plain = clone(estimator).fit_transform(X)
    table = estimator.set_output(transform="pandas").fit_transform(X)
    assert table.columns.tolist() == case.names
    pd.testing.assert_index_equal(table.index, INDEX)
    if case.dtype is object:
        assert_same_rows(table[case.names[0]].to_numpy(), plain)
    else:
        pd.testing.assert_frame_equal(table, pd.DataFrame(plain, index=INDEX, columns=case.names))


@pytest.mark.parametrize("form", ["list", "series", "frame"])
def test_polars_output_has_names(estimator, case, form):
    X = {
        "list": case.sequences,
        "series": pl.Series(case.sequences),
        "frame": pl.DataFrame({"s": case.sequences}),
    }[form]
    plain = clone(estimator).fit_transform(case.sequences)
    table = estimator.set_output(transform="polars").fit_transform(X)
    assert isinstance(table, pl.DataFrame)
    assert table.columns == case.names
    if case.dtype is object:
        for one, other in zip(table[case.names[0]], plain, strict=True):
            assert_array_equal(one, other)
    else:
        assert_same_rows(table.to_numpy(), plain)


def test_pandas_output_of_residues_is_one_column_of_arrays(checkpoint):
    X = pd.Series(SEQUENCES, index=INDEX)
    embed = ESMEmbeddingTransformer(checkpoint.path, pooling=None)
    table = clone(embed).set_output(transform="pandas").fit_transform(X)
    assert table.columns.tolist() == ["esm2_L3_residues"]
    assert_array_equal(table.loc["protein 2", "esm2_L3_residues"], embed.fit_transform(X)[2])


def test_pandas_output_of_missing_rows_is_nan_in_their_place(case, checkpoint):
    X = pd.Series([None, *case.sequences[1:7], ""], index=INDEX)
    table = case.new(checkpoint, missing="nan").set_output(transform="pandas").fit_transform(X)
    pd.testing.assert_index_equal(table.index, INDEX)
    if case.dtype is object:
        assert table[case.names[0]].map(np.shape).iloc[[0, -1]].tolist() == [(0, 0), (0, 0)]
    else:
        assert table.isna().all(axis=1).tolist() == [True, *[False] * 6, True]
        assert table.isna().any(axis=1).tolist() == [True, *[False] * 6, True]


def test_polars_output_of_missing_rows_is_nan_in_their_place(checkpoint):
    embed = ESMEmbeddingTransformer(checkpoint.path, missing="nan").set_output(transform="polars")
    table = embed.fit_transform([None, *SEQUENCES[:2], ""])
    assert np.isnan(table.to_numpy()).all(axis=1).tolist() == [True, False, False, True]
    assert_array_equal(table.to_numpy()[1:3], clone(embed).fit_transform(SEQUENCES[:2]))


def test_polars_output_of_residues_is_one_column_of_arrays(checkpoint):
    embed = ESMEmbeddingTransformer(checkpoint.path, pooling=None)
    table = clone(embed).set_output(transform="polars").fit_transform(SEQUENCES)
    assert table.columns == ["esm2_L3_residues"]
    assert_array_equal(table["esm2_L3_residues"][2], embed.fit_transform(SEQUENCES)[2])


@pytest.mark.parametrize(
    "index",
    [
        pd.Index([7, 7, 2], name="assay"),
        pd.MultiIndex.from_tuples([("lysozyme", 1), ("lysozyme", 2), ("barnase", 1)]),
    ],
    ids=["repeated", "of two levels"],
)
@pytest.mark.parametrize("dtype", [object, "string[pyarrow]"])
def test_pandas_output_keeps_any_index_whatever_holds_the_strings(checkpoint, index, dtype):
    pytest.importorskip("pyarrow")
    X = pd.Series(SEQUENCES[:3], index=index, dtype=dtype)
    embed = ESMEmbeddingTransformer(checkpoint.path)
    table = clone(embed).set_output(transform="pandas").fit_transform(X)
    pd.testing.assert_index_equal(table.index, index)
    assert_array_equal(table, embed.fit_transform(SEQUENCES[:3]))
