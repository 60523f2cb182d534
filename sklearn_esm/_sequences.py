"""Every input form becomes clean sequences here; the ``invalid`` and ``missing`` policies.

A clean sequence holds upper-case residues and ``MASK`` only, one character per residue. Anything
that takes sequences from a user may call :func:`clean_sequences`, and should do so first. Where
positions are to be masked in turn, they are put in lower case (:func:`mask_in_turn`), so that a text
is all that the model, a worker or a cache needs to know.
"""

import re
from collections.abc import Iterable, Mapping, Sequence, Set, Sized
from typing import Any

import numpy as np

RESIDUES = "ACDEFGHIKLMNPQRSTVWYBUZOX"
# "<mask>" has six characters and stands for one residue; one for one keeps len() and slices true
MASK = "#"

_CODES = np.full(256, len(RESIDUES), dtype=np.int64)
_CODES[np.frombuffer(RESIDUES.encode(), dtype=np.uint8)] = np.arange(len(RESIDUES))
_REPLACEMENTS = {"unknown": "X", "mask": MASK, "drop": ""}
_RESIDUE_BYTES = RESIDUES.encode()
# begins with the plain character set, which lets the regex engine skip residues quickly
_NO_RESIDUE = re.compile(
    rf"[^{RESIDUES}{RESIDUES.lower()}](?:(?<=<)(?i:mask|cls|eos|pad|unk|sep|null_\d+)>)?", re.ASCII
)
_COLUMNS_SHOWN = 10


def clean_sequences(X: Any, *, invalid: str, missing: str, model: str) -> list[str | None]:
    """Return one clean string per row of ``X``.

    Parameters
    ----------
    X : list, tuple, array, column or one-column table
        Of strings, Biopython ``Seq`` or ``SeqRecord`` objects, or ``(label, sequence)`` pairs.

    invalid : {"error", "unknown", "mask", "drop"}
        What becomes of a character that is no residue: refused, read as X, read as ``MASK``,
        removed. A special token of fair-esm such as ``<cls>`` counts as one such character.

    missing : {"error", "nan"}
        What becomes of a row without a sequence, or with none left after dropping: refused, or
        None in the result.

    model : str
        The model's name, for error messages.

    Returns
    -------
    list of str or None
        Residues in upper case and ``MASK``; None for a missing row.
    """
    _check_policy("invalid", invalid, ("error", *_REPLACEMENTS))
    _check_policy("missing", missing, ("error", "nan"))
    return [_clean(item, row, invalid, missing, model) for row, item in enumerate(_rows(X))]


def mask_in_turn(sequence: str, positions: Sequence[int]) -> str:
    """Return the sequence with some positions in lower case: one copy for each, masked there.

    Examples
    --------
    >>> mask_in_turn("MKTAY", [1, 4])
    'MkTAy'
    """
    letters = list(sequence)
    for position in positions:
        letters[position] = letters[position].lower()
    return "".join(letters)


def masked_in_turn(text: str) -> list[int]:
    """Return the positions in lower case; none where the sequence itself is to be run."""
    return [position for position, letter in enumerate(text) if letter.islower()]


def scored_positions(sequence: str) -> list[int]:
    """Return where a sequence has a residue, not ``MASK``."""
    return [position for position, residue in enumerate(sequence) if residue != MASK]


def residue_codes(sequence: str) -> np.ndarray:
    """Return the place of each residue in ``RESIDUES``, ``(residues,)``; ``MASK`` has the one after."""
    return _CODES[np.frombuffer(sequence.encode("ascii"), dtype=np.uint8)]


def residues_run(text: str) -> int:
    """Return how many residues the model reads for a text: its length, times its copies."""
    if text.isupper():  # quick, and true of nearly all
        return len(text)
    return len(text) * max(1, len(masked_in_turn(text)))


def shorten(sequence: str, width: int = 20) -> str:
    """Return the beginning of a sequence for a message, control characters escaped."""
    shown = sequence if len(sequence) <= width else sequence[: width - 3] + "..."
    return shown if shown.isprintable() else repr(shown)[1:-1]


