"""Meta's ESM protein language models as ordinary scikit-learn transformers."""

from importlib.metadata import version

from sklearn_esm._embedding import ESMEmbeddingTransformer

__all__ = ["ESMEmbeddingTransformer"]
__version__ = version("sklearn-esm")
