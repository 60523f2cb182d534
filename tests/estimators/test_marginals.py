"""Scores of variants by what they substitute in a reference; and how many passes likelihoods take."""

import numpy as np
import pytest
from fair_esm_oracle import FAMILIES, fair_esm_log_probability, residues_of
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_esm import ESMLikelihoodTransformer, _likelihood_scores
from sklearn_esm._checkpoints._reader import read_checkpoint
from sklearn_esm._engine import PackedModel
from sklearn_esm._engine._tokens import mask_token

pytestmark = pytest.mark.no_cover

REFERENCE = "MKTAYIAKQRQISFVKSH"
VARIANTS = [
    "MKTAYIAKQRQISFVKSW",  # the last residue
    "MKTAYIAKQRQISFVKSH",  # the reference itself
    "AKTAYIAKQRQISFVKSH",  # the first
    "MKTAYIWKQRQISFVKSH",
    "MKTAYIXKQRQISFVKSH",
    "MKTAYIWKQGQISFVKSH",
    "MKTAYIAKQGQISFVKSW",
    "AKTAYIWKQGQISFVKSW",
    "MKTAYIWKQRQISFVKSH",
]
VARYING = [0, 6, 9, 17]
MARGINALS = ["masked-marginals", "wt-marginals"]


def score(checkpoint, sequences=VARIANTS, **parameters):
    parameters = {"cache": None, "method": MARGINALS, "reference": REFERENCE, **parameters}
    return ESMLikelihoodTransformer(checkpoint.path, **parameters).fit_transform(sequences)


def marginal(checkpoint, variant, method, reference=REFERENCE):
    old, new = residues_of(reference), residues_of(variant)
    masked = method == "masked-marginals"
    total = 0.0
    for i in range(len(old)):
        if new[i] != old[i]:
            total += fair_esm_log_probability(checkpoint, reference, i, new[i], masked=masked)
            total -= fair_esm_log_probability(checkpoint, reference, i, masked=masked)
    return total


def expected_scores(checkpoint, variants=VARIANTS, methods=MARGINALS, reference=REFERENCE):
    return np.array([[marginal(checkpoint, one, m, reference) for m in methods] for one in variants])


# values


@pytest.mark.parametrize("method", MARGINALS)
@pytest.mark.parametrize("family", FAMILIES)
def test_substitutions_equal_fair_esm_by_hand(checkpoints, family, method):
    actual = score(checkpoints[family], method=method)
    assert actual.dtype == np.float64
    expected = expected_scores(checkpoints[family], methods=[method])
    # a difference of two numbers of this size, each exact to seven digits
    assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("at_a_time", [1, 4, len(VARIANTS)])
def test_it_does_not_matter_how_many_variants_are_compared_at_a_time(checkpoint, at_a_time, monkeypatch):
    expected = score(checkpoint)
    monkeypatch.setattr(_likelihood_scores, "_VARIANTS", at_a_time)
    assert_array_equal(score(checkpoint), expected)


def test_a_position_without_a_table_is_an_error():
    table = np.log(np.linspace(0.1, 0.2, 25))
    with pytest.raises(IndexError):
        _likelihood_scores.marginals(["CA"], "MA", {1: table})


@pytest.mark.parametrize("method", MARGINALS)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_wild_type_is_zero_to_the_bit(checkpoints, family, method):
    assert score(checkpoints[family], method=method)[1, 0] == 0.0
    assert score(checkpoints[family], [REFERENCE], method=method)[0, 0] == 0.0


def test_methods_with_and_without_a_reference_share_a_call(checkpoint):
    methods = ["wt-marginals", "log-likelihood", "masked-marginals", "pseudo-log-likelihood"]
    scorer = ESMLikelihoodTransformer(checkpoint.path, method=methods, reference=REFERENCE, cache=None)
    actual = scorer.fit_transform(VARIANTS)
    assert scorer.get_feature_names_out().tolist() == [f"esm2_{method}" for method in methods]
    assert_array_equal(actual[:, [2, 0]], score(checkpoint))
    alone = score(checkpoint, method=[methods[1], methods[3]])
    assert_allclose(actual[:, [1, 3]], alone, rtol=1e-6)


