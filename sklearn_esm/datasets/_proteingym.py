"""Substitution files of ProteinGym, which the user has downloaded."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

from sklearn_esm._sequences import shorten
from sklearn_esm.datasets._frames import DATA
from sklearn_esm.variants._apply import mutated
from sklearn_esm.variants._notation import Change, parse_rows, row_error
from sklearn_esm.variants._reference import checked_reference, column_of_texts


def read_proteingym(path: str | os.PathLike[str], reference: str | None = None) -> Bunch:
    """Read variants and their measured effects from a substitution file of ProteinGym.

    Nothing is downloaded: get the files from https://proteingym.org.

    Parameters
    ----------
    path : str or path-like
        CSV file with the columns ``mutant`` and ``DMS_score``, and optionally ``mutated_sequence``,
        ``DMS_score_bin`` and folds such as ``fold_random_5``, ``fold_modulo_5`` and
        ``fold_contiguous_5``. Other columns are ignored.
    reference : str or None, default=None
        The wild-type sequence. None infers it from ``mutant`` and ``mutated_sequence``.

    Returns
    -------
    data : Bunch
        Dictionary-like object with the attributes

        sequences : ndarray of str of shape (n_variants,)
            The variants as whole sequences.
        mutations : ndarray of str of shape (n_variants,)
            The substitutions as the file writes them, such as ``"A24G:K30R"``, counted from 1 at the
            first residue of the reference.
        target : ndarray of float of shape (n_variants,)
            ``DMS_score``. Larger is fitter.
        target_bin : ndarray of int of shape (n_variants,), or None
            ``DMS_score_bin``: 1 for fit variants, 0 for the others. None if the file lacks it.
        reference : str
            The wild type.
        folds : dict of str to ndarray of int of shape (n_variants,)
            The columns whose names begin with ``fold_``, by name. Pass one to
            :class:`sklearn.model_selection.PredefinedSplit`.
        DESCR : str
            What such a file holds, and whom to cite.
        filename : str
            The path.

    Raises
    ------
    ValueError
        If a column is missing, a row is invalid, ``mutant`` and ``mutated_sequence`` disagree, or the
        reference cannot be inferred. The message names the row, counted from 0 without the header.
    OSError
        If the file cannot be read.

    See Also
    --------
    load_gb1 : Single substitutions of a small protein, bundled with the package.
    sklearn_esm.variants.apply_mutations : The notation of mutations.

    Notes
    -----
    The reference is inferred if every row leads to the same one after its substitutions are undone.
    Insertions and deletions cannot be undone: pass the reference.

    If ``reference`` is given, the sequences are made from it and the mutations, and compared with
    ``mutated_sequence``.

    References
    ----------
    P. Notin et al., "ProteinGym: large-scale benchmarks for protein fitness prediction and design",
    NeurIPS, 2023.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from sklearn.model_selection import PredefinedSplit
    >>> from sklearn_esm.datasets import read_proteingym
    >>> lines = [
    ...     "mutant,mutated_sequence,DMS_score,DMS_score_bin,fold_contiguous_5",
    ...     "K2R,MRTAYI,-0.5,0,0",
    ...     "A4G,MKTGYI,1.25,1,1",
    ... ]
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "assay.csv"
    ...     np.savetxt(path, lines, fmt="%s")
    ...     assay = read_proteingym(path)
    >>> assay.reference, assay.target.tolist()
    ('MKTAYI', [-0.5, 1.25])
    >>> PredefinedSplit(assay.folds["fold_contiguous_5"]).get_n_splits()
    2
    """
    table = _table(Path(path))
    mutations = table["mutant"]
    given = [sequence.strip().upper() for sequence in table.get("mutated_sequence", [])]
    if reference is not None:
        wild_type = checked_reference(reference, 1)
        sequences = mutated(wild_type, mutations, 1)
        _check_equal(given, sequences, mutations)
    elif given:
        wild_type, sequences = _inferred_reference(mutations, given), given
    else:
        raise ValueError(
            f"{path} must have the column 'mutated_sequence' if reference is None. Pass reference, the "
            "wild-type sequence."
        )
    return Bunch(
        sequences=column_of_texts(sequences),
        mutations=column_of_texts(mutations),
        target=_numbers(table, "DMS_score"),
        target_bin=_integers(table, "DMS_score_bin") if "DMS_score_bin" in table else None,
        reference=wild_type,
        folds={name: _integers(table, name) for name in table if name.startswith("fold_")},
        DESCR=(DATA / "proteingym.md").read_text(encoding="utf-8"),
        filename=str(path),
    )


def _table(path: Path) -> dict[str, list[str]]:
    """Return the columns of a CSV file by name."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *rows = [row for row in csv.reader(file) if row] or [[]]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} must be a CSV file in UTF-8. {error}") from error
    for name in ("mutant", "DMS_score"):
        if name not in header:
            shown = ", ".join(map(repr, header[:10])) or "none"
            raise ValueError(
                f"{path} must have the columns 'mutant' and 'DMS_score'; got {shorten(shown, 200)}. "
                f"Rename the column that is {name!r}."
            )
    if not rows:
        raise ValueError(f"{path} must have at least one row below its header; got none.")
    for row, fields in enumerate(rows):
        if len(fields) != len(header):
            raise ValueError(
                f"Row {row} of {path} must have {len(header)} fields, as the header has; got "
                f"{len(fields)}. Check its commas and quotes."
            )
    return {name: list(column) for name, column in zip(header, zip(*rows, strict=True), strict=True)}


