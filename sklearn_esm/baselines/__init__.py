"""Features without a language model: what an embedding must beat. No model is run."""

from sklearn_esm.baselines._composition import ResidueComposition
from sklearn_esm.baselines._one_hot import OneHotResidues

__all__ = ["OneHotResidues", "ResidueComposition"]
