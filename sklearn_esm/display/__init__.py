"""Pictures of what the transformers give, as scikit-learn's ``Display`` classes; need matplotlib."""

from sklearn_esm.display._contacts import ContactMapDisplay

__all__ = ["ContactMapDisplay"]
