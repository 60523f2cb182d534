"""Every input form becomes clean sequences here; the ``invalid`` and ``missing`` policies.

A clean sequence holds upper-case residues and ``MASK`` only, one character per residue. Anything
that takes sequences from a user may call :func:`clean_sequences`, and should do so first.
"""

import re
from typing import Any

import numpy as np

from sklearn_esm._columns import is_biopython_seq, items_of

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

# "Q2A", "A24G:K30R", "p.Ala24Gly", "A24del": without its digits each would pass for a short peptide
_CODE = (
    r"(?:[a-z*]|ala|arg|asn|asp|cys|gln|glu|gly|his|ile|leu|lys|met|phe|pro|ser|thr|trp|tyr|val"
    r"|asx|glx|sec|pyl|xaa|ter)"
)
_CHANGE = rf"(?:{_CODE}|=|-|del|dup|(?:del)?ins[a-z*]+|{_CODE}?fs(?:\*|ter|x)?\d*)"
_MUTATION = rf"[(\[]?(?:p\.)?[(\[]?{_CODE}\d+(?:_{_CODE}\d+)?{_CHANGE}[)\]]*"
_MUTATIONS = re.compile(
    rf"(?:[\w.]{{1,40}}:)?{_MUTATION}(?:[\s:,;/_+|&-]+{_MUTATION})*", re.ASCII | re.IGNORECASE
)
# what str() makes of missing values; of the peptides of these letters, each is found in capitals
_WRITTEN_MISSING = frozenset({"nan", "NaN", "None", "<NA>", "NaT", "null"})


class SequenceError(ValueError):
    """Raised for a sequence that cannot be used.

    Parameters
    ----------
    row : int
        Which one, counted from 0.
    problem : str
        What is wrong with it, and the fix.
    noun : str, default="Sequence"
        What the message calls it before its row and the problem.
    """

    def __init__(self, row: int, problem: str, noun: str = "Sequence") -> None:
        super().__init__(row, problem, noun)  # all of them, so that it can be pickled
        self.row = row
        self.problem = problem
        self._noun = noun

    def __str__(self) -> str:
        return f"{self._noun} {self.row} {self.problem}"


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
    return [_clean(item, row, invalid, missing, model) for row, item in enumerate(items_of(X))]


def scored_positions(sequence: str) -> list[int]:
    """Return where a sequence has a residue, not ``MASK``."""
    return [position for position, residue in enumerate(sequence) if residue != MASK]


def residue_codes(sequence: str) -> np.ndarray:
    """Return the place of each residue in ``RESIDUES``, ``(residues,)``; ``MASK`` has the one after."""
    return _CODES[np.frombuffer(sequence.encode("ascii"), dtype=np.uint8)]


def shorten(sequence: str, width: int = 20) -> str:
    """Return the beginning of a sequence for a message, control characters escaped."""
    shown = sequence if len(sequence) <= width else sequence[: width - 3] + "..."
    return shown if shown.isprintable() else repr(shown)[1:-1]


def _check_policy(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name}={value!r} is unknown. Pass one of {', '.join(map(repr, allowed))}.")


def _clean(item: Any, row: int, invalid: str, missing: str, model: str) -> str | None:
    text = item if isinstance(item, str) else _text(item, row)
    if text in _WRITTEN_MISSING:
        peptide = f" If it is a peptide, write {text.upper()!r}." if text.isalpha() else ""
        raise SequenceError(
            row,
            f"is the text {text!r}: a missing value was turned into text. Pass None for it, which "
            f"arrays and columns of dtype=object keep.{peptide}",
        )
    clean = "" if text is None else _residues(text, row, invalid, model)
    if clean:
        return clean
    if missing == "nan":
        return None
    found = shorten(repr(item), 40)
    if text is not None and text.strip():
        found = f"{shorten(text)}, of which invalid='drop' leaves nothing"
    raise SequenceError(
        row, f"is missing: found {found}. Pass missing='nan' for a row of NaN, or remove the row."
    )


def _text(item: Any, row: int) -> str | None:
    """Return the sequence of a row as it was given, or None where there is none."""
    where = "is"
    if isinstance(item, np.ndarray):  # np.ma.masked too, which becomes None
        item = item.tolist()
    if isinstance(item, tuple) and len(item) == 2:
        where = "is a pair (label, sequence), and its sequence is"
        item = item[1]
    elif isinstance(item, (list, tuple)):
        if len(item) != 1:
            raise SequenceError(
                row,
                f"is a {type(item).__name__} of {len(item)} items, and one sequence is needed. Select "
                "one column; join a list of residues with ''.join(row); write labelled sequences as "
                "tuples, (label, sequence).",
                "Row",
            )
        item = item[0]
    item = getattr(item, "seq", item)
    if isinstance(item, str):
        return item
    if _is_missing(item):
        return None
    if is_biopython_seq(item):
        return _biopython_text(item, row, where)
    kind = type(item).__name__
    if isinstance(item, (bytes, bytearray)):
        raise TypeError(f"Row {row} {where} {kind}, not text: decode it first, row.decode().")
    raise TypeError(
        f"Row {row} {where} {shorten(repr(item))} (type {kind}), which is no sequence. Pass strings "
        "such as 'MKTAYI', and None where one is missing; of a table, select the column of sequences."
    )


def _is_missing(item: Any) -> bool:
    # pandas is optional: its NA and NaT are known by the names of their types
    if item is None or type(item).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(item, (float, np.floating)) and bool(np.isnan(item))


def _biopython_text(seq: Any, row: int, where: str) -> str:
    try:
        return str(seq)
    except ValueError as error:  # Biopython's sequences of known length and unknown content
        raise SequenceError(
            row,
            f"{where} a Biopython Seq without content ({error}). Pass its residues, or None with "
            "missing='nan'.",
            "Row",
        ) from error


def _residues(text: str, row: int, invalid: str, model: str) -> str:
    stripped = text.strip()
    # only ASCII is upper-cased: a sharp s would become SS, and a dotless i an I
    if stripped.isascii():
        upper = stripped.upper()
        if not upper.encode().translate(None, _RESIDUE_BYTES):
            return upper
        if _MUTATIONS.fullmatch(stripped):
            raise SequenceError(
                row,
                f"({shorten(stripped)}) looks like a mutation and not a sequence. Apply it to the wild "
                "type and pass the whole sequence.",
            )

    def read(unit: re.Match[str]) -> str:
        if unit[0].lower() == "<mask>":
            return MASK
        if invalid == "error":
            position = len(text) - len(text.lstrip()) + unit.start()
            hint = _hint(unit[0], last=unit.end() == len(stripped))
            raise SequenceError(
                row,
                f"({shorten(text)}) has {unit[0]!r} at position {position}, which is no residue of "
                f"{model}.{hint} Pass invalid='unknown', 'mask' or 'drop' to allow it.",
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
