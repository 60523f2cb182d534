"""Names of mutations such as ``"A24G:K30R"``, and the sequences that they stand for."""

from sklearn_esm.variants._apply import apply_mutations
from sklearn_esm.variants._names import name_mutations, single_substitutions
from sklearn_esm.variants._transformer import MutationsToSequences

__all__ = ["MutationsToSequences", "apply_mutations", "name_mutations", "single_substitutions"]
