"""The forward pass: plan batches, run them packed, hand back hidden states.

This is the only place that computes with torch. It knows sequences and layers, and nothing of
caches, pooling or scikit-learn.
"""

from sklearn_esm.engine._model import PackedModel
from sklearn_esm.engine._plan import Unit, plan_units
from sklearn_esm.engine._run import Block, run_unit

__all__ = ["Block", "PackedModel", "Unit", "plan_units", "run_unit"]
