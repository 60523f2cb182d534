"""scikit-learn's own battery of checks, for every estimator, behind a reader of numbers."""

import numpy as np
import pandas as pd
import pytest
from sklearn.utils import estimator_checks
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted, validate_data

from sklearn_esm import ESMContactTransformer, ESMEmbeddingTransformer, ESMLikelihoodTransformer

pytestmark = pytest.mark.no_cover


class RowsAsSequences:
    """An estimator behind a reader of numbers, which scikit-learn's checks pass: a residue each.

    Attributes
    ----------
    n_features_in_ : int
        Number of columns.

    feature_names_in_ : ndarray of str
        Names of the columns, where they have names.
    """

    repeats = 1  # of a row's residues

    def fit(self, X, y=None):
        return super().fit(self._read(X, reset=True), y)

    def transform(self, X):
        check_is_fitted(self)
        return super().transform(self._read(X, reset=False))

    def get_feature_names_out(self, input_features=None):
        _check_feature_names_in(self, input_features, generate_names=False)
        return super().get_feature_names_out(input_features)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = False
        tags.input_tags.two_d_array = True
        tags.input_tags.string = False
        return tags

    def _read(self, X, *, reset):
        numbers = validate_data(self, X, reset=reset)
        residues = np.array(list("ACDEFGHIKLMNPQRSTVWY"))
        rows = residues[np.floor(4 * np.abs(numbers)).astype(int) % len(residues)]
        sequences = [self.repeats * "".join(row) for row in rows]
        return pd.Series(sequences, index=X.index) if isinstance(X, pd.DataFrame) else sequences


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
    results = estimator_checks.check_estimator(reader, on_skip=None, on_fail=None)
    failed = {
        r["check_name"]: r["exception"] for r in results if r["status"] not in ("passed", "skipped")
    }
    skipped = {result["check_name"] for result in results if result["status"] == "skipped"}
    assert not failed
    # runs only where SCIPY_ARRAY_API=1 was set before scipy was imported, and passes there
    assert skipped <= {"check_array_api_input"}
    assert sum(result["status"] == "passed" for result in results) >= 44


# these checks mix arrays and frames on purpose, and scikit-learn itself warns of it
@pytest.mark.filterwarnings("ignore:X (does not have valid|has) feature names")
@pytest.mark.parametrize(
    "name",
    [
        # scikit-learn runs these on its own estimators; check_estimator leaves them out
        "check_dataframe_column_names_consistency",
        "check_get_feature_names_out_error",
        "check_global_output_transform_pandas",
        "check_global_set_output_transform_polars",
        "check_inplace_ensure_writeable",
        "check_set_output_transform",
        "check_set_output_transform_pandas",
        "check_set_output_transform_polars",
        "check_transformer_get_feature_names_out",
        "check_transformer_get_feature_names_out_pandas",
    ],
)
def test_check_that_scikit_learn_runs_on_itself_passes(reader, name):
    getattr(estimator_checks, name)(type(reader).__name__, reader)


def test_the_checks_see_rows_that_differ(reader):
    # or else a check that compares them would pass whatever they are
    numbers = np.random.default_rng(0).normal(size=(5, 4))
    rows = reader.fit_transform(numbers)
    assert len(np.unique(rows, axis=0)) == 5