@pytest.mark.parametrize("method", MARGINALS)
@pytest.mark.parametrize("position", [0, 3, 5])
def test_a_mask_in_the_reference_is_context(checkpoint, method, position):
    # the rows of a table are those of the scored residues: a mask before the position shifts them
    reference, variant = list("MKTAYI"), list("MKTAYI")
    reference[2] = variant[2] = "<mask>"
    variant[position] = "W"
    reference, variant = "".join(reference), "".join(variant)
    actual = score(checkpoint, [variant, reference], method=method, reference=reference)
    expected = marginal(checkpoint, variant, method, reference)
    assert_allclose(actual[:, 0], [expected, 0], rtol=1e-5, atol=1e-5)


def test_a_reference_of_nothing_but_masks_has_no_variants(checkpoint):
    assert_array_equal(score(checkpoint, ["<mask><mask>"], reference="<mask><mask>"), np.zeros((1, 2)))


def test_the_reference_is_cleaned_as_sequences_are(checkpoint):
    scorer = ESMLikelihoodTransformer(
        checkpoint.path, method="wt-marginals", reference=f" {REFERENCE.lower()}\n"
    )
    actual = scorer.fit_transform(VARIANTS)
    assert scorer.reference_ == REFERENCE
    assert_array_equal(actual, score(checkpoint, method="wt-marginals"))


def test_a_reference_may_be_a_biopython_sequence_or_a_pair(checkpoint):
    seq = pytest.importorskip("Bio.Seq")
    expected = score(checkpoint)
    assert_array_equal(score(checkpoint, reference=seq.Seq(REFERENCE)), expected)
    assert_array_equal(score(checkpoint, reference=("wild type", REFERENCE)), expected)


@pytest.mark.parametrize("batch_tokens", [1, 45, 10**6])
def test_the_size_of_batches_does_not_show(checkpoint, batch_tokens):
    actual = score(checkpoint, batch_tokens=batch_tokens)
    assert_allclose(actual, score(checkpoint), rtol=1e-6, atol=1e-6)


# passes


@pytest.fixture
def passes(monkeypatch, checkpoint):
    """Of every sequence that the model reads, where it is masked: a list that grows."""
    seen = []
    hidden_states = PackedModel.hidden_states
    mask = mask_token(read_checkpoint(checkpoint.path).architecture)

    def counted(model, tokens, layers):
        for first, count, length in tokens.groups:
            for row in tokens.ids[first : first + count * length].view(count, length):
                seen.append(tuple((row[1:] == mask).nonzero()[:, 0].tolist()))  # without BOS
        return hidden_states(model, tokens, layers)

    monkeypatch.setattr(PackedModel, "hidden_states", counted)
    return seen


def scorer(checkpoint, method, cache="memory", reference=REFERENCE):
    return ESMLikelihoodTransformer(checkpoint.path, method=method, reference=reference, cache=cache)


def test_fit_runs_nothing(checkpoint, passes):
    scorer(checkpoint, MARGINALS).fit(VARIANTS)
    assert passes == []


def test_masked_marginals_run_the_reference_once_for_each_position_that_varies(checkpoint, passes):
    score(checkpoint, method="masked-marginals")
    assert sorted(passes) == [(position,) for position in VARYING]


def test_wt_marginals_run_the_reference_once(checkpoint, passes):
    score(checkpoint, method="wt-marginals")
    assert passes == [()]


def test_the_number_of_variants_does_not_matter(checkpoint, passes):
    variants = [REFERENCE[:6] + residue + REFERENCE[7:] for residue in "ACDEFGHIKLMNPQRSTVWY"]
    score(checkpoint, variants, method="masked-marginals")
    assert passes == [(6,)]


@pytest.mark.parametrize("method", [*MARGINALS, MARGINALS])
def test_nothing_is_run_for_the_wild_type_alone(checkpoint, passes, method):
    score(checkpoint, [REFERENCE, REFERENCE], method=method)
    assert passes == []


def test_pseudo_likelihood_runs_a_pass_for_each_residue(checkpoint, passes):
    score(checkpoint, ["MKTAY", "G<mask>DA", "MKTAY"], method="pseudo-log-likelihood")
    assert sorted(passes) == [(0,), (0, 1), (1,), (1, 2), (1, 3), (2,), (3,), (4,)]


