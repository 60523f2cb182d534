"""Group numbers of sequences, for scikit-learn's own splitters."""

from sklearn_esm.model_selection._identity import identity_groups
from sklearn_esm.model_selection._positions import mutation_counts, position_groups

__all__ = ["identity_groups", "mutation_counts", "position_groups"]
