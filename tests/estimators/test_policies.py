"""The policies for what is no residue and for missing rows, by value, through the estimator."""

import numpy as np
import pytest
from fair_esm_oracle import FAMILIES, LAYERS, assert_faithful, fair_esm_residues
from numpy.testing import assert_array_equal
from three_estimators import CASES, assert_same_rows

from sklearn_esm import ESMEmbeddingTransformer

ODD = ["MKT*AYI", "GL-DA.LJITV", "1A", "KA<mask>I SQ*"]
READ_AS = {
    "unknown": ["MKTXAYI", "GLXDAXLXITV", "XA", "KA<mask>IXSQX"],
    "mask": [
        "MKT<mask>AYI",
        "GL<mask>DA<mask>L<mask>ITV",
        "<mask>A",
        "KA<mask>I<mask>SQ<mask>",
    ],
    "drop": ["MKTAYI", "GLDALITV", "A", "KA<mask>ISQ"],
}

# wherever an estimator takes sequences
each_entrance = pytest.mark.parametrize(
    ("name", "method"),
    [
        ("embedding", "precompute"),
        *((name, method) for name in CASES for method in ("fit", "transform")),
    ],
)


def embed(checkpoint, sequences, **parameters):
    return ESMEmbeddingTransformer(checkpoint.path, cache=None, **parameters).fit_transform(sequences)


# invalid


@pytest.mark.parametrize("policy", READ_AS)
@pytest.mark.parametrize("family", FAMILIES)
def test_an_invalid_character_is_read_as_the_policy_says(checkpoints, family, policy):
    states = fair_esm_residues(checkpoints[family], READ_AS[policy], LAYERS)
    expected = np.stack([one.mean(0) for one in states])
    assert_faithful(embed(checkpoints[family], ODD, invalid=policy), expected)


@pytest.mark.parametrize("policy", READ_AS)
def test_the_residues_are_those_of_what_was_read(checkpoints, policy):
    actual = embed(checkpoints["esm2"], ODD, invalid=policy, pooling=None)
    expected = fair_esm_residues(checkpoints["esm2"], READ_AS[policy], LAYERS)
    for one, other in zip(actual, expected, strict=True):
        assert_faithful(one, other)


@pytest.mark.parametrize("policy", ["error", *READ_AS])
def test_a_policy_does_not_touch_valid_sequences(checkpoints, policy):
    sequences = ["MKTAYI", "BUZOX", "a<mask>l", " gl \n"]
    clean = ["MKTAYI", "BUZOX", "A<mask>L", "GL"]
    expected = [one.mean(0) for one in fair_esm_residues(checkpoints["esm2"], clean, LAYERS)]
    assert_faithful(embed(checkpoints["esm2"], sequences, invalid=policy), np.stack(expected))


@pytest.mark.parametrize(("policy", "read_as"), [("unknown", "X"), ("mask", "<mask>"), ("drop", "")])
def test_every_estimator_reads_as_the_policy_says(case, checkpoint, policy, read_as):
    given = [f"{sequence[:2]}-{sequence[2:]}" for sequence in case.sequences]
    read = [sequence.replace("-", read_as) for sequence in given]
    references = {}
    if "reference" in case.parameters:  # is read as the sequences are
        references = {"reference": given[0]}, {"reference": read[0]}
    ours, theirs = references or ({}, {})
    actual = case.new(checkpoint, cache=None, invalid=policy, **ours).fit_transform(given)
    assert_same_rows(actual, case.new(checkpoint, cache=None, **theirs).fit_transform(read))


@each_entrance
def test_an_invalid_character_is_refused_with_its_place(checkpoint, name, method):
    transformer = CASES[name].new(checkpoint).fit(CASES[name].sequences)
    with pytest.raises(ValueError, match="Sequence 1 ") as error:
        getattr(transformer, method)(["MKT", "GLD-ALQITV"])
    assert str(error.value) == (
        "Sequence 1 (GLD-ALQITV) has '-' at position 4, which is not in ESM's alphabet. "
        "Set invalid='unknown', 'mask' or 'drop' to accept it."
    )


def test_the_limit_counts_what_is_left_after_dropping(checkpoints):
    sequence = "-".join("MKTAYIAKQR" * 4)
    actual = embed(checkpoints["esm1b"], [sequence], invalid="drop")
    assert_array_equal(actual, embed(checkpoints["esm1b"], ["MKTAYIAKQR" * 4]))
    with pytest.raises(ValueError, match="must have at most 40 residues for esm1b; got 79"):
        embed(checkpoints["esm1b"], [sequence], invalid="unknown")


