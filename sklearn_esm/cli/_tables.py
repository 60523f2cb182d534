"""Print the table of models."""

from __future__ import annotations

from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from sklearn_esm._checkpoints._catalog import BUNDLED_MODEL, CATALOG, ESMC, PublishedModel
from sklearn_esm._checkpoints._download import checkpoint_folder
from sklearn_esm._checkpoints._hub import cached_weights, hub_cache, repository_of
from sklearn_esm._checkpoints._locate import find_checkpoint

_BUNDLED = PublishedModel(BUNDLED_MODEL, "esm2", 6, 128, 4, None, 1_200_000)
_WIDTH = 100  # of a table in a file or a pipe


def print_models() -> None:
    """Print a table of the models with a name, and the folders in which they are stored."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("name", no_wrap=True)
    for heading in ("parameters", "layers", "width", "longest"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("licence", "stored in"):
        table.add_column(heading, no_wrap=True)
    table.add_column("on disk", justify="right", no_wrap=True)
    for model in ESMC.values():
        repository = repository_of(model.name)
        files = cached_weights(repository) if repository and hub_cache() else []
        table.add_row(*_row(model, "Hugging Face", files))
    for model in CATALOG.values():
        table.add_row(*_row(model, "torch hub", [checkpoint_folder() / f"{model.name}.pt"]))
    table.add_row(*_row(_BUNDLED, "package", [find_checkpoint(BUNDLED_MODEL)]))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH
    console.print(table)
    # not wrapped, so that a path can be copied
    console.print(f"torch hub: {checkpoint_folder()}", soft_wrap=True, markup=False)
    cache = hub_cache() or 'not available without pip install "sklearn-esm[hub]"'
    console.print(f"Hugging Face: {cache}", soft_wrap=True, markup=False)


def _row(model: PublishedModel, place: str, files: list[Path]) -> list[str]:
    number = model.parameters
    parameters = f"{number / 1e9:g} B" if number >= 1e9 else f"{number / 1e6:g} M"
    longest = "any" if model.max_length is None else f"{model.max_length:,}"
    present = bool(files) and all(path.is_file() for path in files)
    size = decimal(sum(path.stat().st_size for path in files)) if present else "no"
    facts = [str(model.layers), str(model.width), longest, model.licence, place]
    return [model.name, parameters, *facts, size]
