"""Find the line of the user's code that a warning is about."""

from __future__ import annotations

import sys

_LIBRARIES = ("joblib", "sklearn", "sklearn_esm")


def stacklevel_of_user() -> int:
    """Return the ``stacklevel`` with which the caller's warning points at the user's code.

    That is the innermost line outside of this package, scikit-learn and joblib: a transform may be
    called by a pipeline, and that by a search.
    """
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and _package(frame.f_globals) in _LIBRARIES:
        level, frame = level + 1, frame.f_back
    return level


def _package(names: dict[str, object]) -> str:
    return str(names.get("__name__")).partition(".")[0]
