"""scikit-learn's own checks of `MutationsToSequences`, which pass numbers: each a substitution."""

import numpy as np
import pytest
from rows_as_sequences import CHECKS_ON_ITSELF, RowsAsSequences, assert_check_estimator_passes
from sklearn.utils import estimator_checks

from sklearn_esm._columns import items_of
from sklearn_esm._sequences import residue_codes
from sklearn_esm.variants import MutationsToSequences

pytestmark = pytest.mark.no_cover

LENGTH = 30  # the checks have fewer columns


class RowsMutated(RowsAsSequences, MutationsToSequences):
    __doc__ = RowsAsSequences.__doc__

    def __init__(self, reference="A" * LENGTH, first_position=1):
        super().__init__(reference, first_position)

    def transform(self, X):
        # an array, or a table after set_output
        sequences = items_of(super().transform(X))
        codes = np.stack([residue_codes(sequence) for sequence in sequences])
        return codes @ np.linspace(1, 2, LENGTH)[:, None]  # one number for each sequence

    def texts_of(self, rows):
        return [":".join(f"A{at}{new}" for at, new in enumerate(row, start=1)) for row in rows]


def test_check_estimator_passes_without_expected_failures():
    assert_check_estimator_passes(RowsMutated())


# these checks mix arrays and frames on purpose, and scikit-learn itself warns of it
@pytest.mark.filterwarnings("ignore:X (does not have valid|has) feature names")
@pytest.mark.parametrize("check", CHECKS_ON_ITSELF)
def test_check_that_scikit_learn_runs_on_itself_passes(check):
    getattr(estimator_checks, check)("RowsMutated", RowsMutated())


def test_the_checks_see_rows_that_differ():
    # or else a check that compares them would pass whatever they are
    numbers = np.random.default_rng(0).normal(size=(5, 4))
    assert len(np.unique(RowsMutated().fit_transform(numbers))) == 5
