"""Parse names of mutations, such as ``"A24G:K30R"`` or ``"p.Ala24del"``, into changes of a reference."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from sklearn_esm._sequences import RESIDUES, SequenceError, shorten

_LETTERS = {
    code: letter
    for codes, letters in [
        ("ala arg asn asp cys gln glu gly his ile", "ARNDCQEGHI"),
        ("leu lys met phe pro ser thr trp tyr val", "LKMFPSTWYV"),
        ("asx glx sec pyl xaa ter", "BZUOX*"),
        (" ".join(f"{RESIDUES}*".lower()), f"{RESIDUES}*"),
    ]
    for code, letter in zip(codes.split(), letters, strict=True)
}
_CODE = "|".join(code for code in _LETTERS if len(code) == 3)
# int() refuses thousands of digits, and no protein needs more than nine
_SITE = rf"({_CODE}|[a-z*])(\d{{1,9}})"
_CHANGE = re.compile(rf"{_SITE}(?:_{_SITE})?([^\d_].*)")
_INSERTION = re.compile(rf"(del)?ins((?:{_CODE})+|[a-z*]+)")
_FRAME_SHIFT = re.compile(rf"(?:{_CODE}|[a-z*])?fs(?:(?:\*|ter|x)\d*)?")
# an underscore after a digit belongs to a range, as in A24_G26del
_SEPARATOR = re.compile(r"(?:[\s:,;/+]|(?<!\d)_)+")
_ACCESSION = re.compile(r"(?:[NXY]P_|ENSP)\d+(?:\.\d+)?:(?=p\.)")
_OF_REFERENCE = frozenset({"", "wt", "=", "p.=", "p.(=)"})


class Change(NamedTuple):
    """One change of a reference, with positions as they are written."""

    text: str
    """The change as it is written."""

    sites: tuple[tuple[int, str], ...]
    """One or two positions, each with the residue that the text names there."""

    first: int
    """First position that is replaced."""

    last: int
    """Last position that is replaced; ``first - 1`` for an insertion."""

    new: str
    """Residues that replace them."""

    copies: int = 0
    """How many copies of the replaced residues come before ``new``."""


class _ChangeError(ValueError):
    """Raised with what a change must be, and the fix; the caller adds row and text."""


def parse_rows(texts: Iterable[str]) -> list[list[Change]]:
    """Return the changes that each text names, sorted by position; none for the reference.

    Raises
    ------
    SequenceError
        If a text is no mutation, has a stop or a frame shift, or changes a position twice.
    """
    changes: dict[str, Change] = {}  # most changes occur in many rows
    return [_parsed(text, row, changes) for row, text in enumerate(texts)]


def row_error(row: int, text: str, problem: str) -> SequenceError:
    """Return the error of a row of mutations."""
    return SequenceError(row, f"({shorten(text)}) {problem}", "Row")


def is_separator(value: object) -> bool:
    """Return whether a value is a text that can stand between two substitutions."""
    return isinstance(value, str) and _SEPARATOR.fullmatch(value) is not None


def _parsed(text: str, row: int, known: dict[str, Change]) -> list[Change]:
    bare = text.strip()
    if bare.lower() in _OF_REFERENCE:
        return []
    bare = _ACCESSION.sub("", bare, count=1)
    if bare.startswith(("[", "p.[")) and bare.endswith("]"):
        bare = bare.removeprefix("p.")[1:-1]
    changes = []
    for part in _SEPARATOR.split(bare):
        change = known.get(part)
        if change is None:
            try:
                change = known[part] = _change(part)
            except _ChangeError as error:
                must, fix = error.args
                raise row_error(row, text, f"{must}; got '{shorten(part)}'. {fix}") from None
        changes.append(change)
    if len(changes) > 1:
        changes.sort(key=lambda change: (change.first, change.last))
        _check_apart(changes, row, text)
    return changes


def _check_apart(changes: list[Change], row: int, text: str) -> None:
    for one, other in pairwise(changes):
        same_gap = one[2:4] == other[2:4]  # two insertions between the same residues
        if other.first <= one.last or same_gap:
            raise row_error(
                row,
                text,
                f"must change each position once; got '{shorten(one.text)}' and "
                f"'{shorten(other.text)}'. Keep one of them.",
            )


def _change(part: str) -> Change:
    text = part.lower().removeprefix("p.")
    if text.startswith("(") and text.endswith(")"):
        text = text[1:-1]
    found = _CHANGE.fullmatch(text) if part.isascii() else None
    if found is None:
        raise _not_a_mutation()
    old, number, old_last, number_last, kind = found.groups()
    first = last = int(number)
    sites: tuple[tuple[int, str], ...] = ((first, _letter(old)),)
    if old_last:
        last = int(number_last)
        sites += ((last, _letter(old_last)),)
        if last <= first:
            raise _ChangeError("must have the lower position first", "Write 'A24_G26del'.")
    if _FRAME_SHIFT.fullmatch(kind):
        raise _ChangeError("must not have a frame shift", "Remove the row.")
    if kind in ("del", "-"):
        return Change(part, sites, first, last, "")
    if kind == "dup":
        return Change(part, sites, first, last, "", copies=2)
    insertion = _INSERTION.fullmatch(kind)
    if insertion is None:
        if old_last:
            raise _not_a_mutation()
        if kind == "=":
            return Change(part, sites, first, last, "", copies=1)
        return Change(part, sites, first, last, _letter(kind))
    deleted, inserted = insertion.groups()
    # written like the site: "insala" is alanine after Ala24, and three residues after A24
    width = len(old)
    codes = [inserted[start : start + width] for start in range(0, len(inserted), width)]
    new = "".join(map(_letter, codes))
    if deleted:
        return Change(part, sites, first, last, new)
    if last != first + 1:
        raise _ChangeError("must insert between two neighbours", "Write 'A24_G25insKR'.")
    return Change(part, sites, last, first, new)


def _letter(code: str) -> str:
    """Return the upper-case letter of a residue."""
    letter = _LETTERS.get(code)
    if letter == "*":
        raise _ChangeError(
            "must not have a stop",
            "Remove the row, or write the truncated protein as a deletion such as 'A24_G56del'.",
        )
    if letter is not None:
        return letter
    if len(code) == 1 and code.isalpha():
        raise _ChangeError(
            f"must have residues of ESM's alphabet, which lacks {code.upper()!r}",
            "Write X for an unknown residue.",
        )
    raise _not_a_mutation()


def _not_a_mutation() -> _ChangeError:
    return _ChangeError(
        "must be mutations such as 'A24G', 'A24G:K30R', 'p.Ala24Gly', 'A24del' or 'A24_G25insKR'",
        "Separate them with ':', and write 'WT' for the reference.",
    )
