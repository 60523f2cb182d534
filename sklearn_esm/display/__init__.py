"""Plots of the transformers' output, as scikit-learn ``Display`` classes. Require matplotlib."""

from sklearn_esm.display._contact_map import ContactMapDisplay
from sklearn_esm.display._embedding_scatter import EmbeddingDisplay
from sklearn_esm.display._layer_sweep import LayerSweepDisplay
from sklearn_esm.display._variant_scan import VariantScanDisplay

__all__ = ["ContactMapDisplay", "EmbeddingDisplay", "LayerSweepDisplay", "VariantScanDisplay"]
