"""Meta's published weights against numbers that others recorded with them; needs the internet.

Deselected by default: ``make network-test`` downloads 2.6 GB at its first run.
"""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sklearn_esm import ESMEmbeddingTransformer

pytestmark = pytest.mark.network

# seqme, tests/models/slow/test_esm2.py (BSD-3): the mean over residues, then over its 320 numbers
SEQME_SEQUENCES = [
    "RVKRVWPLVIRTVIAGYNLYRAIKKK",
    "RKRIHIGPGRAFYTT",
    "DSHAKRHHGYKRKFHEKHHSHRGY",
    "ENREVPPGFTALIKTLRKCKII",
    "NLVSGLIEARKYLEQLHRKLKNCKV",
    "FLPKTLRKFFARIRGGRAAVLNALGKEEQIGRASNSGRKCARKKK",
]
SEQME_MEANS = [-0.01061969, -0.01052918, -0.01140676, -0.00957893, -0.00982053, -0.0104174]


def test_esm2_8m_means_equal_those_recorded_by_seqme():
    embeddings = ESMEmbeddingTransformer("esm2_t6_8M_UR50D").fit_transform(SEQME_SEQUENCES)
    assert embeddings.shape == (6, 320)
    assert_allclose(embeddings.mean(axis=1), SEQME_MEANS, rtol=0, atol=1e-6)


def test_esm2_8m_states_equal_those_recorded_by_transformers():
    # transformers, tests/models/esm/test_modeling_tf_esm.py (Apache-2.0), test_inference_no_head:
    # tokens <cls>, G, L and the first three of 320 dims
    embed = ESMEmbeddingTransformer("esm2_t6_8M_UR50D", pooling=None)
    (residues,) = embed.fit_transform(["GLDALQITV"])
    bos = embed.set_params(pooling="bos").fit_transform(["GLDALQITV"])
    expected = [
        [0.14443092, 0.54125327, 0.3247739],
        [0.30340484, 0.00526676, 0.31077722],
        [0.32278043, -0.24987096, 0.3414628],
    ]
    actual = np.concatenate([bos, residues[:2]])[:, :3]
    assert_allclose(actual, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("sequence", "first", "last"),
    [
        ("A", [-0.1559, 0.1949, -0.2425], [-0.0135, 0.1261, -0.2430]),
        (
            "ARNDCQGEGHILKMFPSTWYV<mask>",
            [0.0099, 0.0371, 0.0562],
            [-0.0352, -0.0953, 0.0270],
        ),
    ],
)
def test_esm2_650m_means_equal_those_recorded(sequence, first, last):
    embed = ESMEmbeddingTransformer("esm2_t33_650M_UR50D", layer=33)
    (vector,) = embed.fit_transform([sequence])
    assert_allclose(vector[:3], first, rtol=0, atol=1e-4)
    assert_allclose(vector[-3:], last, rtol=0, atol=1e-4)
