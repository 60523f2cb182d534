"""Parse the texts of options, and check options that belong together."""

from __future__ import annotations

import os
import re
import sys
from typing import Any

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


def check_exclusive(options: dict[str, Any]) -> None:
    """Raise ValueError if several of these options are given."""
    if sum(value is not None and value is not False for value in options.values()) > 1:
        raise ValueError(f"Pass {' or '.join(options)}, not both.")


def check_other_file(output: str, *inputs: str | None) -> None:
    """Raise ValueError if the output is one of the inputs, also through links."""
    for source in inputs:
        if source is not None and "-" not in (source, output) and _is_same(source, output):
            raise ValueError(
                f"-o must be another file than the input; got {output}, which is {source}. Pass "
                "another name to -o."
            )


def shows_progress(*, verbose: bool, quiet: bool) -> bool:
    """Return whether to show a progress bar: on a terminal, or with ``--verbose``."""
    check_exclusive({"--verbose": verbose, "--quiet": quiet})
    return not quiet and (verbose or sys.stderr.isatty())


def _is_same(source: str, output: str) -> bool:
    paths = [os.path.expanduser(path) for path in (source, output)]
    try:
        return os.path.samefile(*paths)
    except OSError:  # one of the files does not exist
        return os.path.realpath(paths[0]) == os.path.realpath(paths[1])