def _check_policy(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name}={value!r} is unknown. Pass one of {', '.join(map(repr, allowed))}.")


def _rows(X: Any) -> list[Any]:
    _refuse_containers(X)
    shape, names, column = _layout(X)
    if shape[0] == 0:
        raise ValueError(
            f"Found array with 0 sample(s) (shape={shape}) while a minimum of 1 is required."
        )
    if len(shape) > 1 and shape[1] == 0:
        raise ValueError(
            f"Found array with 0 feature(s) (shape={shape}) while a minimum of 1 is required: "
            "X needs one column, the sequences."
        )
    if len(shape) > 1 and shape[1] > 1:
        shown = ", ".join(map(repr, names[:_COLUMNS_SHOWN]))
        more = ", ..." if len(names) > _COLUMNS_SHOWN else ""
        raise ValueError(
            f"X has {shape[1]} columns ({shown}{more}), and one is needed. Select the column of "
            "sequences, for instance with a ColumnTransformer."
        )
    return _to_list(column)


def _refuse_containers(X: Any) -> None:
    kind = type(X).__name__
    # looked up on the class: a table with a column called "seq" has an attribute of that name
    if isinstance(X, str) or _is_biopython_seq(X) or hasattr(type(X), "seq"):
        raise ValueError(f"X is a single sequence, a {kind}: pass a list, [sequence].")
    if isinstance(X, (bytes, bytearray, memoryview)):
        raise TypeError(f"X is {kind}: decode it first, and pass a list, [X.decode()].")
    if isinstance(X, Mapping):
        raise TypeError(f"X is a {kind}, whose rows have no numbers: pass list(X.values()).")
    if isinstance(X, Set):
        raise TypeError(f"X is a {kind}, which has no order: pass a list, sorted(X).")
    if hasattr(type(X), "tocsr"):
        raise TypeError(
            f"X is sparse, a {kind}, and holds numbers: pass a list or a column of sequences."
        )


def _layout(X: Any) -> tuple[tuple[int, ...], list[Any], Any]:
    """Return the shape, the names of the columns, and the first column where there is one."""
    kind = type(X)
    if hasattr(kind, "column_names"):  # pyarrow, whose batches have a shape from version 15 on
        return (X.num_rows, X.num_columns), X.column_names, X.column(0) if X.num_columns else None
    if hasattr(kind, "get_columns"):  # polars
        return X.shape, X.columns, X.get_columns()[0] if X.width else None
    if hasattr(kind, "iloc") and X.ndim == 2:  # pandas
        return X.shape, list(X.columns), X.iloc[:, 0] if X.shape[1] else None
    if isinstance(X, np.ndarray):
        return _array_layout(X)
    if hasattr(kind, "__array__") and not _list_methods(X):
        return _array_layout(np.asarray(X))
    if not isinstance(X, Sized) or not isinstance(X, Iterable):
        raise TypeError(
            f"X is a {kind.__name__}, which has no length: pass a list or a column of sequences "
            "(for a generator or a parser, list(X))."
        )
    return (len(X),), [], X


def _array_layout(X: np.ndarray) -> tuple[tuple[int, ...], list[Any], Any]:
    if X.ndim not in (1, 2):
        raise ValueError(
            f"Found array with dim {X.ndim} (shape={X.shape}), and X has one dimension, or two "
            "with a single column: pass X.ravel() if every item is a sequence."
        )
    if X.ndim == 1:
        return X.shape, [], X
    return X.shape, list(range(X.shape[1])), X[:, 0] if X.shape[1] else None


def _to_list(column: Any) -> list[Any]:
    methods = _list_methods(column)
    return methods[0]() if methods else list(column)


def _list_methods(column: Any) -> list[Any]:
    # pyarrow, polars, then pandas and numpy; plain iteration would give pyarrow's scalar objects
    names = ("to_pylist", "to_list", "tolist")
    return [getattr(column, name) for name in names if hasattr(type(column), name)]


