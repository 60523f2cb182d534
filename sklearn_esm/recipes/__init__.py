"""Steps of protein engineering, written with scikit-learn."""

from sklearn_esm.recipes._suggest import suggest_candidates

__all__ = ["suggest_candidates"]
