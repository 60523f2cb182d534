"""scikit-learn's own checks of `MutationsToSequences`, which pass numbers: each a substitution."""

import numpy as np
import pandas as pd
import pytest
from sklearn.utils import estimator_checks
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted, validate_data

from sklearn_esm._columns import items_of
from sklearn_esm._sequences import residue_codes
from sklearn_esm.variants import MutationsToSequences

pytestmark = pytest.mark.no_cover

LENGTH = 30  # the checks have fewer columns


class NumbersMutated(MutationsToSequences):
    """`MutationsToSequences` with numbers as input, a residue each, and a number as output.

    Attributes
    ----------
    n_features_in_ : int
        Number of columns.

    feature_names_in_ : ndarray of str
        Names of the columns, where they have names.
    """

    def __init__(self, reference="A" * LENGTH, first_position=1):
        super().__init__(reference, first_position)

    def fit(self, X, y=None):
        return super().fit(self._read(X, reset=True), y)

    def transform(self, X):
        check_is_fitted(self)
        # an array, or a table after set_output
        sequences = items_of(super().transform(self._read(X, reset=False)))
        codes = np.stack([residue_codes(sequence) for sequence in sequences])
        return codes @ np.linspace(1, 2, LENGTH)[:, None]  # one number for each sequence

    def get_feature_names_out(self, input_features=None):
        _check_feature_names_in(self, input_features, generate_names=False)
        return super().get_feature_names_out()

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
        names = [":".join(f"A{at}{new}" for at, new in enumerate(row, start=1)) for row in rows]
        return pd.Series(names, index=X.index) if isinstance(X, pd.DataFrame) else names


def test_check_estimator_passes_without_expected_failures():
    results = estimator_checks.check_estimator(NumbersMutated(), on_skip=None, on_fail=None)
    failed = {
        r["check_name"]: r["exception"] for r in results if r["status"] not in ("passed", "skipped")
    }
    skipped = {result["check_name"] for result in results if result["status"] == "skipped"}
    assert not failed
    # runs only where SCIPY_ARRAY_API=1 was set before scipy was imported
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
def test_check_that_scikit_learn_runs_on_itself_passes(name):
    getattr(estimator_checks, name)("NumbersMutated", NumbersMutated())


def test_the_checks_see_rows_that_differ():
    # or else a check that compares them would pass whatever they are
    numbers = np.random.default_rng(0).normal(size=(5, 4))
    assert len(np.unique(NumbersMutated().fit_transform(numbers))) == 5
