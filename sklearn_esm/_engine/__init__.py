"""The forward pass: plan batches, run them packed, hand back states, probabilities or contacts.

This is the only place that computes with torch. It knows sequences and layers, and nothing of
caches, pooling or scikit-learn.
"""

from sklearn_esm._engine._contact_maps import contact_map
from sklearn_esm._engine._hidden_states import Block, run_unit
from sklearn_esm._engine._log_probabilities import log_probabilities
from sklearn_esm._engine._model import PackedModel
from sklearn_esm._engine._plan import Unit, plan_units
from sklearn_esm._engine._stopping import stopped_by

__all__ = [
    "Block",
    "PackedModel",
    "Unit",
    "contact_map",
    "log_probabilities",
    "plan_units",
    "run_unit",
    "stopped_by",
]
