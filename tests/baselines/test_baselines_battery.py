"""scikit-learn's own battery of checks for the baselines, behind a reader of numbers."""

import numpy as np
import pytest
from rows_as_sequences import CHECKS_ON_ITSELF, RowsAsSequences, assert_check_estimator_passes
from sklearn.utils import estimator_checks

from sklearn_esm.baselines import OneHotResidues, ResidueComposition

pytestmark = pytest.mark.no_cover


class RowsComposed(RowsAsSequences, ResidueComposition):
    __doc__ = RowsAsSequences.__doc__


class RowsOneHot(RowsAsSequences, OneHotResidues):
    __doc__ = RowsAsSequences.__doc__


READERS = {
    "composition": RowsComposed(),
    "composition-all": RowsComposed(length="log", pairs=True),
    "one-hot": RowsOneHot(),
    "one-hot-sparse": RowsOneHot(sparse_output=True),
}
DENSE = [name for name in READERS if "sparse" not in name]


@pytest.mark.parametrize("name", READERS)
def test_check_estimator_passes_without_expected_failures(name):
    assert_check_estimator_passes(READERS[name])


# these checks mix arrays and frames on purpose, and scikit-learn itself warns of it
@pytest.mark.filterwarnings("ignore:X (does not have valid|has) feature names")
@pytest.mark.parametrize("check", CHECKS_ON_ITSELF)
@pytest.mark.parametrize("name", DENSE)
def test_check_that_scikit_learn_runs_on_itself_passes(name, check):
    getattr(estimator_checks, check)(type(READERS[name]).__name__, READERS[name])


@pytest.mark.parametrize("name", DENSE)
def test_the_checks_see_rows_that_differ(name):
    # or else a check that compares them would pass whatever they are
    numbers = np.random.default_rng(0).normal(size=(5, 4))
    assert len(np.unique(READERS[name].fit_transform(numbers), axis=0)) == 5
