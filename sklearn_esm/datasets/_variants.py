"""Shared code of data sets of single substitutions with a measured effect."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import Bunch

from sklearn_esm.datasets._frames import handed_out


def position_of(mutation: str) -> int:
    """Return the position of a substitution such as ``"A24Y"``, counted from 1."""
    return int(mutation[1:-1])


def with_residue(sequence: str, position: int, residue: str) -> str:
    """Return the sequence with another residue at a position counted from 1."""
    return f"{sequence[: position - 1]}{residue}{sequence[position:]}"


def variants_handed_out(
    loader: str,
    sequences: list[str],
    mutations: list[str],
    effects: list[float],
    reference: str,
    *,
    return_X_y: bool,
    as_frame: bool,
    description: str,
    filename: str,
) -> Bunch | tuple[Any, Any]:
    """Return variants of one protein as a Bunch or tuple."""
    names = np.array(mutations, dtype=object)
    positions = np.array([position_of(mutation) for mutation in mutations])
    return handed_out(
        loader,
        np.array(sequences, dtype=object),
        np.array(effects, dtype=np.float64),
        {"mutation": names, "position": positions},
        return_X_y=return_X_y,
        as_frame=as_frame,
        description=description,
        filename=filename,
        mutations=names,
        positions=positions,
        reference=reference,
    )
