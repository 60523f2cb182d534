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
from sklearn_esm._execution._pieces import (
    Batch,
    Item,
    _windows,
    cut,
    plan_batches,
    residues_read,
    tokens_of,
)
from sklearn_esm._sequences import MASK

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
        f"Sequence 2 (MKTAYIAKQRQISFVKS...) must have at most 40 residues for esm1b; got "
        f"{len(PROTEIN)}. Set overlong='truncate' or 'window' to accept it."
    )


def test_a_limit_of_the_users_own_is_an_error_too(checkpoints):
    with pytest.raises(
        ValueError, match=r"Sequence 1 \(MKTAYI\) must have at most 5 residues for esm2; got 6"
    ):
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
    with pytest.raises(
        ValueError, match="max_length must be None or at most 40, the limit of esm1b; got 41"
    ) as error:
        embed(checkpoints["esm1b"], ["MKT"], max_length=41, overlong=overlong)
    assert "Set overlong='truncate' or 'window' to accept longer sequences." in str(error.value)


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
    starts = [start for start, _ in _windows(residues, length)]
    assert starts[0] == 0
    assert starts[-1] + length == residues
    steps = np.diff(starts)
    assert (steps[:-1] == max(1, length // 2)).all()
    assert 0 < steps[-1] <= max(1, length // 2)


@settings(deadline=None, max_examples=50)
@given(LENGTHS)
def test_the_kept_parts_partition_the_residues(lengths):
    residues, length = lengths
    kept = [residue for _, keep in _windows(residues, length) for residue in keep]
    assert kept == list(range(residues))


@settings(deadline=None, max_examples=50)
@given(LENGTHS)
def test_a_residue_is_kept_from_the_first_of_its_most_central_windows(lengths):
    windows = _windows(*lengths)
    starts = np.array([start for start, _ in windows])
    for number, (_, keep) in enumerate(windows):
        for residue in keep:
            central = np.minimum(residue - starts, starts + lengths[1] - 1 - residue)
            assert central[number] >= 0
            assert number == np.argmax(central)


@settings(deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=20), st.integers(1, 99), st.integers(1, 50))
def test_every_sequence_is_planned_once_within_the_budget(lengths, batch_tokens, window):
    items = [Item("A" * length, tuple(range(0, length, 3)) if length % 2 else ()) for length in lengths]
    batches = plan_batches(items, batch_tokens, window)
    assert sorted(row for batch in batches for row in batch.rows) == list(range(len(items)))
    for batch in batches:
        assert batch.items == tuple(items[row] for row in batch.rows)
        pieces = list(cut(batch, window))
        assert tokens_of(pieces) <= batch_tokens or len(batch.rows) == 1
        read = sum(len(piece.residues) for piece in pieces)
        assert read == sum(residues_read(item, window) for item in batch.items)


@settings(deadline=None)
@given(st.text("ACDEF", min_size=1, max_size=40), st.integers(1, 50), st.sets(st.integers(0, 39)))
def test_pieces_keep_every_position_once_and_in_order(sequence, window, masked):
    item = Item(sequence, tuple(sorted(p for p in masked if p < len(sequence))))
    pieces = list(cut(Batch((7,), (item,)), window))
    kept = [position for piece in pieces for position in piece.keep]
    assert kept == list(item.masked or range(len(sequence)))
    assert [piece.is_last for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    for piece in pieces:
        assert piece.row == 7
        read = list(sequence)
        if item.masked:
            (position,) = piece.keep
            read[position] = MASK
        assert piece.residues == "".join(read)[piece.offset : piece.offset + window]
