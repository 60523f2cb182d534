"""Effects of single substitutions as a table: a row for each amino acid, a column for each position."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from sklearn_esm._sequences import MASK, clean_sequences
from sklearn_esm.variants import apply_mutations
from sklearn_esm.variants._notation import parse_rows

# special, aliphatic, aromatic, polar, positive and negative ones together
AMINO_ACIDS = "GPAVILMCFWYSTNQHKRDE"


def clean_reference(reference: Any) -> str:
    """Return a wild type as a clean sequence without <mask>."""
    (clean,) = clean_sequences([reference], invalid="error", missing="error")
    if clean is None or MASK in clean:
        raise ValueError("reference must not have <mask>. Pass the whole wild type.")
    return clean


def check_residues(residues: str) -> str:
    """Return an order of the rows if it has each of the 20 amino acids once."""
    if sorted(residues) != sorted(AMINO_ACIDS):
        raise ValueError(
            f"residues must have each of the 20 amino acids once; got {residues!r}. Pass an order such "
            f"as {AMINO_ACIDS!r}."
        )
    return "".join(residues)


def positions_of(positions: Iterable[int] | None, reference: str, first_position: int) -> np.ndarray:
    """Return the numbers of the columns, ``(positions,)``; of all residues for None."""
    every = np.arange(first_position, first_position + len(reference))
    if positions is None:
        return every
    given = np.asarray(list(positions))
    if given.ndim != 1 or not given.size or not np.issubdtype(given.dtype, np.integer):
        raise ValueError(
            "positions must be None or integers, at least one; got "
            f"{positions!r}. Pass positions such as range({every[0]}, {every[-1] + 1})."
        )
    outside = given[~np.isin(given, every)]
    if len(outside):
        raise ValueError(
            f"positions must be {every[0]} to {every[-1]}, those of the reference; got {outside[0]}. "
            "Set first_position to the number of its first residue."
        )
    if len(set(given.tolist())) < len(given):
        raise ValueError(f"positions must not repeat a position; got {positions!r}.")
    return given


def is_wild_type(
    reference: str, positions: np.ndarray, first_position: int, residues: str
) -> np.ndarray:
    """Return which cells are those of the reference's residues, ``(20, positions)``."""
    columns = [reference[position - first_position] for position in positions]
    same: np.ndarray = np.array(list(residues))[:, None] == np.array(columns)[None, :]
    return same


def table_of(
    effects: Any,
    what: str,
    *,
    reference: str,
    positions: np.ndarray,
    first_position: int,
    residues: str,
) -> np.ndarray:
    """Return effects as a table, ``(20, positions)`` float64, NaN if unknown and 0 for the wild type.

    Parameters
    ----------
    effects : array-like of shape (20, n_positions), or mapping
        A mapping has the names of substitutions, such as ``"A24G"``. Other positions are ignored.
    what : str
        Name of the parameter, for messages.
    """
    shape = (len(residues), len(positions))
    if isinstance(effects, Mapping) or type(effects).__name__ == "Series":
        table = np.full(shape, np.nan)
        columns = {int(position): column for column, position in enumerate(positions)}
        names = list(effects.keys())
        for name, place in zip(names, _places(names, what, reference, first_position), strict=True):
            position, new = place
            if new not in residues:
                raise ValueError(
                    f"{what} must have the 20 amino acids only; got {name!r}. Remove other variants."
                )
            if position in columns:
                table[residues.index(new), columns[position]] = effects[name]
    else:
        table = np.array(effects, dtype=np.float64)
        if table.shape != shape:
            raise ValueError(
                f"{what} must have the shape (20, positions), here {shape}; got {table.shape}. Pass a "
                f"row for each of {residues}, or a mapping such as {{'A24G': 0.5}}."
            )
    unknown = np.isnan(table) & is_wild_type(reference, positions, first_position, residues)
    table[unknown] = 0
    return table


def _places(
    names: list[Any], what: str, reference: str, first_position: int
) -> Iterator[tuple[int, str]]:
    """Yield the position and the new residue of each substitution."""
    try:
        if names:
            apply_mutations(reference, names, first_position)  # checks every name
    except (ValueError, TypeError) as error:
        raise ValueError(f"{what} must have names of single substitutions. {error}") from error
    for name, changes in zip(names, parse_rows(names), strict=True):
        if len(changes) != 1 or not changes[0].first == changes[0].last or len(changes[0].new) != 1:
            raise ValueError(
                f"{what} must have names of single substitutions, such as 'A24G'; got {name!r}. Remove "
                "other variants."
            )
        yield changes[0].first, changes[0].new
