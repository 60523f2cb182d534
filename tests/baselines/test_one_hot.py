"""One-hot columns of aligned sequences, beside those of scikit-learn's encoder on split letters."""

import re

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import issparse
from sklearn.feature_selection import VarianceThreshold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from sklearn_esm.baselines import OneHotResidues
from sklearn_esm.datasets import load_gb1

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
GB1 = load_gb1()
# every residue at every position, and the letters that have no column
ALIGNED = [RESIDUES[shift:] + RESIDUES[:shift] for shift in range(20)] + ["BUZOX" * 4, "AX" * 10]

each_output = pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])


def encoded(sequences):
    """What scikit-learn's encoder makes of a column for each position."""
    letters = np.array([list(sequence) for sequence in sequences])
    encoder = OneHotEncoder(
        categories=[list(RESIDUES)] * letters.shape[1], handle_unknown="ignore", sparse_output=False
    )
    return encoder.fit_transform(letters)


def dense(matrix):
    return matrix.toarray() if issparse(matrix) else matrix


@each_output
@pytest.mark.parametrize("sequences", [ALIGNED, GB1.data, ["A"], ["X"]], ids=len)
def test_columns_are_those_of_the_encoder_of_scikit_learn(sequences, sparse):
    actual = OneHotResidues(sparse_output=sparse).fit_transform(sequences)
    assert issparse(actual) == sparse
    assert actual.dtype == np.float64
    assert_array_equal(dense(actual), encoded(sequences))


@each_output
def test_a_reference_changes_names_and_no_values(sparse):
    plain = OneHotResidues(sparse_output=sparse).fit_transform(GB1.data)
    named = OneHotResidues(sparse_output=sparse, reference=GB1.reference).fit_transform(GB1.data)
    assert_array_equal(dense(named), dense(plain))


def test_sparse_output_takes_twelve_bytes_for_each_residue_that_has_a_column():
    matrix = OneHotResidues(sparse_output=True).fit_transform(ALIGNED)
    assert matrix.format == "csr"
    assert matrix.has_canonical_format
    assert matrix.nnz == 20 * 20 + 0 + 10
    assert matrix.data.nbytes + matrix.indices.nbytes == 12 * matrix.nnz


def test_columns_do_not_depend_on_which_residues_fit_saw():
    one_hot = OneHotResidues().fit(["AAA"])
    assert_array_equal(one_hot.transform(["ACW"]), OneHotResidues().fit_transform(["ACW"]))


def test_a_threshold_on_the_variance_leaves_what_varied_in_training():
    model = make_pipeline(OneHotResidues(reference="GIG"), VarianceThreshold())
    model.fit(["GIG", "GAG", "GWG"])
    assert model.get_feature_names_out().tolist() == ["I2=A", "I2=I", "I2=W"]
    assert model.transform(["KYG"]).tolist() == [[0, 0, 0]]


# Names


@pytest.mark.parametrize(
    ("reference", "prefixes"),
    [
        (None, ["1=", "2=", "3="]),
        ("GIG", ["G1=", "I2=", "G3="]),
        (" gig\n", ["G1=", "I2=", "G3="]),
        ("gX<mask>", ["G1=", "X2=", "<mask>3="]),
    ],
)
def test_feature_names_have_the_residue_of_the_reference_and_the_position(reference, prefixes):
    one_hot = OneHotResidues(reference=reference).fit(["MKT"])
    names = one_hot.get_feature_names_out()
    assert names.tolist() == [prefix + residue for prefix in prefixes for residue in RESIDUES]
    assert names.dtype == object


def test_columns_of_a_frame_are_what_their_names_say():
    one_hot = OneHotResidues(reference=GB1.reference).set_output(transform="pandas")
    table = one_hot.fit_transform(pd.Series(GB1.data))
    for row, mutations in enumerate(GB1.mutations):
        old, position, new = re.fullmatch(r"([A-Z])(\d+)([A-Z])", mutations).groups()
        assert table.loc[row, f"{old}{position}={new}"] == 1
        assert table.loc[row, f"{old}{position}={old}"] == 0
    assert set(table.sum(axis=1)) == {len(GB1.reference)}


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_a_frame_of_sparse_output_is_refused_by_scikit_learn(container):
    one_hot = OneHotResidues(sparse_output=True).set_output(transform=container)
    with pytest.raises(ValueError, match=r"does not support sparse|outputs a scipy sparse matrix"):
        one_hot.fit_transform(["MKT"])


