"""Input without rows, as an empty partition of a table: transform returns no rows, fit is refused."""

import numpy as np
import pandas as pd
import pytest
from fair_esm_oracle import WIDTH
from three_estimators import CASES

from sklearn_esm import ESMEmbeddingTransformer

FORMS = {
    "list": list,
    "tuple": tuple,
    "array": lambda: np.array([]),
    "array of strings": lambda: np.array([], dtype=str),
    "column of an array": lambda: np.empty((0, 1), dtype=object),
    "pandas column": lambda: pd.Series([], dtype=object),
    "pandas frame": lambda: pd.DataFrame({"seq": []}),
    "polars column": lambda: pytest.importorskip("polars").Series("seq", [], dtype=str),
    "polars frame": lambda: pytest.importorskip("polars").DataFrame({"seq": []}),
    "pyarrow column": lambda: pytest.importorskip("pyarrow").array([], type="string"),
    "pyarrow table": lambda: pytest.importorskip("pyarrow").table({"seq": []}),
}


@pytest.fixture
def fitted(case, checkpoint):
    return case.new(checkpoint).fit(case.sequences)


@pytest.mark.parametrize("form", FORMS)
def test_transform_returns_no_rows(fitted, case, form):
    rows = fitted.transform(FORMS[form]())
    assert rows.shape == ((0,) if case.dtype is object else (0, len(case.names)))
    assert rows.dtype == case.dtype


def test_transform_to_residues_returns_no_rows(checkpoint):
    rows = ESMEmbeddingTransformer(checkpoint.path, pooling=None).fit(["MKT"]).transform([])
    assert (rows.shape, rows.dtype) == ((0,), object)


def test_a_function_pools_no_rows(checkpoint):
    embed = ESMEmbeddingTransformer(checkpoint.path, pooling=lambda states: states[0]).fit(["MKT"])
    assert embed.transform([]).shape == (0, WIDTH)


@pytest.mark.parametrize("form", ["pandas column", "pandas frame"])
def test_pandas_output_has_the_columns_and_the_index(fitted, case, form):
    X = FORMS[form]()
    table = fitted.set_output(transform="pandas").transform(X)
    assert table.columns.tolist() == list(case.names)
    assert table.index.equals(X.index)


def test_nothing_is_run(fitted, runs):
    fitted.transform([])
    assert not any(runs.values())


@pytest.mark.parametrize("form", FORMS)
def test_fit_is_refused(checkpoint, form):
    with pytest.raises(ValueError, match=r"Found array with 0 sample\(s\).* while a minimum of 1 is"):
        CASES["embedding"].new(checkpoint).fit(FORMS[form]())


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.empty((0, 0)), r"0 feature\(s\) \(shape=\(0, 0\)\) while a minimum of 1 is required"),
        (pd.DataFrame(), r"0 feature\(s\) \(shape=\(0, 0\)\) while a minimum of 1 is required"),
        (pd.DataFrame({"id": [], "seq": []}), r"must have one column; got 2 columns \('id', 'seq'\)"),
        ("", "got a single str"),
    ],
    ids=str,
)
def test_transform_without_exactly_one_column_is_refused(checkpoint, X, message):
    embed = ESMEmbeddingTransformer(checkpoint.path).fit(["MKT"])
    with pytest.raises(ValueError, match=message):
        embed.transform(X)
