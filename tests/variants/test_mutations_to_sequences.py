"""`MutationsToSequences` in pipelines, searches, tables and files."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.utils import estimator_html_repr, get_tags
from three_estimators import REFERENCE, VARIANTS

from sklearn_esm import ESMEmbeddingTransformer, ESMLikelihoodTransformer
from sklearn_esm.variants import MutationsToSequences

MUTATIONS = [
    "WT",
    "S23A",
    "G1A",
    "K10W",
    "H7K",
    "G1A:H7K:S23A",
    "K10G",
    "G1W:K10G:N22K",
]
INDEX = pd.Index([f"variant {row}" for row in range(8)])
TABLE = pd.DataFrame({"mutant": MUTATIONS, "dose": np.arange(8.0)}, index=INDEX)
Y = np.arange(8.0) % 3


@pytest.fixture
def embed(checkpoint):
    return ESMEmbeddingTransformer(checkpoint.path)


# Values


def test_rows_are_the_sequences_of_the_mutations():
    to_sequences = MutationsToSequences(REFERENCE)
    sequences = to_sequences.fit_transform(MUTATIONS)
    assert (sequences.dtype, sequences.shape) == (object, (8,))
    assert sequences.tolist() == VARIANTS
    assert to_sequences.reference_ == REFERENCE
    assert to_sequences.inverse_transform(sequences).tolist() == MUTATIONS


def test_positions_count_from_the_first_one():
    to_sequences = MutationsToSequences(f" {REFERENCE.lower()}\n", first_position=24)
    names = ["G24A:S46A", "WT"]
    sequences = to_sequences.fit_transform(names)
    assert sequences.tolist() == ["AIGKFLHSAKKFGKAFVGEIMNA", REFERENCE]
    assert to_sequences.inverse_transform(sequences).tolist() == names


@pytest.mark.parametrize("call", ["fit", "transform"])
def test_an_invalid_row_is_refused(call):
    to_sequences = MutationsToSequences(REFERENCE).fit(["WT"])
    with pytest.raises(ValueError, match=r"^Row 1 \(K24R\) must have positions 1 to 23"):
        getattr(to_sequences, call)(["WT", "K24R"])


@pytest.mark.parametrize("call", ["fit", "transform", "inverse_transform"])
@pytest.mark.parametrize("X", ["G1A", [], TABLE], ids=["str", "empty", "two columns"])
def test_what_is_no_column_is_refused(call, X):
    to_sequences = MutationsToSequences(REFERENCE).fit(["WT"])
    with pytest.raises(ValueError, match=r"^(X must|Found array with 0)"):
        getattr(to_sequences, call)(X)


def test_an_invalid_parameter_is_refused_by_fit_only():
    to_sequences = MutationsToSequences("Q2A", first_position="1")
    with pytest.raises(TypeError, match=r"^first_position must be an integer"):
        to_sequences.fit(["WT"])
    with pytest.raises(ValueError, match=r"^reference must be a sequence of residues\. .*\(Q2A\)"):
        to_sequences.set_params(first_position=1).fit(["WT"])


@pytest.mark.parametrize("call", ["transform", "inverse_transform", "get_feature_names_out"])
def test_before_fit_is_refused(call):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(MutationsToSequences(REFERENCE), call)(["WT"])


# scikit-learn


def test_parameters_are_stored_as_they_are_and_cloned():
    parameters = {"reference": "".join(["mk", "t"]), "first_position": np.int64(7)}
    to_sequences = MutationsToSequences(**parameters)
    assert all(vars(to_sequences)[name] is value for name, value in parameters.items())
    assert clone(to_sequences).get_params() == parameters


def test_tags_and_link_tell_of_texts():
    tags = get_tags(MutationsToSequences(REFERENCE))
    assert (tags.input_tags.string, tags.input_tags.one_d_array) == (True, True)
    assert not tags.input_tags.two_d_array
    assert "/api/sklearn_esm.variants.MutationsToSequences.html" in estimator_html_repr(
        MutationsToSequences(REFERENCE)
    )


@pytest.mark.parametrize("X", [TABLE["mutant"], TABLE[["mutant"]]], ids=["series", "frame"])
def test_pandas_output_is_one_column_with_the_index(X):
    table = MutationsToSequences(REFERENCE).set_output(transform="pandas").fit_transform(X)
    expected = pd.DataFrame({"sequence": VARIANTS}, index=INDEX, dtype=table.dtypes.iloc[0])
    pd.testing.assert_frame_equal(table, expected)


def test_polars_output_is_one_column_of_strings():
    X = pl.DataFrame({"mutant": MUTATIONS})
    table = MutationsToSequences(REFERENCE).set_output(transform="polars").fit_transform(X)
    assert table.schema == {"sequence": pl.String}
    assert table["sequence"].to_list() == VARIANTS


def test_a_pipeline_embeds_a_column_of_mutations(embed):
    model = make_pipeline(MutationsToSequences(REFERENCE), embed)
    assert_array_equal(model.fit_transform(TABLE["mutant"]), embed.fit_transform(VARIANTS))
    assert model.get_feature_names_out().tolist() == embed.get_feature_names_out().tolist()


def test_a_pipeline_scores_a_column_of_mutations(checkpoint):
    score = ESMLikelihoodTransformer(checkpoint.path, method="wt-marginals", reference=REFERENCE)
    model = make_pipeline(MutationsToSequences(REFERENCE), score)
    assert_array_equal(model.fit_transform(TABLE["mutant"]), score.fit_transform(VARIANTS))


def test_a_union_of_pipelines_puts_both_side_by_side(checkpoint, embed):
    score = ESMLikelihoodTransformer(checkpoint.path, method="wt-marginals", reference=REFERENCE)
    union = FeatureUnion(
        [
            (name, make_pipeline(MutationsToSequences(REFERENCE), one))
            for name, one in {"embedding": embed, "score": score}.items()
        ]
    )
    expected = np.hstack([embed.fit_transform(VARIANTS), score.fit_transform(VARIANTS)])
    assert_allclose(union.fit_transform(TABLE["mutant"]), expected, rtol=1e-6)


@pytest.mark.parametrize("selected", ["mutant", ["mutant"]])
def test_a_column_transformer_takes_the_column_of_a_table(embed, selected):
    model = make_pipeline(MutationsToSequences(REFERENCE), embed)
    columns = ColumnTransformer([("esm", model, selected)], remainder="passthrough")
    expected = np.column_stack([embed.fit_transform(VARIANTS), TABLE["dose"]])
    assert_array_equal(columns.fit_transform(TABLE), expected)


def test_a_column_transformer_with_pandas_output_adds_the_sequences():
    columns = ColumnTransformer(
        [("to", MutationsToSequences(REFERENCE), "mutant")],
        remainder="passthrough",
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    table = columns.fit_transform(TABLE)
    assert table.columns.tolist() == ["sequence", "dose"]
    assert table["sequence"].tolist() == VARIANTS
    pd.testing.assert_index_equal(table.index, INDEX)


def test_a_search_is_the_same_as_with_the_sequences(embed):
    folds = KFold(2, shuffle=True, random_state=0)
    found = []
    for steps, X in [([MutationsToSequences(REFERENCE)], TABLE["mutant"]), ([], VARIANTS)]:
        model = make_pipeline(*steps, clone(embed), Ridge())
        grid = {"esmembeddingtransformer__layer": [0, -1], "ridge__alpha": [0.1, 10]}
        found.append(GridSearchCV(model, grid, cv=folds).fit(X, Y).cv_results_["mean_test_score"])
    assert_allclose(found[0], found[1], rtol=1e-6)


def test_pickles_and_skops_files_give_the_same_rows():
    fitted = MutationsToSequences(REFERENCE, first_position=2).fit(["WT"])
    skops_io = pytest.importorskip("skops.io")
    dumped = skops_io.dumps(fitted)
    trusted = ["sklearn_esm.variants._transformer.MutationsToSequences"]
    assert skops_io.get_untrusted_types(data=dumped) == trusted
    for read in (pickle.loads(pickle.dumps(fitted)), skops_io.loads(dumped, trusted=trusted)):
        assert vars(read) == vars(fitted)
        assert read.transform(["G2A"]).tolist() == ["AIGKFLHSAKKFGKAFVGEIMNS"]
