"""Order and style of the gallery, for sphinx-gallery."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import matplotlib as mpl
from cycler import cycler

from sklearn_esm.display._matplotlib import COLOURS

# the first steps, then sequences, variants and large data; scripts that are not listed follow by name
FIRST = (
    "quickstart",
    "migrating_from_fair_esm",
    "grid_search_layers",
    "homology_aware_cv",
    "leak_of_feature_selection",
    "assay_columns",
    "pairs_of_proteins",
    "per_residue",
    "mutation_table",
    "variant_effects",
    "learning_curve",
    "which_variants_next",
    "prediction_intervals",
    "partitions_dask",
)

# one style for all pictures; the colours are those of sklearn_esm.display
STYLE = {
    "axes.prop_cycle": cycler(color=COLOURS),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.figsize": (6.4, 4.5),  # the shape of a thumbnail
    "font.size": 11,
    "axes.titlesize": "medium",
    "legend.frameon": False,
    "savefig.dpi": 200,
}


class Order:
    """Sort the scripts of a folder for the gallery."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __call__(self, name: str) -> tuple[int, str]:
        """Return what to sort a script by."""
        stem = Path(name).stem
        return (FIRST.index(stem) if stem in FIRST else len(FIRST), stem)


def prepare(conf: dict[str, Any], name: str) -> None:
    """Set the style, and the name ``__file__`` that sphinx-gallery does not define.

    Python looks for a name among the builtins last. This one is relative, because sphinx-gallery runs a
    script in its folder.
    """
    mpl.rcParams.update(STYLE)
    builtins.__file__ = Path(name).name
