"""Published weights of the Hugging Face Hub; needs the internet.

Deselected by default: ``make network-test`` downloads 1.4 GB at its first run.
"""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_esm import ESMContactTransformer, ESMEmbeddingTransformer, ESMLikelihoodTransformer

pytestmark = pytest.mark.network

SEQUENCES = ["MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQ", "LAGVSERTIDPKQNFYMHWC", "KA<mask>ISQ", "XBUZO"]


@pytest.fixture(autouse=True)
def downloads_allowed(monkeypatch):
    monkeypatch.delenv("SKLEARN_ESM_OFFLINE", raising=False)


def test_the_hubs_copy_of_esm2_8m_has_the_same_numbers_to_the_bit():
    embed = ESMEmbeddingTransformer("esm2_t6_8M_UR50D", layer="all", cache=None)
    expected = embed.fit_transform(SEQUENCES)
    actual = embed.set_params(model="facebook/esm2_t6_8M_UR50D").fit_transform(SEQUENCES)
    assert_array_equal(actual, expected)


def test_the_hubs_copy_of_esm2_8m_has_the_same_likelihoods_and_contacts():
    for kind in (ESMLikelihoodTransformer, ESMContactTransformer):
        estimator = kind("esm2_t6_8M_UR50D", cache=None)
        expected = estimator.fit_transform(SEQUENCES[:2])
        actual = estimator.set_params(model="facebook/esm2_t6_8M_UR50D").fit_transform(SEQUENCES[:2])
        for one, other in zip(actual, expected, strict=True):
            assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_esmc_300m_has_the_states_recorded_by_transformers():
    # transformers, tests/models/esmc/test_modeling_esmc.py (Apache-2.0): the first token is <cls>
    embed = ESMEmbeddingTransformer(
        "esmc_300m", pooling="bos", dtype="bfloat16", device="cpu", cache=None
    )
    bos = embed.fit_transform(SEQUENCES[:1])
    (residues,) = embed.set_params(pooling=None).fit_transform(SEQUENCES[:1])
    expected = [0.00708, -0.00818, 0.03857, 0.03857, 0.01160, 0.03931]  # of [0, 1, :6]
    assert np.isfinite(bos).all()
    assert_allclose(residues[0, :6], expected, rtol=0, atol=1e-2)


@pytest.mark.parametrize("name", ["esmc_300m", "esmc_6b"])
def test_the_shape_of_esmc_is_that_of_the_catalog(name):
    # fit downloads config.json alone
    fitted = ESMEmbeddingTransformer(name).fit(["M"])
    shape = {"esmc_300m": (30, 960), "esmc_6b": (80, 2560)}[name]
    assert (fitted.n_layers_, fitted.embedding_dim_) == shape
