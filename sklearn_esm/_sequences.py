"""Convert every input form to clean sequences, and apply the ``invalid`` and ``missing`` policies.

A clean sequence holds upper-case residues and ``MASK`` only, one character per residue. Call
:func:`clean_sequences` first on any sequences that come from a user.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from numbers import Integral
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from sklearn_esm._columns import is_biopython_seq, items_of, labels_of

Invalid: TypeAlias = Literal["error", "unknown", "mask", "drop"]
Missing: TypeAlias = Literal["error", "nan"]

RESIDUES = "ACDEFGHIKLMNPQRSTVWYBUZOX"
# "<mask>" has six characters; with one character per residue, len() and slices count residues
MASK = "#"

_CODES = np.full(256, len(RESIDUES), dtype=np.int64)
_CODES[np.frombuffer(RESIDUES.encode(), dtype=np.uint8)] = np.arange(len(RESIDUES))
_REPLACEMENTS = {"unknown": "X", "mask": MASK, "drop": ""}
_RESIDUE_BYTES = RESIDUES.encode()
_BLOCK = 1024  # rows that are checked together
_ROWS_NAMED = 5  # invalid rows that an error names
_ROWS_COUNTED = 100_000  # invalid rows that are counted, which bounds the time before an error
# starts with the plain character set, so that the regex engine skips residues quickly
_INVALID = re.compile(
    rf"[^{RESIDUES}{RESIDUES.lower()}](?:(?<=<)(?i:mask|cls|eos|pad|unk|sep|null_\d+)>)?", re.ASCII
)

# "Q2A", "A24G:K30R", "p.Ala24Gly", "A24del": without digits, each would look like a short peptide
_CODE = (
    r"(?:[a-z*]|ala|arg|asn|asp|cys|gln|glu|gly|his|ile|leu|lys|met|phe|pro|ser|thr|trp|tyr|val"
    r"|asx|glx|sec|pyl|xaa|ter)"
)
_CHANGE = rf"(?:{_CODE}|=|-|del|dup|(?:del)?ins[a-z*]+|{_CODE}?fs(?:\*|ter|x)?\d*)"
_MUTATION = rf"[(\[]?(?:p\.)?[(\[]?{_CODE}\d+(?:_{_CODE}\d+)?{_CHANGE}[)\]]*"
_MUTATIONS = re.compile(
    rf"(?:[\w.]{{1,40}}:)?{_MUTATION}(?:[\s:,;/_+|&-]+{_MUTATION})*", re.ASCII | re.IGNORECASE
)
# str() of missing values; a peptide of the same letters must be in capitals
_WRITTEN_MISSING = frozenset({"nan", "NaN", "None", "<NA>", "NaT", "null"})


class SequenceError(ValueError):
    """Raised if a sequence is invalid.

    Positions in messages count from 1, the first character of the given text.

    Parameters
    ----------
    row : int
        Row of X, counted from 0 as in numpy and pandas.
    problem : str
        The problem and its fix.
    noun : str, default="Sequence"
        First word of the message, before the row.
    rows : str, default=""
        End of the message: the label of the row, and the other invalid rows.
    """

    def __init__(self, row: int, problem: str, noun: str = "Sequence", rows: str = "") -> None:
        super().__init__(row, problem, noun, rows)  # all arguments, so that the error can be pickled
        self.row = row
        self.problem = problem
        self._noun = noun
        self._rows = rows

    def __str__(self) -> str:
        return f"{self._noun} {self.row} {self.problem}{self._rows}"


def clean_sequences(
    X: Any, *, invalid: str, missing: str, allow_empty: bool = False
) -> list[str | None]:
    """Return one clean string per row of ``X``.

    Parameters
    ----------
    X : list, tuple, array, column or one-column table
        Strings, Biopython ``Seq`` or ``SeqRecord`` objects, or ``(label, sequence)`` pairs.

    invalid : {"error", "unknown", "mask", "drop"}
        How to handle characters outside ESM's alphabet: raise an error, replace by X, replace by
        ``MASK``, or remove. A special token such as ``<cls>`` counts as one character.

    missing : {"error", "nan"}
        How to handle rows without a sequence, or with none left after dropping: raise an error, or
        return None.

    allow_empty : bool, default=False
        Whether ``X`` may have no rows.

    Returns
    -------
    list of str or None
        Residues in upper case and ``MASK``; None for a missing row.

    Raises
    ------
    ValueError
        If a policy is unknown, or if ``X`` has no rows and must have some.
    SequenceError
        If a row is invalid. The message describes the first such row, and counts the others.
    TypeError
        If a row is not a sequence.
    """
    check_one_of("invalid", invalid, get_args(Invalid))
    check_one_of("missing", missing, get_args(Missing))
    items = items_of(X, allow_empty=allow_empty)
    clean: list[str | None] = []
    for first in range(0, len(items), _BLOCK):
        block = items[first : first + _BLOCK]
        if _all_clean(block):
            clean += block
            continue
        try:
            clean += [_clean(item, row, invalid, missing) for row, item in enumerate(block, first)]
        except SequenceError as error:
            row, problem, noun, _ = error.args
            rows = rows_named(_invalid_rows(items, first, invalid, missing), X)
            raise SequenceError(row, problem, noun, rows) from error.__cause__
        except TypeError as error:
            rows = rows_named(_invalid_rows(items, first, invalid, missing), X)
            raise TypeError(f"{error}{rows}") from None
    return clean


def rows_named(invalid_rows: Iterable[int], X: Any = None) -> str:
    """Return the end of an error about the first of some rows: its label, and the other rows."""
    rows = list(islice(invalid_rows, _ROWS_COUNTED))
    named = rows[:_ROWS_NAMED]
    labels = [shorten(repr(label), 40) for label in labels_of(X, named)]
    text = f" The index label of row {rows[0]} is {labels[0]}." if labels else ""
    if len(rows) == 1:
        return text
    at_least = "At least " if len(rows) == _ROWS_COUNTED else ""
    others = "1 other row is" if len(rows) == 2 else f"{len(rows) - 1:,} other rows are"
    shown = [str(row) for row in named]
    if labels:
        shown = [f"{row} (label {label})" for row, label in zip(named, labels, strict=True)]
    end = ", ..." if len(rows) > _ROWS_NAMED else "."
    return f"{text} {at_least}{others} invalid: {', '.join(shown[1:])}{end}"


def scored_positions(sequence: str) -> Sequence[int]:
    """Return the indices of all residues except ``MASK``, counted from 0."""
    if MASK not in sequence:
        return range(len(sequence))
    return [position for position, residue in enumerate(sequence) if residue != MASK]


def scored_length(sequence: str) -> int:
    """Return the number of residues except ``MASK``."""
    return len(sequence) - sequence.count(MASK)


def residue_codes(sequence: str) -> np.ndarray:
    """Return the index of each residue in ``RESIDUES``, ``(residues,)``; ``MASK`` has the next index."""
    return _CODES[np.frombuffer(sequence.encode("ascii"), dtype=np.uint8)]


def shorten(sequence: str, width: int = 20) -> str:
    """Return the start of a sequence for a message, with control characters escaped."""
    shown = sequence if len(sequence) <= width else sequence[: width - 3] + "..."
    return shown if shown.isprintable() else repr(shown)[1:-1]


def check_one_of(name: str, value: Any, allowed: Sequence[str]) -> None:
    """Raise ValueError if a parameter is not one of the allowed strings."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be {listed(allowed)}; got {value!r}.")


