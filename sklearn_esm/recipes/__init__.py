"""Ready-made searches for property prediction, which are ordinary objects of scikit-learn."""

from sklearn_esm.recipes._property_search import make_property_search

__all__ = ["make_property_search"]
