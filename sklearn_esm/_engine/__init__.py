"""The forward pass: sequences in; hidden states, log-probabilities or contacts out.

This is the only place that computes with torch. It knows nothing of windows, caches, pooling or
scikit-learn.
"""

from sklearn_esm._engine._contact_maps import contact_map
from sklearn_esm._engine._hidden_states import hidden_states
from sklearn_esm._engine._log_probabilities import log_probabilities
from sklearn_esm._engine._model import PackedModel
from sklearn_esm._engine._stopping import stopped_by

__all__ = ["PackedModel", "contact_map", "hidden_states", "log_probabilities", "stopped_by"]
