"""Sequences over the limit: refused, cut, or read in windows, each by value against fair-esm."""

import re
import warnings
from functools import cache

import numpy as np
import pytest
from fair_esm_oracle import (
    LAYERS,
    assert_faithful,
    fair_esm_residues,
    fair_esm_states,
    save_random_checkpoint,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm._engine import plan_units
from sklearn_esm._engine._plan import cut_windows

LIMIT = 40  # of the random ESM-1b
PROTEIN = (  # 106 residues
    "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEK"
    "AVQVKVKALPDAQFEVVHSLAKWKRQTLGQHDFSAGEGLYTHMKALRPDEDRL"
)
SEQUENCES = [
    PROTEIN[: LIMIT + 1],
    "GLDALQITV",
    PROTEIN,
    PROTEIN[:LIMIT],
    PROTEIN[3:70] + "<mask>" + PROTEIN[30:],
    PROTEIN[:60],
]
WHOLE = {
    "mean": lambda states: states[1:-1].mean(0),
    "max": lambda states: states[1:-1].max(0),
    "std": lambda states: states[1:-1].std(0),
    "bos": lambda states: states[0],
    "eos": lambda states: states[-1],
}


def embed(checkpoint, sequences=SEQUENCES, **parameters):
    return ESMEmbeddingTransformer(checkpoint.path, cache=None, **parameters).fit_transform(sequences)


# error


@pytest.mark.parametrize("method", ["fit", "transform", "precompute"])
def test_a_sequence_over_the_limit_is_refused_with_its_row(checkpoints, method):
    transformer = ESMEmbeddingTransformer(checkpoints["esm1b"].path).fit(["A"])
    with pytest.raises(ValueError, match="Sequence 2 ") as error:
        getattr(transformer, method)(["MKT", PROTEIN[:LIMIT], PROTEIN])
    assert str(error.value) == (
        f"Sequence 2 (MKTAYIAKQRQISFVKS...) has {len(PROTEIN)} residues, and esm1b takes 40 here. "
        "Pass overlong='truncate' or 'window' to allow it."
    )


def test_a_limit_of_the_users_own_is_an_error_too(checkpoints):
    with pytest.raises(ValueError, match=r"Sequence 1 \(MKTAYI\) has 6 residues, and esm2 takes 5 here"):
        embed(checkpoints["esm2"], ["MKTAY", "MKTAYI"], max_length=5)


def test_a_sequence_of_just_the_limit_is_embedded_whole(checkpoints):
    actual = embed(checkpoints["esm1b"], [PROTEIN[:LIMIT]], pooling=None)[0]
    assert_faithful(actual, fair_esm_residues(checkpoints["esm1b"], [PROTEIN[:LIMIT]], LAYERS)[0])


def test_a_mask_counts_as_one_residue_of_the_limit(checkpoints):
    sequence = "<mask>" * LIMIT
    actual = embed(checkpoints["esm1b"], [sequence], pooling=None)[0]
    assert_faithful(actual, fair_esm_residues(checkpoints["esm1b"], [sequence], LAYERS)[0])


@pytest.mark.parametrize("family", ["esm2", "esm1"])
def test_esm2_and_esm1_have_no_limit(checkpoints, family):
    sequence = 13 * PROTEIN  # more than the 1,022 residues of ESM-1b
    actual = embed(checkpoints[family], [sequence], layer=1, pooling=None)[0]
    assert_faithful(actual, fair_esm_residues(checkpoints[family], [sequence], 1)[0])


@pytest.mark.parametrize("overlong", ["error", "truncate", "window"])
def test_a_limit_above_that_of_the_model_is_refused(checkpoints, overlong):
    with pytest.raises(ValueError, match="max_length=41 is more than the 40 residues of esm1b") as error:
        embed(checkpoints["esm1b"], ["MKT"], max_length=41, overlong=overlong)
    assert "Pass None or less, and overlong='window' for longer ones." in str(error.value)


# truncate


@pytest.mark.parametrize(
    ("family", "max_length"), [("esm1b", None), ("esm1v", 11), ("esm2", 7), ("esm1", 7)]
)
def test_truncate_is_the_embedding_of_the_beginning(checkpoints, family, max_length):
    residues = [re.findall("<mask>|.", sequence) for sequence in SEQUENCES]
    shorter = ["".join(sequence[: max_length or LIMIT]) for sequence in residues]
    states = fair_esm_residues(checkpoints[family], shorter, LAYERS)
    expected = np.stack([one.mean(0) for one in states])
    actual = embed(checkpoints[family], overlong="truncate", max_length=max_length)
    assert_faithful(actual, expected)


# window


@cache
def windowed_states(checkpoint, sequence, layer, length):
    """``(tokens, width)`` of a sequence, token by token from the most central window."""
    residues = re.findall("<mask>|.", sequence)
    last = len(residues) - length
    if last <= 0:
        return fair_esm_states(checkpoint, [sequence], layer)[0]
    starts = [*range(0, last, max(1, length // 2)), last]
    pieces = ["".join(residues[start : start + length]) for start in starts]
    windows = fair_esm_states(checkpoint, pieces, layer)
    tokens = [windows[0][0]]  # BOS
    for residue in range(len(residues)):
        central = [
            min(residue - start, start + length - 1 - residue)  # negative outside of the window
            for start in starts
        ]
        best = int(np.argmax(central))  # the first of equals
        assert central[best] >= 0
        tokens.append(windows[best][1 + residue - starts[best]])
    if checkpoint.has_eos:
        tokens.append(windows[-1][-1])
    return np.stack(tokens)


# the oracle runs fair-esm once per window: short sequences for short windows
SHORT = [PROTEIN[:8], "GLDALQITV", "MKT", PROTEIN[:7], "MKTAY<mask>IAKQRQISF", PROTEIN[20:45]]
WINDOWED = [
    ("esm1b", None, SEQUENCES),
    ("esm1v", 33, SEQUENCES),
    ("esm2", 7, SHORT),
    ("esm1", 7, SHORT),
]
SMALLEST = [("esm2", 1, SHORT[:3]), ("esm2", 2, SHORT[:3]), ("esm1", 3, SHORT[:3])]


@pytest.mark.parametrize(("family", "max_length", "sequences"), WINDOWED + SMALLEST)
@pytest.mark.no_cover
def test_windows_give_every_residue_its_most_central_state(checkpoints, family, max_length, sequences):
    checkpoint = checkpoints[family]
    parameters = {"overlong": "window", "max_length": max_length, "pooling": None}
    actual = embed(checkpoint, sequences, layer=[0, -1], **parameters)
    for row, sequence in enumerate(sequences):
        expected = [
            windowed_states(checkpoint, sequence, layer, max_length or LIMIT) for layer in (0, LAYERS)
        ]
        end = -1 if checkpoint.has_eos else None
        assert_faithful(actual[row], np.concatenate(expected, axis=1)[1:end])


@pytest.mark.parametrize(("family", "max_length", "sequences"), WINDOWED)
@pytest.mark.no_cover
def test_windows_are_pooled_once(checkpoints, family, max_length, sequences):
    checkpoint = checkpoints[family]
    poolings = [name for name in WHOLE if checkpoint.has_eos or name != "eos"]
    expected = []
    for sequence in sequences:
        row = []
        for layer in (LAYERS, 0):
            states = windowed_states(checkpoint, sequence, layer, max_length or LIMIT)
            if not checkpoint.has_eos:
                states = np.concatenate([states, states[:1]])  # a stand-in, which no pooling reads
            row += [WHOLE[name](states.astype(np.float64)) for name in poolings]
        expected.append(row)
    parameters = {"overlong": "window", "max_length": max_length, "pooling": poolings}
    actual = embed(checkpoint, sequences, layer=[-1, 0], **parameters)
    assert_faithful(actual.reshape(np.shape(expected)), np.array(expected))


@pytest.mark.parametrize("batch_tokens", [1, 90, 10_000])
def test_how_many_windows_run_together_does_not_show(checkpoints, batch_tokens):
    expected = embed(checkpoints["esm1b"], overlong="window")
    actual = embed(checkpoints["esm1b"], overlong="window", batch_tokens=batch_tokens)
    assert_faithful(actual, expected)


def test_windows_do_not_touch_what_fits(checkpoints):
    short = [sequence[:LIMIT] for sequence in SEQUENCES[:4]]
    assert_faithful(
        embed(checkpoints["esm1b"], short, overlong="window"), embed(checkpoints["esm1b"], short)
    )


def test_windows_over_a_long_protein_raise_no_warning(tmp_path):
    checkpoint = save_random_checkpoint(tmp_path / "a.pt", "esm1b", layers=1, max_length=9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        matrix = embed(checkpoint, [100 * PROTEIN], overlong="window", pooling=["bos", "mean"])
    assert np.isfinite(matrix).all()


# where the windows lie

LENGTHS = st.integers(1, 60).flatmap(
    lambda length: st.tuples(st.integers(length + 1, 8 * length + 9), st.just(length))
)


@settings(deadline=None, max_examples=50)
@given(LENGTHS)
def test_windows_are_whole_and_overlap_by_half_at_least(lengths):
    residues, length = lengths
    starts = [start for start, _, _ in cut_windows(residues, length)]
    assert starts[0] == 0
    assert starts[-1] + length == residues
    steps = np.diff(starts)
    assert (steps[:-1] == max(1, length // 2)).all()
    assert 0 < steps[-1] <= max(1, length // 2)


@settings(deadline=None, max_examples=50)
@given(LENGTHS)
def test_the_kept_parts_partition_the_residues(lengths):
    residues, length = lengths
    kept = [residue for _, first, end in cut_windows(residues, length) for residue in range(first, end)]
    assert kept == list(range(residues))


@settings(deadline=None, max_examples=50)
@given(LENGTHS)
def test_a_residue_is_kept_from_the_first_of_its_most_central_windows(lengths):
    windows = cut_windows(*lengths)
    starts = np.array([start for start, _, _ in windows])
    for number, (_, first, end) in enumerate(windows):
        for residue in range(first, end):
            central = np.minimum(residue - starts, starts + lengths[1] - 1 - residue)
            assert central[number] >= 0
            assert number == np.argmax(central)


@settings(deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=20), st.integers(1, 99), st.integers(1, 50))
def test_every_sequence_is_planned_once_within_the_budget(lengths, batch_tokens, window):
    sequences = ["A" * length for length in lengths]
    units = plan_units(sequences, batch_tokens, window)
    assert sorted(row for unit in units for row in unit.rows) == list(range(len(sequences)))
    for unit in units:
        assert unit.sequences == tuple(sequences[row] for row in unit.rows)
        assert bool(unit.windows) == (len(unit.sequences[0]) > window)
        tokens = sum(len(sequence) + 2 for sequence in unit.sequences)
        assert tokens <= batch_tokens or len(unit.rows) == 1
