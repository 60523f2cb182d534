"""What sphinx-gallery asks about each script: its place in the gallery, its options, its name."""

from __future__ import annotations

import builtins
import os
import re
import tempfile
from pathlib import Path
from typing import Any

# what a newcomer reads first comes first; whatever is not named here follows by name
FIRST = (
    "quickstart",
    "migrating_from_fair_esm",
    "grid_search_layers",
    "homology_aware_cv",
    "leak_of_pca",
    "assay_columns",
    "mutation_table",
    "variant_effects",
    "gfp_brightness",
    "which_variants_next",
    "prediction_intervals",
    "pairs_of_proteins",
    "per_residue",
)


class Order:
    """Sort the scripts of a folder for the gallery."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __call__(self, name: str) -> tuple[int, str]:
        """Return what to sort a script by."""
        stem = Path(name).stem
        return (FIRST.index(stem) if stem in FIRST else len(FIRST), stem)


def arguments(conf: dict[str, Any], variables: dict[str, Any]) -> list[str]:
    """Return the options a script is run with: pictures aside, for the gallery takes its own."""
    script = Path(variables["src_file"]).read_text(encoding="utf-8")
    options = []
    if re.search(r'"--output"', script):
        options += ["--output", os.path.join(tempfile.gettempdir(), "sklearn-esm-gallery")]
    if re.search(r'"--bundled-data"', script):
        options.append("--bundled-data")  # whatever else this machine has
    return options


def tell_file_name(conf: dict[str, Any], name: str) -> None:
    """Give the script the name ``__file__``, which it has where it is run as a script.

    sphinx-gallery runs it without one, so it is found where Python looks last.
    """
    builtins.__file__ = str(Path(conf["src_dir"], conf["examples_dirs"], Path(name).name).resolve())
