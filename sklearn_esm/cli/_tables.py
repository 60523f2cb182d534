"""Print the table of models, and parse sizes."""

from __future__ import annotations

import re
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.filesize import decimal
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
_BUNDLED_FACTS = (6, 128, 1_200_000)  # layers, width, parameters
_WIDTH = 100  # of a table in a file or a pipe


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


def print_models() -> None:
    """Print a table of the models with a name, and their file size if it is on this machine."""
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
    on_disk = decimal(path.stat().st_size) if path.is_file() else "no"
    return [name, str(layers), str(width), longest, number, on_disk]
