"""Contacts of sequences that are too long or large, invalid or missing; parameters that are refused."""

import re
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from fair_esm_oracle import fair_esm_contacts, save_random_regression
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_esm import ESMContactTransformer
from sklearn_esm._engine import PackedModel
from sklearn_esm._execution import _workers

LIMIT = 40  # of the random ESM-1b
PROTEIN = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQVKVKALPDAQFEVVHSLAK"  # 75 residues


def contacts(checkpoint, sequences, **parameters):
    return ESMContactTransformer(checkpoint.path, **{"cache": None, **parameters}).fit_transform(
        sequences
    )


def assert_contacts(actual, expected):
    for one, other in zip(actual, expected, strict=True):
        assert_allclose(one, other, rtol=0, atol=1e-5)


# overlong


@pytest.mark.parametrize("method", ["fit", "transform"])
def test_an_overlong_sequence_is_refused_with_its_row(checkpoints, method):
    transformer = ESMContactTransformer(checkpoints["esm1b"].path).fit(["A"])
    with pytest.raises(
        ValueError, match=r"Sequence 1 \(MKTAY.*must have at most 40 residues for esm1b; got 75"
    ):
        getattr(transformer, method)(["MKT", PROTEIN])


def test_the_way_out_of_an_overlong_sequence_is_one_that_there_is(checkpoints):
    # windows are refused here, so that nobody must be sent there
    with pytest.raises(ValueError, match="Set overlong='truncate'") as error:
        contacts(checkpoints["esm1b"], [PROTEIN])
    assert "window" not in str(error.value)


def test_a_limit_above_that_of_the_model_is_refused_without_sending_to_windows(checkpoints):
    with pytest.raises(
        ValueError, match="max_length must be None or at most 40, the limit of esm1b; got 41"
    ) as error:
        contacts(checkpoints["esm1b"], ["MKT"], max_length=41)
    assert "window" not in str(error.value)


@pytest.mark.parametrize("method", ["fit", "transform"])
def test_windows_are_refused(checkpoint, method):
    transformer = ESMContactTransformer(checkpoint.path).fit(["A"]).set_params(overlong="window")
    with pytest.raises(ValueError, match="overlong must be 'error' or 'truncate'; got 'window'"):
        getattr(transformer, method)(["MKT"])


@pytest.mark.parametrize(("family", "max_length"), [("esm1b", None), ("esm2", 17), ("esm1", 17)])
def test_truncate_gives_the_map_of_the_beginning(checkpoints, family, max_length):
    parameters = {"overlong": "truncate", "max_length": max_length}
    actual = contacts(checkpoints[family], [PROTEIN, "MKT"], **parameters)
    beginning = PROTEIN[: max_length or LIMIT]
    assert_contacts(actual, fair_esm_contacts(checkpoints[family], [beginning, "MKT"]))


# too little memory


@pytest.fixture
def small_device(checkpoint, tmp_path, monkeypatch):
    """A copy of the checkpoint for which nothing was too large yet, on a device that takes 30 tokens."""
    observe_attention = PackedModel.observe_attention

    def limited(model, tokens, see):
        if len(tokens.ids) > 30:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        observe_attention(model, tokens, see)

    monkeypatch.setattr(PackedModel, "observe_attention", limited)
    monkeypatch.setattr(_workers, "batches_at_a_time", lambda *_: 1)  # as on a GPU
    copy = replace(checkpoint, path=tmp_path / "fresh.pt")
    copy.path.write_bytes(checkpoint.path.read_bytes())
    save_random_regression(copy)
    return copy


def test_a_sequence_that_memory_does_not_hold_is_named_with_a_way_out_that_there_is(small_device):
    with pytest.raises(MemoryError, match=r"MKTAYIAKQRQISFVKS\.\.\. \(75 residues\)") as error:
        contacts(small_device, [PROTEIN])
    assert "window" not in str(error.value)


