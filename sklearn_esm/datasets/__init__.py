"""Small labelled sets of real sequences, in scikit-learn's manner."""

from sklearn_esm.datasets._peptides import load_peptides

__all__ = ["load_peptides"]