def test_truncation_counts_residues_after_dropping(checkpoints):
    actual = embed(checkpoints["esm2"], ["M-K-T-A"], invalid="drop", overlong="truncate", max_length=3)
    assert_array_equal(actual, embed(checkpoints["esm2"], ["MKT"]))


# missing

NOTHING = [None, float("nan"), "", " \n", np.float32("nan")]


@pytest.mark.parametrize("nothing", NOTHING, ids=repr)
def test_a_missing_row_is_a_row_of_nan_in_its_place(checkpoints, nothing):
    rows = [nothing, "MKT", nothing, "GLDALQITV", "MKT", nothing]
    actual = embed(checkpoints["esm2"], rows, missing="nan", pooling=["mean", "max"])
    present = embed(checkpoints["esm2"], ["MKT", "GLDALQITV", "MKT"], pooling=["mean", "max"])
    assert actual.dtype == np.float32
    assert_array_equal(actual[[1, 3, 4]], present)
    assert np.isnan(actual[[0, 2, 5]]).all()


def test_every_estimator_leaves_missing_rows_in_their_place(case, checkpoint):
    first, second = case.sequences[1:3]
    estimator = case.new(checkpoint, cache=None, missing="nan", invalid="drop")
    actual = estimator.fit_transform([None, first, "**", second, first, ""])
    present = case.new(checkpoint, cache=None).fit_transform([first, second, first])
    assert_same_rows(actual[[1, 3, 4]], present)
    for row in actual[[0, 2, 5]]:
        # a map has no residues, and of features and scores there is none
        assert row.shape == (0, 0) if case.dtype is object else np.isnan(row).all()


def test_every_estimator_takes_nothing_but_missing_rows_without_a_run(case, checkpoint, runs):
    actual = case.new(checkpoint, missing="nan").fit_transform([None, ""])
    assert not any(runs.values())
    beside_another = case.new(checkpoint, missing="nan").fit_transform([None, case.sequences[1], ""])
    assert any(runs.values())
    assert_same_rows(actual, beside_another[[0, 2]])


def test_what_dropping_empties_is_missing(checkpoints):
    actual = embed(checkpoints["esm2"], ["***", "MKT", "-"], missing="nan", invalid="drop")
    assert np.isnan(actual).all(axis=1).tolist() == [True, False, True]
    assert_array_equal(actual[1:2], embed(checkpoints["esm2"], ["MKT"]))


def test_a_matrix_may_be_missing_altogether(checkpoints):
    actual = embed(checkpoints["esm2"], [None, ""], missing="nan", layer=[0, 1])
    assert actual.shape == (2, 64)
    assert np.isnan(actual).all()


def test_a_missing_row_without_pooling_is_an_array_of_no_residues(checkpoints):
    actual = embed(checkpoints["esm2"], [None, "MKT", ""], missing="nan", pooling=None, layer=[0, 3])
    assert [states.shape for states in actual] == [(0, 64), (3, 64), (0, 64)]
    assert {states.dtype for states in actual} == {np.dtype(np.float32)}
    expected = [fair_esm_residues(checkpoints["esm2"], ["MKT"], layer)[0] for layer in (0, 3)]
    assert_faithful(actual[1], np.concatenate(expected, axis=1))


def test_missing_rows_without_pooling_share_no_memory(checkpoints):
    first, second = embed(checkpoints["esm2"], ["MKT", "MKT"], pooling=None)
    first[:] = 0
    assert np.abs(second).max() > 0


@pytest.mark.parametrize("policy", ["truncate", "window"])
def test_a_missing_row_has_no_length(checkpoints, policy):
    actual = embed(checkpoints["esm2"], [None, "MKTAYI"], missing="nan", overlong=policy, max_length=4)
    assert np.isnan(actual[0]).all()
    assert np.isfinite(actual[1]).all()


@each_entrance
@pytest.mark.parametrize(("nothing", "found"), [(None, "None"), ("", "''"), (float("nan"), "nan")])
def test_a_missing_row_is_refused_with_its_number(checkpoint, name, method, nothing, found):
    transformer = CASES[name].new(checkpoint).fit(CASES[name].sequences)
    with pytest.raises(ValueError, match="Sequence 1 is missing") as error:
        getattr(transformer, method)(["MKT", nothing])
    assert str(error.value) == (
        f"Sequence 1 is missing: found {found}. Set missing='nan' for a row of NaN, or remove the row."
    )


def test_what_dropping_empties_is_refused_as_missing(checkpoints):
    with pytest.raises(ValueError, match=r"Sequence 0 is missing: found \*\*, of which invalid='drop'"):
        embed(checkpoints["esm2"], ["**"], invalid="drop")
