"""Likelihoods of sequences: fair-esm's own logits, a pass for each masked residue, summed by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from fair_esm_oracle import (
    FAMILIES,
    RandomCheckpoint,
    fair_esm,
    fair_esm_log_probability,
    residues_of,
    rounding,
    save_random_checkpoint,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_esm import ESMLikelihoodTransformer, _likelihood_scores
from sklearn_esm._checkpoints._locate import find_checkpoint
from sklearn_esm._checkpoints._reader import read_checkpoint
from sklearn_esm._engine import PackedModel
from sklearn_esm._engine._tokens import mask_token, tokenise
from sklearn_esm._sequences import RESIDUES

SEQUENCES = [
    "MKTAYIAKQR",
    "A",
    "ACDEFGHIKLMNPQRSTVWYBUZOX",
    "GLDALQITV",
    "KA<mask>ISQ",
    "MKTAYIAKQR",
    "QITVGLDAL",
    "<mask>W<mask>",
    "MKTAYIAKQRQISFVKSHFSRQLEERL",
    "GLDALQITV",
]
METHODS = ["log-likelihood", "pseudo-log-likelihood", "pseudo-perplexity"]


def score(checkpoint, sequences=SEQUENCES, **parameters):
    parameters = {"cache": None, "method": METHODS, **parameters}
    return ESMLikelihoodTransformer(checkpoint.path, **parameters).fit_transform(sequences)


def terms(checkpoint, sequence, masked):
    """The log-probability of every residue, each masked in turn or none: ``(scored residues,)``."""
    residues = residues_of(sequence)
    return np.array(
        [
            fair_esm_log_probability(checkpoint, sequence, position, masked=masked)
            for position, residue in enumerate(residues)
            if residue != "<mask>"
        ]
    )


EXPECTED = {
    "log-likelihood": lambda checkpoint, sequence: terms(checkpoint, sequence, False).sum(),
    "pseudo-log-likelihood": lambda checkpoint, sequence: terms(checkpoint, sequence, True).sum(),
    "pseudo-perplexity": lambda checkpoint, sequence: np.exp(-terms(checkpoint, sequence, True).mean()),
}


def expected_scores(checkpoint, sequences=SEQUENCES, methods=METHODS):
    return np.array([[EXPECTED[method](checkpoint, one) for method in methods] for one in sequences])


# values


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.no_cover
def test_each_method_equals_fair_esm_by_hand(checkpoints, family):
    expected = expected_scores(checkpoints[family])
    for number, method in enumerate(METHODS):
        actual = score(checkpoints[family], method=method)
        assert actual.dtype == np.float64
        assert_allclose(actual, expected[:, [number]], rtol=rounding(checkpoints[family]))


def test_a_list_of_methods_gives_the_columns_in_its_order(checkpoint):
    order = [METHODS[2], METHODS[0], METHODS[1]]
    scorer = ESMLikelihoodTransformer(checkpoint.path, method=order, cache=None)
    actual = scorer.fit_transform(SEQUENCES)
    assert_allclose(actual, expected_scores(checkpoint, methods=order), rtol=1e-5)
    assert scorer.get_feature_names_out().tolist() == [f"esm2_{method}" for method in order]


@pytest.mark.parametrize("kind", [tuple, np.array])
def test_any_sequence_of_methods_is_taken(checkpoint, kind):
    assert_array_equal(score(checkpoint, method=kind(METHODS)), score(checkpoint))


@pytest.mark.no_cover
def test_the_bundled_model_equals_fair_esm():
    bundled = RandomCheckpoint(find_checkpoint("esm2_t6_1M_bundled"), "esm2")
    assert_allclose(score(bundled), expected_scores(bundled), rtol=1e-5)


@pytest.mark.parametrize(
    ("family", "legacy"), [*((family, False) for family in FAMILIES), ("esm2", True)]
)
@pytest.mark.no_cover
def test_half_precision_files_equal_fair_esm(tmp_path, family, legacy):
    # converted one by one, the head's weights and the embeddings are no longer one tensor, and
    # fair-esm zeroes the row of <mask> in the latter alone
    path = tmp_path / "half.pt"
    half = save_random_checkpoint(path, family, dtype=torch.float16, legacy=legacy)
    assert_allclose(
        score(half, SEQUENCES[:5]), expected_scores(half, SEQUENCES[:5]), rtol=rounding(half)
    )


@pytest.mark.parametrize("family", ["esm2", "esm1b", "esm1v"])
def test_probabilities_are_over_the_whole_vocabulary(checkpoints, family):
    # a softmax over the residues alone, or one with another row for <mask>, would pass other tests
    checkpoint = checkpoints[family]
    model = PackedModel(read_checkpoint(checkpoint.path), "cpu", "float32")
    tokens = tokenise(["MKTAYI"], model.architecture)
    ((_, hidden),) = model.hidden_states(tokens, {model.architecture.layers})
    theirs, converter = fair_esm(checkpoint)
    with torch.no_grad():
        logits = theirs(converter([("", "MKTAYI")])[2])["logits"][0]
    actual, expected = model.head(hidden), logits.double().log_softmax(-1)
    assert_allclose(actual.exp().sum(-1), np.ones(8), rtol=1e-6)
    assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_head_weights_that_the_file_leaves_out_are_the_embeddings(checkpoint, tmp_path):
    data = torch.load(checkpoint.path, weights_only=False)
    del data["model"]["encoder.lm_head.weight"]
    torch.save(data, tmp_path / "tied.pt")
    assert_array_equal(score(replace(checkpoint, path=tmp_path / "tied.pt")), score(checkpoint))


# what is scored


@pytest.mark.parametrize("residue", "XBUZO")
def test_rare_residues_are_scored(checkpoint, residue):
    sequence = f"MK{residue}AY"
    perplexity, total = score(checkpoint, [sequence], method=METHODS[:0:-1])[0]
    by_hand = [fair_esm_log_probability(checkpoint, sequence, i, masked=True) for i in range(5)]
    assert_allclose(total, sum(by_hand), rtol=1e-5)
    assert_allclose(perplexity, np.exp(-sum(by_hand) / 5), rtol=1e-5)


def test_a_mask_is_context_and_not_scored(checkpoint):
    sequence = "KA<mask>ISQ"
    scored = [0, 1, 3, 4, 5]
    by_hand = sum(fair_esm_log_probability(checkpoint, sequence, i, masked=True) for i in scored)
    assert_allclose(score(checkpoint, [sequence])[0, 1:], [by_hand, np.exp(-by_hand / 5)], rtol=1e-5)
    # and it does count among the residues that the model reads
    assert abs(score(checkpoint, ["KAISQ"])[0, 1] - by_hand) > 0.1


@pytest.mark.parametrize("method", METHODS)
def test_nothing_but_masks_is_refused_with_its_row(checkpoint, method):
    scorer = ESMLikelihoodTransformer(checkpoint.path, method=method)
    for call in (scorer.fit, scorer.fit(["A"]).transform):
        with pytest.raises(ValueError, match="Sequence 2 has only <mask>") as error:
            call(["MKT", "A<mask>", "<mask><mask>"])
        assert "which has no score. Remove the row, or set invalid='unknown'" in str(error.value)


def test_masks_made_of_invalid_characters_are_refused_too(checkpoint):
    with pytest.raises(ValueError, match="Sequence 0 has only <mask>"):
        score(checkpoint, ["**", "MKT"], invalid="mask")


# rows


@pytest.mark.parametrize("batch_tokens", [1, 30, 10**6])
@pytest.mark.parametrize("family", ["esm2", "esm1"])
def test_the_size_of_batches_does_not_show(checkpoints, family, batch_tokens):
    # not the perplexity, whose exponential makes rounding of logarithms larger
    parameters = {"method": METHODS[:2]}
    actual = score(checkpoints[family], batch_tokens=batch_tokens, **parameters)
    assert_allclose(actual, score(checkpoints[family], **parameters), rtol=1e-6, atol=1e-6)


def test_a_sequence_of_several_items_is_summed_once(checkpoint, monkeypatch):
    expected = score(checkpoint)
    monkeypatch.setattr(_likelihood_scores, "_ENTRY_RESIDUES", 30)
    assert_allclose(score(checkpoint), expected, rtol=1e-6)


@pytest.mark.parametrize(("length", "window", "together"), [(30, None, 3), (30, 20, 5), (101, None, 1)])
def test_an_item_needs_a_bounded_number_of_passes(monkeypatch, length, window, together):
    # a kill loses no more than an entry of the cache, which is at least one pass
    monkeypatch.setattr(_likelihood_scores, "_ENTRY_RESIDUES", 100)
    sequence = "M#" + "K" * (length - 2)
    items = _likelihood_scores.masked_items(sequence, window)
    positions = [0, *range(2, length)]
    expected = [tuple(positions[i : i + together]) for i in range(0, len(positions), together)]
    assert items == [(sequence, masked) for masked in expected]


@pytest.mark.parametrize("family", ["esm2", "esm1"])
def test_masked_copies_run_together_within_batch_tokens(checkpoints, monkeypatch, family):
    sizes = []
    hidden_states = PackedModel.hidden_states

    def counted(model, tokens, layers):
        sizes.append(len(tokens.ids))
        return hidden_states(model, tokens, layers)

    monkeypatch.setattr(PackedModel, "hidden_states", counted)
    score(checkpoints[family], method="pseudo-log-likelihood", batch_tokens=37)
    assert max(sizes) <= 37
    # and no fewer than there is room for: ten copies of 12 or 11 tokens take four passes
    sizes.clear()
    score(checkpoints[family], ["MKTAYIAKQR"], method="pseudo-log-likelihood", batch_tokens=37)
    assert len(sizes) == 4


def test_two_workers_give_the_same(checkpoint):
    import joblib

    with joblib.parallel_config("threading"):
        actual = score(checkpoint, n_jobs=2, batch_tokens=40)
    assert_allclose(actual, score(checkpoint), rtol=1e-6)


_alone = {}


@settings(deadline=None, max_examples=20)
@given(st.lists(st.text(RESIDUES, min_size=1, max_size=12), min_size=1, max_size=5))
@pytest.mark.no_cover
def test_row_i_is_of_sequence_i(checkpoints, sequences):
    together = score(checkpoints["esm2"], sequences)
    for row, sequence in enumerate(sequences):
        if sequence not in _alone:
            _alone[sequence] = score(checkpoints["esm2"], [sequence])[0]
        assert_allclose(together[row], _alone[sequence], rtol=1e-5, atol=1e-5)
    assert (together[:, :2] <= 0).all()
    assert (together[:, 2] >= 1).all()


# arithmetic

# measured were 0.007, 0.07 and 0.17 at most, with these weights, far rougher than trained ones
BOUNDS = {"float16": 0.02, "bfloat16": 0.2, "int8": 0.4}


@pytest.mark.parametrize(
    ("family", "dtype"),
    [*(("esm2", dtype) for dtype in BOUNDS), *((family, "bfloat16") for family in FAMILIES[1:])],
)
@pytest.mark.no_cover
def test_lower_precision_is_near_float32(checkpoints, family, dtype):
    exact = score(checkpoints[family], method="pseudo-log-likelihood")
    actual = score(checkpoints[family], method="pseudo-log-likelihood", dtype=dtype)
    residues = [[len(terms(checkpoints[family], sequence, False))] for sequence in SEQUENCES]
    deviation = np.abs(actual - exact) / residues  # of each residue's log-probability
    assert deviation.max() < BOUNDS[dtype]
    assert deviation.max() > 1e-5  # or else it was float32 after all


# what others recorded

# seqme, tests/models/slow/test_esm2.py (BSD-3), test_pseudo_perplexity, mask_size=1
SEQME_PERPLEXITIES = {"MMRK": 4.6984897, "RKSPL": 8.919382, "RRLSK": 8.295634}


def perplexity_of_all_tokens(checkpoint, perplexity, sequence):
    """The pseudo-perplexity as seqme defines it, of BOS and EOS too, from ours of the residues.

    With n residues, seqme gives exp(-(S + b + e) / (n + 2)), where S is the sum over the residues, and b
    and e are log-probabilities of BOS and EOS, each masked in turn as the residues are. Ours is
    exp(-S / n), so that S = -n log(ours); b and e take a pass each.
    """
    model = PackedModel(read_checkpoint(checkpoint), "cpu", "float32")
    tokens = tokenise([sequence], model.architecture)
    total = -len(sequence) * np.log(perplexity)
    for end in (0, -1):
        ids = tokens.ids.clone()
        ids[end] = mask_token(model.architecture)
        share = torch.full((len(ids), 1), 1 / len(ids))
        masked = replace(tokens, ids=ids, masked=share)
        ((_, hidden),) = model.hidden_states(masked, {model.architecture.layers})
        total += float(model.head(hidden[[end]])[0, tokens.ids[end]])
    return np.exp(-total / len(tokens.ids))


def test_the_perplexity_of_all_tokens_masks_every_token_in_turn(checkpoint):
    # the counter-check of the conversion: the definition itself, with fair-esm
    model, converter = fair_esm(checkpoint)
    for sequence in SEQME_PERPLEXITIES:
        tokens = converter([("", sequence)])[2]
        logs = []
        for position, token in enumerate(tokens[0].tolist()):
            masked = tokens.clone()
            masked[0, position] = model.mask_idx
            with torch.no_grad():
                logs.append(float(model(masked)["logits"][0, position].log_softmax(-1)[token]))
        ours = score(checkpoint, [sequence], method="pseudo-perplexity")[0, 0]
        actual = perplexity_of_all_tokens(checkpoint.path, ours, sequence)
        assert_allclose(actual, np.exp(-np.mean(logs)), rtol=1e-5)


@pytest.mark.network
def test_esm2_8m_pseudo_perplexities_equal_those_recorded_by_seqme(monkeypatch):
    monkeypatch.delenv("SKLEARN_ESM_OFFLINE")
    name = "esm2_t6_8M_UR50D"
    for sequence, recorded in SEQME_PERPLEXITIES.items():
        ours = ESMLikelihoodTransformer(name).fit_transform([sequence])[0, 0]
        actual = perplexity_of_all_tokens(find_checkpoint(name), ours, sequence)
        assert_allclose(actual, recorded, rtol=1e-5)
