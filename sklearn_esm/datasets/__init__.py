"""Small labelled data sets of real sequences, with scikit-learn's interface."""

from sklearn_esm.datasets._beta_lactamase import fetch_beta_lactamase
from sklearn_esm.datasets._gb1 import load_gb1
from sklearn_esm.datasets._gfp import fetch_gfp
from sklearn_esm.datasets._peptides import load_peptides
from sklearn_esm.datasets._proteingym import read_proteingym
from sklearn_esm.datasets._secondary_structure import load_secondary_structure

__all__ = [
    "fetch_beta_lactamase",
    "fetch_gfp",
    "load_gb1",
    "load_peptides",
    "load_secondary_structure",
    "read_proteingym",
]
