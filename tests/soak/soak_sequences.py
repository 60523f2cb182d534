"""Random sequences as users write them, and what each policy leaves of them.

They are put together from units, of which the expected residues are read off: nothing here parses text.
"""

from dataclasses import dataclass

import numpy as np

STANDARD = "ACDEFGHIKLMNPQRSTVWY"
MASK = "<mask>"
# no digit: L1R is a mutation, which no policy accepts
INVALID = ["*", "-", ".", "J", "j", "?", "#", "é", "<cls>", "<null_1>"]
SPACE = [" ", "\t", "\n", "  \r\n"]
MISSING = [None, float("nan"), "", " \n", np.nan]
REPLACEMENTS = {"unknown": ["X"], "mask": [MASK], "drop": []}
LONGEST = 60


@dataclass(frozen=True)
class Row:
    """One row of X: what is written, and the units that it stands for; None where one is missing."""

    written: object
    units: tuple[str, ...] | None

    def is_invalid(self):
        return self.units is not None and any(unit in INVALID for unit in self.units)

    def residues(self, invalid):
        """What a policy leaves of it, None where that is nothing; invalid units are not refused."""
        if self.units is None:
            return None
        kept = []
        for unit in self.units:
            kept += REPLACEMENTS[invalid] if unit in INVALID else [unit]
        return tuple(kept) or None


def random_residues(rng, longest=LONGEST, masks=True):
    """Residues of 1 to ``longest``, short ones more often; some hold masks, a few nothing else."""
    length = int(rng.integers(1, (longest if rng.random() < 0.4 else min(longest, 15)) + 1))
    letters = STANDARD + ("BUZOX" if rng.random() < 0.3 else "")
    residues = [str(residue) for residue in rng.choice(list(letters), length)]
    share = rng.choice([0, 0.1, 0.5, 1], p=[0.8, 0.1, 0.08, 0.02]) if masks else 0
    hidden = rng.random(length) < share
    return tuple(MASK if hidden[i] else residues[i] for i in range(length))


def random_row(rng, residues, dirt):
    """A row that stands for the residues, and ``dirt`` is the share of rows with invalid units."""
    units = list(residues)
    # a digit between few letters would be refused as a mutation, whatever the policy
    invalid = INVALID if len(units) > 7 else [unit for unit in INVALID if not unit.isdigit()]
    if rng.random() < dirt:
        for _ in range(rng.integers(1, 4)):
            units.insert(int(rng.integers(0, len(units) + 1)), str(rng.choice(invalid)))
    return Row(_written(rng, units), tuple(units))


def missing_row(rng):
    return Row(MISSING[rng.integers(len(MISSING))], None)


def _written(rng, units):
    case = rng.choice(["upper", "lower", "mixed"], p=[0.6, 0.2, 0.2])

    def in_case(unit):
        if unit in INVALID or case == "upper":
            return unit
        return unit.lower() if case == "lower" or rng.random() < 0.5 else unit.upper()

    text = "".join(map(in_case, units))
    if text.lower() in ("nan", "none", "null"):  # in capitals they are peptides
        text = text.upper()
    if rng.random() < 0.2:
        text = str(rng.choice(SPACE)) + text + str(rng.choice(SPACE))
    return text


def as_input(rng, rows):
    """X of the rows, in one of the forms that it can have."""
    written = [row.written for row in rows]
    forms = [
        lambda: written,
        lambda: tuple(written),
        lambda: np.array(written, dtype=object),
        lambda: np.array(written, dtype=object)[:, None],
        lambda: [(f"label {number}", text) for number, text in enumerate(written)],
        lambda: _pandas().Series(written, dtype=object, index=range(5, 5 + len(written))),
        lambda: _pandas().DataFrame({"sequence": np.array(written, dtype=object)}),
    ]
    if all(isinstance(text, str) for text in written):
        forms.append(lambda: np.array(written))
    form = int(rng.integers(len(forms)))
    return forms[form]()


def _pandas():
    import pandas

    return pandas