def _clean(item: Any, row: int, invalid: str, missing: str, model: str) -> str | None:
    text = item if isinstance(item, str) else _text(item, row)
    clean = "" if text is None else _residues(text, row, invalid, model)
    if clean:
        return clean
    if missing == "nan":
        return None
    found = shorten(repr(item), 40)
    if text is not None and text.strip():
        found = f"{shorten(text)}, of which invalid='drop' leaves nothing"
    raise ValueError(
        f"Sequence {row} is missing: found {found}. Pass missing='nan' for a row of NaN, or remove "
        "the row."
    )


def _text(item: Any, row: int) -> str | None:
    """Return the sequence of a row as it was given, or None where there is none."""
    where = f"Row {row}"
    if isinstance(item, np.ndarray):  # np.ma.masked too, which becomes None
        item = item.tolist()
    if isinstance(item, tuple) and len(item) == 2:
        where = f"Row {row} is a pair (label, sequence), and its sequence"
        item = item[1]
    elif isinstance(item, (list, tuple)):
        if len(item) != 1:
            raise ValueError(
                f"Row {row} is a {type(item).__name__} of {len(item)} items, and one sequence is "
                "needed. Select one column; join a list of residues with ''.join(row); write "
                "labelled sequences as tuples, (label, sequence)."
            )
        item = item[0]
    item = getattr(item, "seq", item)
    if isinstance(item, str):
        return item
    if _is_missing(item):
        return None
    if _is_biopython_seq(item):
        return _biopython_text(item, where)
    kind = type(item).__name__
    if isinstance(item, (bytes, bytearray)):
        raise TypeError(f"{where} is {kind}, not text: decode it first, row.decode().")
    raise TypeError(
        f"{where} is {shorten(repr(item))} (type {kind}), which is no sequence. Pass strings such "
        "as 'MKTAYI', and None where one is missing; of a table, select the column of sequences."
    )


def _is_missing(item: Any) -> bool:
    # pandas is optional: its NA and NaT are known by the names of their types
    if item is None or type(item).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(item, (float, np.floating)) and bool(np.isnan(item))


def _is_biopython_seq(item: Any) -> bool:
    return any(base.__module__ == "Bio.Seq" for base in type(item).__mro__)


def _biopython_text(seq: Any, where: str) -> str:
    try:
        return str(seq)
    except ValueError as error:  # Biopython's sequences of known length and unknown content
        raise ValueError(
            f"{where} is a Biopython Seq without content ({error}). Pass its residues, or None "
            "with missing='nan'."
        ) from error


def _residues(text: str, row: int, invalid: str, model: str) -> str:
    stripped = text.strip()
    # only ASCII is upper-cased: a sharp s would become SS, and a dotless i an I
    if stripped.isascii():
        upper = stripped.upper()
        if not upper.encode().translate(None, _RESIDUE_BYTES):
            return upper

    def read(unit: re.Match[str]) -> str:
        if unit[0].lower() == "<mask>":
            return MASK
        if invalid == "error":
            position = len(text) - len(text.lstrip()) + unit.start()
            hint = _hint(unit[0], last=unit.end() == len(stripped))
            raise ValueError(
                f"Sequence {row} ({shorten(text)}) has {unit[0]!r} at position {position}, which "
                f"is no residue of {model}.{hint} Pass invalid='unknown', 'mask' or 'drop' to "
                "allow it."
            )
        return _REPLACEMENTS[invalid]

    return _NO_RESIDUE.sub(read, stripped).upper()


def _hint(unit: str, *, last: bool) -> str:
    if unit.isspace():
        return " Inner white space: join the pieces, ''.join(sequence.split())."
    if unit == "*" and last:
        return " A stop at the end of a translation: remove it, sequence.rstrip('*')."
    if unit == MASK:
        return " The mask token is written '<mask>'."
    return ""
