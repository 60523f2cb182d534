"""What the commands print about models, sizes and caches; and how sizes are written."""

from __future__ import annotations

import re
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from sklearn_esm._checkpoints._catalog import BUNDLED_MODEL, CATALOG
from sklearn_esm._checkpoints._download import checkpoint_folder
from sklearn_esm._checkpoints._locate import find_checkpoint

_UNITS = {"b": 1} | {
    f"{letter}{unit}": base**power
    for power, letter in enumerate("kmgt", start=1)
    for unit, base in (("b", 1000), ("ib", 1024))
}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) *([a-z]*)", re.IGNORECASE)
_BUNDLED_FACTS = (6, 128, 1_200_000)  # layers, width, parameters; it is no published model
_WIDTH = 100  # of a table that goes to a file or a pipe


def parse_size(text: str) -> int:
    """Read a number of bytes such as ``500MB``, ``2GiB`` or ``1000``.

    Raises
    ------
    ValueError
        For anything else; a bare ``G`` may mean two things.

    Examples
    --------
    >>> parse_size("500MB"), parse_size("1.5 GiB"), parse_size("1000")
    (500000000, 1610612736, 1000)
    """
    found = _SIZE.fullmatch(text.strip())
    unit = (found[2] or "b").lower() if found else ""
    if found is None or unit not in _UNITS:
        raise ValueError(f"{text!r} is no size. Pass bytes, or a number with a unit: 500MB, 2GiB.")
    return int(float(found[1]) * _UNITS[unit]) if "." in found[1] else int(found[1]) * _UNITS[unit]


def size_text(size: float) -> str:
    """Write a number of bytes for people.

    Examples
    --------
    >>> size_text(999), size_text(31_000_000)
    ('999 B', '29.6 MiB')
    """
    if size < 1024:
        return f"{size:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if size < 1024:
            return f"{size:.1f} {unit}"
    return f"{size / 1024:.1f} TiB"


def print_models() -> None:
    """Print a table of the models that have a name, and which of them are on this machine."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("name", no_wrap=True)
    for heading in ("layers", "width", "longest", "parameters", "on disk"):
        table.add_column(heading, justify="right", no_wrap=True)
    for model in CATALOG.values():
        longest = "any" if model.max_length is None else f"{model.max_length:,}"
        facts = (model.layers, model.width, model.parameters)
        table.add_row(*_row(model.name, facts, longest, checkpoint_folder() / f"{model.name}.pt"))
    table.add_row(*_row(BUNDLED_MODEL, _BUNDLED_FACTS, "any", find_checkpoint(BUNDLED_MODEL)))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH
    console.print(table)


def _row(name: str, facts: tuple[int, int, int], longest: str, path: Path) -> list[str]:
    layers, width, parameters = facts
    number = f"{parameters / 1e9:g} B" if parameters >= 1e9 else f"{parameters / 1e6:g} M"
    on_disk = size_text(path.stat().st_size) if path.is_file() else "no"
    return [name, str(layers), str(width), longest, number, on_disk]