def is_int(value: object) -> bool:
    """Return whether a parameter is an integer, and not a bool."""
    return isinstance(value, Integral) and not isinstance(value, (bool, np.bool_))


@contextmanager
def reference_named() -> Iterator[None]:
    """Raise an error about a sequence as one about the parameter ``reference``."""
    try:
        yield
    except (SequenceError, TypeError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"reference must be a sequence of residues. {error}") from error


def listed(choices: Sequence[str]) -> str:
    """Return two or more choices for a message.

    Examples
    --------
    >>> listed(["mean", "max", "min"])
    "'mean', 'max' or 'min'"
    """
    *first, last = map(repr, choices)
    return f"{', '.join(first)} or {last}"


def _all_clean(items: list[Any]) -> bool:
    """Return whether all items are clean sequences as they are, checked together for speed."""
    if set(map(type, items)) != {str} or not all(items):
        return False
    joined = "".join(items)
    # no missing value that became text consists of these capitals only, and no mutation does
    return joined.isascii() and not joined.encode().translate(None, _RESIDUE_BYTES)


def _invalid_rows(items: list[Any], first: int, invalid: str, missing: str) -> Iterator[int]:
    """Yield the invalid rows from row ``first`` on; blocks of clean sequences are skipped."""
    for start in range(first, len(items), _BLOCK):
        block = items[start : start + _BLOCK]
        if _all_clean(block):
            continue
        for row, item in enumerate(block, start):
            try:
                _clean(item, row, invalid, missing)
            except (SequenceError, TypeError):
                yield row


