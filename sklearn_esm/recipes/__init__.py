"""Ready-made steps of property prediction and protein engineering, built on scikit-learn's objects."""

from sklearn_esm.recipes._property_search import make_property_search
from sklearn_esm.recipes._suggest import suggest_candidates

__all__ = ["make_property_search", "suggest_candidates"]
