"""Libraries that come with an extra: imported when needed, with an error that names the extra."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def import_extra(module: str, *, of: str, extra: str, library: str | None = None) -> Any:
    """Import a module of a library that the package can do without.

    Parameters
    ----------
    module : str
        Its full name.
    of : str
        Who needs it, the first words of the message.
    extra : str
        The extra of this package that brings it.
    library : str or None, default=None
        What the library is called; None is the first part of the module's name.

    Raises
    ------
    ImportError
        Where it is not installed; the message says how to install it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{of} needs {library or module.partition('.')[0]}, which is not installed: "
            f'pip install "sklearn-esm[{extra}]"'
        ) from error
