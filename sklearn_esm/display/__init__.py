"""Pictures of what the transformers give, as scikit-learn's ``Display`` classes; need matplotlib."""

from sklearn_esm.display._contacts import ContactMapDisplay
from sklearn_esm.display._embeddings import EmbeddingDisplay
from sklearn_esm.display._layers import LayerSweepDisplay

__all__ = ["ContactMapDisplay", "EmbeddingDisplay", "LayerSweepDisplay"]
