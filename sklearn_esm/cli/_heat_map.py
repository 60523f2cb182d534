"""Draw the scores of all single substitutions of a reference, with measured effects below."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from sklearn_esm import ESMLikelihoodTransformer
from sklearn_esm._optional_dependencies import import_extra
from sklearn_esm._sequences import SequenceError
from sklearn_esm.cli._drafts import draft_of
from sklearn_esm.cli._figure_files import FORMATS, save_figure
from sklearn_esm.cli._scored_tables import rows_named
from sklearn_esm.cli._table_files import column, is_absent, name_of
from sklearn_esm.display import VariantScanDisplay
from sklearn_esm.display._scan_layout import layout_of
from sklearn_esm.display._substitution_table import AMINO_ACIDS

if TYPE_CHECKING:
    import pandas as pd


def check_heat_map(path: Path | None, target: str | None, reference: str | None, columns: int) -> None:
    """Raise ValueError if the options do not describe a heat map."""
    if path is None:
        if target is not None:
            raise ValueError("--target must have a picture to be drawn in. Pass --heat-map.")
        return
    if path.suffix[1:].lower() not in FORMATS:
        raise ValueError(f"--heat-map must end in .png, .svg or .pdf; got {path}.")
    if reference is None:
        raise ValueError("--heat-map must have a sequence to change. Pass --reference.")
    if columns > 1:
        raise ValueError(
            f"--heat-map must have one score; got {columns}. Pass one --method, and --aggregate for "
            "several models."
        )


class MeasuredEffects:
    """Measured values of single substitutions, collected from blocks of rows.

    Parameters
    ----------
    target : str
        Column of measured values.
    reference : str
        Wild-type sequence.
    first_position : int
        Number of its first residue.
    """

    def __init__(self, target: str, reference: str, first_position: int) -> None:
        self.target = target
        self._reference = reference
        self._first_position = first_position
        self._values: dict[str, list[float]] = {}  # "" is the wild type

    def add(self, sequences: list[str | None], frame: pd.DataFrame, source: str) -> None:
        """Add the rows that are the reference or differ from it by one substitution."""
        values = column(frame, self.target, "--target", name_of(source))
        is_known = ~is_absent(values).to_numpy(dtype=bool)
        texts = values.tolist()
        with rows_named(source, frame):
            for row, sequence in enumerate(sequences):
                if is_known[row] and (name := self._name_of(sequence)) is not None:
                    number = _number(texts[row], row, self.target)
                    self._values.setdefault(name, []).append(number)

    def relative(self) -> dict[str, float]:
        """Return the mean of each substitution, minus that of the wild type if it was measured."""
        means = {name: sum(values) / len(values) for name, values in self._values.items()}
        wild_type = means.pop("", 0.0)
        return {name: mean - wild_type for name, mean in means.items()}

    def _name_of(self, sequence: str | None) -> str | None:
        """Return ``"A24G"`` for a single substitution, ``""`` for the reference, None for others."""
        sequence = "" if sequence is None else sequence.strip().upper()
        if len(sequence) != len(self._reference):
            return None
        if sequence == self._reference:
            return ""
        pairs = enumerate(zip(self._reference, sequence, strict=True))
        first, old, new = next((index, old, new) for index, (old, new) in pairs if old != new)
        if sequence[first + 1 :] != self._reference[first + 1 :] or new not in AMINO_ACIDS:
            return None
        return f"{old}{first + self._first_position}{new}"


def draw_scan(
    estimator: ESMLikelihoodTransformer,
    path: Path,
    first_position: int,
    effects: MeasuredEffects | None = None,
) -> None:
    """Score all single substitutions of the estimator's reference, and write their heat map."""
    figures = import_extra("matplotlib.figure", of="--heat-map", extra="train")
    reference = estimator.reference
    assert reference is not None  # check_heat_map
    layout = layout_of(len(reference), 1 if effects is None else 2, len(AMINO_ACIDS))
    # pyplot would start a window system where there is one
    figure = figures.Figure(figsize=layout.figsize, layout="constrained")
    (name,) = estimator.get_feature_names_out()
    VariantScanDisplay.from_estimator(
        estimator,
        reference,
        measured=None if effects is None else effects.relative(),
        measured_label="" if effects is None else effects.target,
        first_position=first_position,
        name=name,
        ax=figure.add_subplot(),
    )
    path = path.expanduser()
    with draft_of(path) as draft:
        save_figure(figure, draft, path.suffix[1:].lower())


def _number(value: object, row: int, target: str) -> float:
    try:
        number = float(str(value))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise SequenceError(row, f"must have a number in {target!r}; got {value!r}.")
    return number
