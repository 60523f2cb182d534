"""scikit-learn's own battery of checks, for every estimator, behind a reader of numbers."""

import numpy as np
import pytest
from rows_as_sequences import CHECKS_ON_ITSELF, RowsAsSequences, assert_check_estimator_passes
from sklearn.utils import estimator_checks

from sklearn_esm import ESMContactTransformer, ESMEmbeddingTransformer, ESMLikelihoodTransformer

pytestmark = pytest.mark.no_cover


class RowsEmbedded(RowsAsSequences, ESMEmbeddingTransformer):
    __doc__ = RowsAsSequences.__doc__


class RowsInContact(RowsAsSequences, ESMContactTransformer):
    __doc__ = RowsAsSequences.__doc__
    repeats = 8  # the features of sequences shorter than seven residues are all zero


class RowsScored(RowsAsSequences, ESMLikelihoodTransformer):
    __doc__ = RowsAsSequences.__doc__


# scikit-learn compares to seven digits, and alone in its batch a row is the same to the last bit
READERS = {
    "embedding": (RowsEmbedded, {"batch_tokens": 1}),
    "contacts": (RowsInContact, {"output": "features"}),
    "likelihood": (RowsScored, {"method": "log-likelihood", "batch_tokens": 1}),
    "models": (
        RowsScored,
        {"model": ["esm2_t6_1M_bundled"] * 2, "method": "log-likelihood", "batch_tokens": 1},
    ),
}


@pytest.fixture(params=READERS)
def reader(request, checkpoint):
    kind, parameters = READERS[request.param]
    return kind(**{"model": checkpoint.path, **parameters})


# scikit-learn compares to seven digits, and products on two threads round otherwise than on one
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    ("reader", "cache"),
    [*((name, "memory") for name in READERS), ("embedding", None)],
    indirect=["reader"],
)
def test_check_estimator_passes_without_expected_failures(reader, cache):
    reader.set_params(cache=cache)
    assert_check_estimator_passes(reader)


# these checks mix arrays and frames on purpose, and scikit-learn itself warns of it
@pytest.mark.filterwarnings("ignore:X (does not have valid|has) feature names")
@pytest.mark.parametrize("name", CHECKS_ON_ITSELF)
def test_check_that_scikit_learn_runs_on_itself_passes(reader, name):
    getattr(estimator_checks, name)(type(reader).__name__, reader)


def test_the_checks_see_rows_that_differ(reader):
    # or else a check that compares them would pass whatever they are
    numbers = np.random.default_rng(0).normal(size=(5, 4))
    rows = reader.fit_transform(numbers)
    assert len(np.unique(rows, axis=0)) == 5
