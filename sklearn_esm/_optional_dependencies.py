"""Import libraries of an extra on demand, with an error that names the extra."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def import_extra(module: str, *, of: str, extra: str, library: str | None = None) -> Any:
    """Import a module of an optional library.

    Parameters
    ----------
    module : str
        Full name of the module.
    of : str
        User of the module, the first words of the message.
    extra : str
        Extra of this package that installs the library.
    library : str or None, default=None
        Name of the library. None is the first part of the module's name.

    Raises
    ------
    ImportError
        If the library is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{of} needs {library or module.partition('.')[0]}, which is not installed: "
            f'pip install "sklearn-esm[{extra}]"'
        ) from error
