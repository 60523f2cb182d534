"""Parse the texts of options."""

from __future__ import annotations

import re

_UNITS = {"b": 1} | {
    f"{letter}{unit}": base**power
    for power, letter in enumerate("kmgt", start=1)
    for unit, base in (("b", 1000), ("ib", 1024))
}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) *([a-z]*)", re.IGNORECASE)


def parse_layers(text: str, option: str = "--layer") -> int | list[int] | str:
    """Return the parameter ``layer`` for a text such as ``-1``, ``3,6`` or ``all``."""
    if text == "all":
        return text
    try:
        layers = [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(
            f"{option} must be one layer such as 6, several such as 3,6, or all; got {text}."
        ) from None
    return layers if "," in text else layers[0]


def parse_poolings(text: str) -> str | list[str] | None:
    """Return the parameter ``pooling`` for a text such as ``mean``, ``mean,max`` or ``none``."""
    if text == "none":
        return None
    parts = [part.strip() for part in text.split(",")]
    return parts if len(parts) > 1 else parts[0]


def parse_shard(text: str | None) -> slice:
    """Return the rows of a shard such as ``2/8``."""
    if text is None:
        return slice(None)
    found = re.fullmatch(r"(\d+)/(\d+)", text, re.ASCII)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise ValueError(
            f"--shard must be I/N with I from 1 to N; got {text}. Pass 1/8 to 8/8 for eight parts."
        )
    return slice(int(found[1]) - 1, None, int(found[2]))


def parse_size(text: str) -> int:
    """Return the number of bytes in a text such as ``500MB``, ``2GiB`` or ``1000``.

    Raises
    ------
    ValueError
        If the text has another form. A bare ``G`` is ambiguous.

    Examples
    --------
    >>> parse_size("500MB"), parse_size("1.5 GiB"), parse_size("1000")
    (500000000, 1610612736, 1000)
    """
    found = _SIZE.fullmatch(text.strip())
    unit = (found[2] or "b").lower() if found else ""
    if found is None or unit not in _UNITS:
        raise ValueError(
            f"SIZE must be a number of bytes, or have a unit such as 500MB or 2GiB; got {text!r}."
        )
    return int(float(found[1]) * _UNITS[unit]) if "." in found[1] else int(found[1]) * _UNITS[unit]