@pytest.mark.parametrize("cache", [None, "memory"])
def test_pseudo_perplexity_and_pseudo_log_likelihood_share_their_passes(checkpoint, passes, cache):
    score(checkpoint, method=["pseudo-perplexity", "pseudo-log-likelihood"], cache=cache)
    distinct = len(set(VARIANTS))
    assert sorted(passes) == sorted([(position,) for position in range(18)] * distinct)


def test_log_likelihood_runs_every_distinct_sequence_once(checkpoint, passes):
    score(checkpoint, method="log-likelihood")
    assert passes == [()] * len(set(VARIANTS))


ALL = ["pseudo-perplexity", "log-likelihood", *MARGINALS]


def test_a_second_transform_runs_nothing(checkpoint, passes, cache):
    fresh = scorer(checkpoint, ALL, None).fit_transform(VARIANTS)
    first = scorer(checkpoint, ALL, cache).fit_transform(VARIANTS)
    passes.clear()
    again = scorer(checkpoint, ALL, cache).fit_transform(VARIANTS[::-1])
    assert passes == []
    assert_array_equal(again[::-1], first)
    assert_array_equal(first, fresh)


def test_methods_of_the_same_passes_share_what_is_cached(checkpoint, passes, cache):
    scorer(checkpoint, "pseudo-perplexity", cache).fit_transform(VARIANTS)
    passes.clear()
    actual = scorer(checkpoint, "pseudo-log-likelihood", cache).fit_transform(VARIANTS)
    assert passes == []
    assert_allclose(actual, score(checkpoint, method="pseudo-log-likelihood"), rtol=1e-6)


def test_methods_of_other_passes_do_not_get_what_is_cached(checkpoint, cache):
    # the reference whole and masked, of its own residues and of every one, under the same weights
    for method in (*ALL, "pseudo-log-likelihood"):
        actual = scorer(checkpoint, method, cache).fit_transform([REFERENCE, VARIANTS[0]])
        expected = score(checkpoint, [REFERENCE, VARIANTS[0]], method=method)
        assert_allclose(actual, expected, rtol=1e-6)


def test_another_variant_costs_its_new_positions_alone(checkpoint, passes, cache):
    scorer(checkpoint, MARGINALS, cache).fit_transform(VARIANTS)
    passes.clear()
    other = "MKGAYIWKQRQISFVKSH"  # position 2 is new, and 6 was there
    actual = scorer(checkpoint, MARGINALS, cache).fit_transform([other])
    assert passes == [(2,)]
    assert_allclose(actual, expected_scores(checkpoint, [other]), rtol=1e-5, atol=1e-5)


def test_another_reference_gets_nothing_of_the_former(checkpoint, cache):
    scorer(checkpoint, MARGINALS, cache).fit_transform(VARIANTS)
    reference = "W" + REFERENCE[1:]
    actual = scorer(checkpoint, MARGINALS, cache, reference).fit_transform(VARIANTS)
    expected = expected_scores(checkpoint, reference=reference)
    assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


# scans


@pytest.mark.parametrize(("method", "expected"), [("masked-marginals", 300), ("wt-marginals", 1)])
def test_a_full_scan_costs_a_pass_for_each_residue_or_one(checkpoint, runs, method, expected):
    rng = np.random.default_rng(0)
    amino_acids = "ACDEFGHIKLMNPQRSTVWY"
    reference = "".join(rng.choice(list(amino_acids), 300))
    scan = [
        reference[:position] + residue + reference[position + 1 :]
        for position in range(300)
        for residue in amino_acids
        if residue != reference[position]
    ]
    fitted = scorer(checkpoint, method, reference=reference).fit(scan)
    scores = fitted.transform(scan)
    assert scores.shape == (5700, 1)
    assert len(runs["log_probabilities"]) == expected
    # every further variant is a sum of the same tables, without a pass
    scan[:0] = ["".join(rng.choice(list(amino_acids), 300)) for _ in range(1000)]
    fitted.transform(scan)
    assert len(runs["log_probabilities"]) == expected
    for row in (0, 3000, 5699):
        by_hand = marginal(checkpoint, scan[1000 + row], method, reference)
        assert_allclose(scores[row], by_hand, rtol=1e-5, atol=1e-5)
