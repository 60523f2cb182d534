"""A hundred short sequences, their embeddings by fair-esm, and a transformer to run them through."""

from functools import cache as remembered

import numpy as np
from fair_esm_oracle import LAYERS, fair_esm_residues

from sklearn_esm import ESMEmbeddingTransformer

RANDOM = np.random.default_rng(0)
LENGTHS = RANDOM.integers(5, 30, size=100)
SEQUENCES = ["".join(RANDOM.choice(list("ACDEFGHIKLMNPQRSTVWY"), length)) for length in LENGTHS]
POOLINGS = {"mean": np.mean, "max": np.max, "std": np.std}
MANY_UNITS = 30  # tokens in a batch: one or two sequences


@remembered
def fair_esm_states(checkpoint, sequence, layer):
    (residues,) = fair_esm_residues(checkpoint, [sequence], layer)
    return residues


def fair_esm_pooled(checkpoint, sequences=SEQUENCES, layer=LAYERS, pooling="mean"):
    states = [fair_esm_states(checkpoint, sequence, layer) for sequence in sequences]
    return np.stack([POOLINGS[pooling](residues, axis=0) for residues in states])


def new_estimator(checkpoint, cache, **parameters):
    return ESMEmbeddingTransformer(checkpoint.path, cache=cache, **parameters)