def _clean(item: Any, row: int, invalid: str, missing: str) -> str | None:
    text = item if isinstance(item, str) else _text(item, row)
    if text in _WRITTEN_MISSING:
        peptide = f" If it is a peptide, write {text.upper()!r}." if text.isalpha() else ""
        raise SequenceError(
            row,
            f"is the text {text!r}: a missing value was turned into text. Pass None instead, in an "
            f"array or column of dtype=object.{peptide}",
        )
    clean = "" if text is None else _residues(text, row, invalid)
    if clean:
        return clean
    if missing == "nan":
        return None
    found = shorten(repr(item), 40)
    if text is not None and text.strip():
        found = f"{shorten(text)}, of which invalid='drop' leaves nothing"
    raise SequenceError(
        row, f"is missing: found {found}. Set missing='nan' for a row of NaN, or remove the row."
    )


def _text(item: Any, row: int) -> str | None:
    """Return the sequence of a row as given, or None if it is missing."""
    must = "must be"
    if isinstance(item, np.ndarray):  # np.ma.masked becomes None
        item = item.tolist()
    if isinstance(item, tuple) and len(item) == 2:
        must = "is a pair (label, sequence), whose sequence must be"
        item = item[1]
    elif isinstance(item, (list, tuple)):
        if len(item) != 1:
            raise SequenceError(
                row,
                f"must be one sequence; got a {type(item).__name__} of {len(item)} items. Select one "
                "column, join residues with ''.join(row), or write labelled sequences as tuples "
                "(label, sequence).",
                "Row",
            )
        item = item[0]
    item = getattr(item, "seq", item)
    if isinstance(item, str):
        return item
    if is_missing(item):
        return None
    if is_biopython_seq(item):
        return _biopython_text(item, row, must)
    kind = type(item).__name__
    if isinstance(item, (bytes, bytearray)):
        raise TypeError(f"Row {row} {must} a string; got {kind}. Decode it: row.decode().")
    raise TypeError(
        f"Row {row} {must} a string; got {shorten(repr(item))} (type {kind}). Pass strings such as "
        "'MKTAYI', None for a missing sequence, and only the column of sequences of a table."
    )


def is_missing(item: Any) -> bool:
    """Return whether an item is None, NaN, or a missing value of pandas."""
    # pandas is optional, so its NA and NaT are recognized by the names of their types
    if item is None or type(item).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(item, (float, np.floating)) and bool(np.isnan(item))


def _biopython_text(seq: Any, row: int, must: str) -> str:
    try:
        return str(seq)
    except ValueError as error:  # a Biopython Seq can have a length without content
        raise SequenceError(
            row,
            f"{must} a Biopython Seq with content; got one without ({error}). Pass its residues, or "
            "None with missing='nan'.",
            "Row",
        ) from error


def _residues(text: str, row: int, invalid: str) -> str:
    stripped = text.strip()
    # only ASCII is upper-cased, because a sharp s would become SS and a dotless i would become I
    if stripped.isascii():
        upper = stripped.upper()
        if not upper.encode().translate(None, _RESIDUE_BYTES):
            return upper
        if _MUTATIONS.fullmatch(stripped):
            raise SequenceError(
                row,
                f"({shorten(stripped)}) looks like a mutation and not a sequence. Apply it to the wild "
                "type with sklearn_esm.variants.apply_mutations, or in a pipeline with its "
                "MutationsToSequences, and pass the whole sequence.",
            )

    def replacement(found: re.Match[str]) -> str:
        if found[0].lower() == "<mask>":
            return MASK
        if invalid == "error":
            position = len(text) - len(text.lstrip()) + found.start() + 1
            hint = _hint(found[0], last=found.end() == len(stripped))
            raise SequenceError(
                row,
                f"({shorten(text)}) has {found[0]!r} at position {position}, which is not in ESM's "
                f"alphabet.{hint} Set invalid='unknown', 'mask' or 'drop' to accept it.",
            )
        return _REPLACEMENTS[invalid]

    return _INVALID.sub(replacement, stripped).upper()


def _hint(character: str, *, last: bool) -> str:
    if character.isspace():
        return " Remove inner white space with ''.join(sequence.split())."
    if character == "*" and last:
        return " Remove the stop at the end of a translation with sequence.rstrip('*')."
    if character == MASK:
        return " Write the mask token as '<mask>'."
    return ""
