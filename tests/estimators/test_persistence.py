"""A fitted pipeline in a file: joblib's and skops', read again here and in another process."""

import joblib
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm.datasets import load_peptides

# what a user has to trust in a file that skops reads
TRUSTED = ["sklearn_esm._embedding.ESMEmbeddingTransformer"]
SEQUENCES, Y = (part[::10] for part in load_peptides(return_X_y=True))


# sums on two threads round otherwise than on one, and here every bit counts
pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.no_cover]


@pytest.fixture
def model():
    """Fitted; without a cache, from which a model read again could take what the first one computed."""
    embed = ESMEmbeddingTransformer("esm2_t6_1M_bundled", cache=None)
    return make_pipeline(embed, StandardScaler(), LogisticRegression()).fit(SEQUENCES, Y)


@pytest.fixture
def skops_io():
    return pytest.importorskip("skops.io")


@pytest.mark.parametrize("compress", [0, 3])
def test_joblib_gives_a_pipeline_that_predicts_the_same_to_the_bit(model, tmp_path, compress):
    joblib.dump(model, tmp_path / "model.joblib", compress=compress)
    assert (tmp_path / "model.joblib").stat().st_size < 20_000  # the weights are 2.4 MB
    assert_predicts_the_same(joblib.load(tmp_path / "model.joblib"), model)


def test_skops_gives_a_pipeline_that_predicts_the_same_to_the_bit(model, tmp_path, skops_io):
    skops_io.dump(model, tmp_path / "model.skops")
    assert (tmp_path / "model.skops").stat().st_size < 100_000
    assert_predicts_the_same(skops_io.load(tmp_path / "model.skops", trusted=TRUSTED), model)


def test_a_new_process_reads_the_pipeline_and_predicts_the_same_to_the_bit(model, tmp_path, new_process):
    joblib.dump((model, SEQUENCES), tmp_path / "model.joblib")
    code = """
import joblib, numpy, sys, warnings
warnings.simplefilter("error")
model, sequences = joblib.load(sys.argv[1] + "/model.joblib")
numpy.save(sys.argv[1] + "/read", model.predict_proba(sequences))
"""
    done = new_process(code, tmp_path)
    assert done.returncode == 0, done.stderr
    expected = model.predict_proba(SEQUENCES)
    assert_array_equal(np.load(tmp_path / "read.npy"), expected)
    assert np.ptp(expected[:, 1]) > 0.9  # or else any model would do


def test_skops_trusts_everything_but_our_class(model, skops_io):
    dumped = skops_io.dumps(model)
    assert skops_io.get_untrusted_types(data=dumped) == TRUSTED
    # named as wanting, and nothing is read
    with pytest.raises(TypeError, match=rf"Untrusted types .*{TRUSTED[0]}"):
        skops_io.loads(dumped)


def test_skops_takes_every_estimator_with_its_parameters_and_what_was_fitted(case, checkpoint, skops_io):
    # as text: a Path would have to be trusted, too
    fitted = case.new(checkpoint).set_params(model=str(checkpoint.path)).fit(case.sequences)
    dumped = skops_io.dumps(fitted)
    untrusted = skops_io.get_untrusted_types(data=dumped)
    assert untrusted == [f"{case.kind.__module__}.{case.kind.__name__}"]
    assert vars(skops_io.loads(dumped, trusted=untrusted)) == vars(fitted)


def assert_predicts_the_same(read, model):
    assert read[0].get_params() == model[0].get_params()
    assert read[0].get_feature_names_out().tolist() == model[0].get_feature_names_out().tolist()
    assert_array_equal(read.predict(SEQUENCES), model.predict(SEQUENCES))
    assert_array_equal(read.predict_proba(SEQUENCES), model.predict_proba(SEQUENCES))
    assert_array_equal(read[:-1].transform(SEQUENCES), model[:-1].transform(SEQUENCES))