def test_no_smaller_batches_are_advised_where_there_are_none(small_device):
    # sequences are run one by one: how many share a unit of work cannot be what memory did not hold
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with pytest.raises(MemoryError):
            contacts(small_device, [PROTEIN, "MKT", "GLDALQITV"])
    assert not [one for one in told if "batch_tokens" in str(one.message)]


# invalid


@pytest.mark.parametrize(
    ("policy", "read_as"),
    [("unknown", "MKTXAYIXAKQR"), ("mask", "MKT<mask>AYI<mask>AKQR"), ("drop", "MKTAYIAKQR")],
)
def test_an_invalid_character_is_read_as_the_policy_says(checkpoint, policy, read_as):
    actual = contacts(checkpoint, ["MKT*AYI-AKQR"], invalid=policy)
    assert_contacts(actual, fair_esm_contacts(checkpoint, [read_as]))


def test_an_invalid_character_is_refused_with_its_place(checkpoint):
    with pytest.raises(ValueError, match=r"Sequence 1 \(MK\*T\) has '\*' at position 3"):
        contacts(checkpoint, ["MKT", "MK*T"])


# missing


def test_a_missing_row_is_a_map_of_no_residues(checkpoint):
    actual = contacts(checkpoint, [None, "MKTAYIAKQR", "", "GLDALQITV"], missing="nan")
    assert [one.shape for one in actual] == [(0, 0), (10, 10), (0, 0), (9, 9)]
    assert all(one.dtype == np.float32 for one in actual)
    assert_contacts(actual[[1, 3]], fair_esm_contacts(checkpoint, ["MKTAYIAKQR", "GLDALQITV"]))


def test_features_of_a_missing_row_are_nan(checkpoint):
    sequences = ["MKTAYIAKQR", "GLDALQITV"]
    actual = contacts(
        checkpoint,
        [None, sequences[0], "--", sequences[1]],
        output="features",
        missing="nan",
        invalid="drop",
    )
    assert np.isnan(actual[[0, 2]]).all()
    assert_array_equal(actual[[1, 3]], contacts(checkpoint, sequences, output="features"))


def test_nothing_but_missing_rows_runs_nothing(checkpoint, runs):
    maps = contacts(checkpoint, [None, ""], missing="nan")
    assert [one.shape for one in maps] == [(0, 0), (0, 0)]
    features = contacts(checkpoint, [None, ""], missing="nan", output="features")
    assert_array_equal(features, np.full((2, 7), np.nan, dtype=np.float32))
    assert runs["contact_map"] == []


def test_a_missing_row_is_an_error_by_default(checkpoint):
    with pytest.raises(ValueError, match="Sequence 1 is missing"):
        contacts(checkpoint, ["MKT", None])


# parameters


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"output": "maps"}, "output must be 'map' or 'features'; got 'maps'."),
        ({"output": None}, "output must be 'map' or 'features'; got None."),
        ({"overlong": "cut"}, "overlong must be 'error' or 'truncate'; got 'cut'."),
        ({"invalid": "ignore"}, "invalid must be 'error', 'unknown', 'mask' or 'drop'; got 'ignore'."),
        ({"missing": "skip"}, "missing must be 'error' or 'nan'; got 'skip'."),
        ({"dtype": "float64"}, "or 'int8'; got 'float64'."),
        ({"max_length": 0}, "max_length must be None or a positive integer; got 0."),
    ],
    ids=str,
)
def test_parameters_are_refused_when_fitting(checkpoint, parameters, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        ESMContactTransformer(checkpoint.path, **parameters).fit(["MKT"])


@pytest.mark.parametrize("model", [None, 7])
def test_a_model_of_another_kind_is_refused_in_our_own_words(model):
    with pytest.raises(
        TypeError, match=f"model must be a str or path-like; got {model}. Pass a model's"
    ):
        ESMContactTransformer(model).fit(["MKT"])


def test_a_name_that_nobody_published_is_refused_with_a_suggestion():
    with pytest.raises(ValueError, match="Did you mean 'esm2_t6_8M_UR50D'"):
        ESMContactTransformer("esm2_t6_8M_UR50").fit(["MKT"])
