"""The public estimators, each set up as a user would: what all of them promise is tested with these."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_esm import ESMContactTransformer, ESMEmbeddingTransformer, ESMLikelihoodTransformer

SEQUENCES = [
    "GIGKFLHSAKKFGKAFVGEIMNS",
    "HSQGTFTSDYSKYLDSRRAQDFVQWLMNT",
    "YGGFMTSEKSQTPLVTLFKNAIIKNAYKKGE",
    "RPKPQQFFGLM",
    "LLGDFFRKSKEKIGKEFKRIVQRIKDFLRNLVPRTES",
    "CYIQNCPLG",
    "DRVYIHPF",
    "YGGFLRRIRPKLKWDNQ",
]
REFERENCE = "GIGKFLHSAKKFGKAFVGEIMNS"
VARIANTS = [
    "GIGKFLHSAKKFGKAFVGEIMNS",  # the reference itself
    "GIGKFLHSAKKFGKAFVGEIMNA",
    "AIGKFLHSAKKFGKAFVGEIMNS",
    "GIGKFLHSAWKFGKAFVGEIMNS",
    "GIGKFLKSAKKFGKAFVGEIMNS",
    "AIGKFLKSAKKFGKAFVGEIMNA",
    "GIGKFLHSAGKFGKAFVGEIMNS",
    "WIGKFLHSAGKFGKAFVGEIMKS",
]


@dataclass(frozen=True)
class Case:
    """One of the estimators, set up in one way, and sequences that it takes."""

    kind: type
    parameters: Mapping[str, object]
    sequences: Sequence[str]
    names: Sequence[str]  # of its columns, for a model called esm2
    dtype: type = np.float32

    def new(self, checkpoint, **parameters):
        """An estimator that is not fitted."""
        return self.kind(checkpoint.path, **{**self.parameters, **parameters})


CASES = {
    "embedding": Case(
        ESMEmbeddingTransformer,
        {"layer": [-1, 0], "pooling": ["max", "bos"]},
        SEQUENCES,
        [
            f"esm2_L{layer}_{how}_{i:04d}"
            for layer in (3, 0)
            for how in ("max", "bos")
            for i in range(32)
        ],
    ),
    "contact-map": Case(ESMContactTransformer, {}, SEQUENCES, ["esm2_contact_map"], object),
    "contact-features": Case(
        ESMContactTransformer,
        {"output": "features"},
        SEQUENCES,
        [
            "esm2_contacts_count_short",
            "esm2_contacts_mean_short",
            "esm2_contacts_count_medium",
            "esm2_contacts_mean_medium",
            "esm2_contacts_count_long",
            "esm2_contacts_mean_long",
            "esm2_contacts_relative_contact_order",
        ],
    ),
    "likelihood": Case(
        ESMLikelihoodTransformer,
        {"method": ["pseudo-perplexity", "log-likelihood", "pseudo-log-likelihood"]},
        [sequence[:10] for sequence in SEQUENCES],  # a pass for each residue
        ["esm2_pseudo-perplexity", "esm2_log-likelihood", "esm2_pseudo-log-likelihood"],
        np.float64,
    ),
    "variants": Case(
        ESMLikelihoodTransformer,
        {"method": ["masked-marginals", "wt-marginals"], "reference": REFERENCE},
        VARIANTS,
        ["esm2_masked-marginals", "esm2_wt-marginals"],
        np.float64,
    ),
}


def assert_same_rows(actual, expected):
    """Assert that two matrices, or columns of maps, are the same to the last bit; NaN equals NaN."""
    assert (actual.shape, actual.dtype) == (expected.shape, expected.dtype)
    for one, other in zip(actual, expected, strict=True):
        assert_array_equal(one, other)


def assert_close_rows(actual, expected):
    """Assert that they are the same but for rounding, which depends on what shares a batch."""
    assert (actual.shape, actual.dtype) == (expected.shape, expected.dtype)
    for one, other in zip(actual, expected, strict=True):
        assert one.shape == other.shape
        assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def forget(runs):
    """Have the fixture ``runs`` begin anew."""
    for texts in runs.values():
        texts.clear()
