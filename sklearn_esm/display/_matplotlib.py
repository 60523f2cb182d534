"""Matplotlib, imported when something is drawn."""

from __future__ import annotations

from typing import Any


def import_pyplot() -> Any:
    """Return matplotlib's pyplot.

    Raises
    ------
    ImportError
        Without matplotlib; the message says how to install it.
    """
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(
            'A display needs matplotlib, which is not installed: pip install "sklearn-esm[plot]"'
        ) from error
    return pyplot