# Policies


@pytest.mark.parametrize("invalid", ["unknown", "mask"])
@each_output
def test_an_invalid_character_has_zeros_at_its_position(invalid, sparse):
    one_hot = OneHotResidues(invalid=invalid, sparse_output=sparse)
    actual = dense(one_hot.fit_transform(["M-T", "MK<mask>"])).reshape(2, 3, 20)
    assert_array_equal(actual[0, [0, 2]], dense(one_hot.transform(["MKT"])).reshape(3, 20)[[0, 2]])
    assert actual.sum(axis=2).tolist() == [[1, 0, 1], [1, 1, 0]]


@each_output
@pytest.mark.parametrize("reference", [None, "MKT"])
def test_a_missing_row_is_a_row_of_nan_in_its_place(sparse, reference):
    one_hot = OneHotResidues(missing="nan", sparse_output=sparse, reference=reference)
    actual = dense(one_hot.fit_transform([None, "MKT", "", "MXT", float("nan")]))
    assert np.isnan(actual[[0, 2, 4]]).all()
    assert_array_equal(actual[[1, 3]], dense(one_hot.transform(["MKT", "MXT"])))
    assert np.isnan(dense(one_hot.transform([None]))).all()


def test_only_missing_rows_teach_no_length():
    with pytest.raises(ValueError, match=r"^X must have at least one sequence.*; got 2 missing rows\."):
        OneHotResidues(missing="nan").fit([None, ""])
    one_hot = OneHotResidues(missing="nan", reference="MKT").fit([None, ""])
    assert one_hot.n_positions_ == 3


# Refusals


@pytest.mark.parametrize(
    ("reference", "whose"), [(None, "sequence 1"), ("GIGKF", "the reference")], ids=str
)
def test_fit_refuses_another_length_and_names_row_and_both_lengths(reference, whose):
    one_hot = OneHotResidues(reference=reference, missing="nan")
    with pytest.raises(ValueError, match="Sequence 3 ") as error:
        one_hot.fit([None, "GIGKF", "GAGKF", "GIGK"])
    assert str(error.value) == (
        f"Sequence 3 (GIGK) must have 5 residues, as {whose} has; got 4. Align the sequences and set "
        "invalid='unknown' for gaps, or use ResidueComposition, which accepts any length."
    )


def test_transform_refuses_another_length_than_that_of_fit():
    one_hot = OneHotResidues().fit(["GIGKF"])
    with pytest.raises(ValueError, match=r"^Sequence 1 \(GIGKFL\) must have 5 residues, .*; got 6\. "):
        one_hot.transform(["GIGKF", "GIGKFL"])


def test_all_rows_of_another_length_are_counted():
    with pytest.raises(ValueError, match=r"length\. 2 other rows are invalid: 2, 4\.$"):
        OneHotResidues(reference="GIGKF").fit(["GIGKF", "GIGK", "GIGKFL", "GAGKF", "GIG"])


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"invalid": "drop"}, ValueError, r"invalid must be 'error', 'unknown' or 'mask', because "),
        ({"invalid": "X"}, ValueError, r"invalid must be 'error', 'unknown' or 'mask'; got 'X'\.$"),
        ({"sparse_output": "csr"}, TypeError, r"sparse_output must be a bool; got 'csr'\.$"),
        ({"reference": ""}, ValueError, r"reference must be a sequence of residues\. .*is missing"),
        ({"reference": "MK-"}, ValueError, r"reference must be .* has '-' at position 3"),
        ({"reference": 3}, TypeError, r"reference must be a sequence of residues\. .*got 3"),
    ],
    ids=str,
)
def test_a_wrong_parameter_is_refused(parameters, error, message):
    with pytest.raises(error, match=f"^{message}"):
        OneHotResidues(**parameters).fit(["MKT"])
