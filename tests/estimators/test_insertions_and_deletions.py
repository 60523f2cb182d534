"""Variants of any length, by the difference of their pseudo-log-likelihood to the reference's."""

import re

import numpy as np
import pytest
from fair_esm_oracle import fair_esm_log_probability, residues_of
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_esm import ESMLikelihoodTransformer

pytestmark = pytest.mark.no_cover

RATIO = "pseudo-log-likelihood-ratio"
REFERENCE = "MKTAYIAKQR"
VARIANTS = [
    "MKTAYIAKQRW",  # an insertion at the end
    "MKYIAKQR",  # two residues deleted
    REFERENCE,
    "MKTGGAYIAKQR",
    "WKTAYIAKQR",  # a substitution
    "MKYIAKQR",
]


def scorer(checkpoint, **parameters):
    parameters = {"cache": None, "method": RATIO, "reference": REFERENCE, **parameters}
    return ESMLikelihoodTransformer(checkpoint.path, **parameters)


def plain(checkpoint, sequences, **parameters):
    parameters = {"reference": None, "method": "pseudo-log-likelihood", **parameters}
    return scorer(checkpoint, **parameters).fit_transform(sequences)


@pytest.mark.parametrize("family", ["esm2", "esm1v", "esm1"])
def test_the_ratio_is_the_difference_of_two_scores_of_fair_esm(checkpoints, family):
    def by_hand(sequence):
        positions = range(len(residues_of(sequence)))
        return sum(
            fair_esm_log_probability(checkpoints[family], sequence, i, masked=True) for i in positions
        )

    expected = [[by_hand(variant) - by_hand(REFERENCE)] for variant in VARIANTS]
    assert_allclose(scorer(checkpoints[family]).fit_transform(VARIANTS), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("X", [VARIANTS, VARIANTS[:2]], ids=["reference in X", "reference not in X"])
def test_the_ratio_is_the_difference_of_two_plain_scores(checkpoint, X):
    expected = plain(checkpoint, X) - plain(checkpoint, [REFERENCE])
    assert_allclose(scorer(checkpoint).fit_transform(X), expected, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("batch_tokens", [1, 45, None])
def test_the_reference_is_zero_to_the_bit(checkpoint, batch_tokens):
    actual = scorer(checkpoint, batch_tokens=batch_tokens).fit_transform(VARIANTS)
    assert actual[2, 0] == 0.0
    assert (actual[[0, 1, 3, 4], 0] != 0).all()
    assert actual[1, 0] == actual[5, 0]


def test_methods_beside_it_are_as_they_are_alone(checkpoint):
    variants = [REFERENCE, "WKTAYIAKQR", "MKTAYIAKQW"]
    methods = ["pseudo-perplexity", RATIO, "masked-marginals", "pseudo-log-likelihood"]
    together = scorer(checkpoint, method=methods).fit(variants)
    assert together.get_feature_names_out().tolist() == [f"esm2_{method}" for method in methods]
    actual = together.transform(variants)
    for column, method in enumerate(methods):
        expected = scorer(checkpoint, method=method).fit_transform(variants)
        assert_allclose(actual[:, [column]], expected, rtol=1e-6, atol=1e-6)


def test_it_costs_a_pass_for_each_residue_of_variants_and_reference(checkpoint, runs):
    scorer(checkpoint, cache="memory").fit_transform(VARIANTS)
    passes = sum(map(len, set(VARIANTS)))
    assert len(runs["log_probabilities"]) == passes
    # the passes are those of the plain score
    scorer(checkpoint, cache="memory", method=[RATIO, "pseudo-log-likelihood"]).fit_transform(VARIANTS)
    assert len(runs["log_probabilities"]) == passes


def test_missing_rows_alone_run_nothing(checkpoint, runs):
    actual = scorer(checkpoint, missing="nan").fit_transform([None, ""])
    assert_array_equal(actual, np.full((2, 1), np.nan))
    assert runs["log_probabilities"] == []


def test_long_variants_are_scored_in_windows(checkpoints):
    long = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGT"
    parameters = {"overlong": "window", "max_length": 33}
    actual = scorer(checkpoints["esm1v"], reference=long, **parameters).fit_transform([long[3:]])
    expected = np.diff(plain(checkpoints["esm1v"], [long, long[3:]], **parameters), axis=0)
    assert_allclose(actual, expected, rtol=1e-6, atol=1e-5)


# what is refused


@pytest.mark.parametrize("method", ["masked-marginals", "wt-marginals"])
def test_marginals_of_another_length_name_the_method(checkpoint, method):
    with pytest.raises(ValueError, match=r"^Sequence 1 \(MKT\) has 3 residues") as error:
        scorer(checkpoint, method=method).fit([REFERENCE, "MKT"])
    assert str(error.value).endswith(
        "Pass each variant as a whole sequence of the same length, or score insertions and deletions "
        "with method='pseudo-log-likelihood-ratio'."
    )


@pytest.mark.parametrize(
    ("reference", "variant", "message"),
    [
        ("MKTA", "MK<mask>A", "Sequence 1 has 1 <mask>, and the reference has 0. <mask> has no"),
        (
            "M<mask>TA",
            "MKTAA",
            "Sequence 1 has 0 <mask>, and the reference has 1. <mask> has no",
        ),
        ("M<mask>", "<mask>", "Sequence 1 has only <mask>, which has no score."),
        ("<mask>", "M", "reference must be a sequence of residues. Sequence 0 has only <mask>, which"),
    ],
)
def test_masks_that_would_not_be_compared_are_refused(checkpoint, reference, variant, message):
    estimator = scorer(checkpoint, reference=reference)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        estimator.fit([reference, variant])


def test_without_a_reference_it_is_refused(checkpoint):
    with pytest.raises(
        ValueError, match=f"^reference must be a sequence for method='{RATIO}'; got None"
    ):
        scorer(checkpoint, reference=None).fit(VARIANTS)