def _check_equal(given: Sequence[str], sequences: Sequence[str], mutations: Sequence[str]) -> None:
    for row, sequence in enumerate(given):
        if sequence != sequences[row]:
            raise row_error(
                row,
                mutations[row],
                "must have the reference with these mutations as mutated_sequence; got "
                f"'{shorten(sequence)}'. Check the reference and the file.",
            )


def _inferred_reference(mutations: Sequence[str], sequences: Sequence[str]) -> str:
    """Return the sequence to which every variant leads if its substitutions are undone."""
    reference = None
    for row, changes in enumerate(parse_rows(mutations)):
        undone = _undone(sequences[row], changes, row, mutations[row])
        if reference is None:
            reference = undone
        if undone != reference:
            raise row_error(
                row,
                mutations[row],
                "must lead to the reference of row 0 if the mutations of mutated_sequence are undone; "
                "got another. Pass reference, the wild-type sequence.",
            )
    return checked_reference(reference, 1)


def _undone(sequence: str, changes: Sequence[Change], row: int, text: str) -> str:
    residues = list(sequence)
    for change in changes:
        (position, old), *more = change.sites
        new = old if change.copies == 1 else change.new
        if more or change.copies > 1 or len(new) != 1:
            raise row_error(
                row,
                text,
                f"must have substitutions only if reference is None; got '{shorten(change.text)}'. Pass "
                "reference, the wild-type sequence.",
            )
        found = residues[position - 1] if 0 < position <= len(residues) else "no residue"
        if found != new:
            raise row_error(
                row,
                text,
                f"must have {new!r} at position {position} of mutated_sequence; got {found!r}. "
                "Positions count from 1 at the first residue.",
            )
        residues[position - 1] = old
    return "".join(residues)


def _numbers(table: dict[str, list[str]], name: str) -> np.ndarray:
    """Return a column of finite numbers, ``(rows,)`` float64."""
    return np.array([_number(text, row, name) for row, text in enumerate(table[name])])


def _integers(table: dict[str, list[str]], name: str) -> np.ndarray:
    """Return a column of integers, also if they are written as 1.0, ``(rows,)`` int64."""
    numbers = _numbers(table, name)
    for row in np.flatnonzero((numbers % 1 != 0) | (np.abs(numbers) >= 2**31)):
        raise ValueError(f"Row {row} must have an integer as {name}; got '{shorten(table[name][row])}'.")
    return numbers.astype(np.int64)


def _number(text: str, row: int, name: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(
            f"Row {row} must have a finite number as {name}; got '{shorten(text)}'. Remove the row."
        )
    return number
