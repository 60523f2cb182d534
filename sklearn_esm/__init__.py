"""ESM protein language models as scikit-learn transformers."""

from importlib.metadata import version

from sklearn_esm._contacts import ESMContactTransformer
from sklearn_esm._embedding import ESMEmbeddingTransformer
from sklearn_esm._fasta import read_fasta
from sklearn_esm._likelihood import ESMLikelihoodTransformer

__all__ = [
    "ESMContactTransformer",
    "ESMEmbeddingTransformer",
    "ESMLikelihoodTransformer",
    "read_fasta",
]
__version__ = version("sklearn-esm")
