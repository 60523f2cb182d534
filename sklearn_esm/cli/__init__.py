"""The command ``sklearn-esm``. Its dependencies are in the extra ``cli``."""

from __future__ import annotations

import signal
import sys
from typing import Any


def main() -> None:
    """Run the command. If the extra is not installed, print how to install it."""
    # schedulers send SIGTERM before SIGKILL; an exception lets the command remove an unfinished file
    signal.signal(signal.SIGTERM, _terminate)
    try:
        from sklearn_esm.cli._app import app
    except ImportError as error:
        library = (error.name or "").partition(".")[0]
        if library in ("", "sklearn_esm"):
            raise
        sys.exit(f'sklearn-esm needs {library}, which is not installed: pip install "sklearn-esm[cli]"')
    except KeyboardInterrupt:
        sys.exit(130)
    app(prog_name="sklearn-esm")


def _terminate(number: int, frame: Any) -> None:
    sys.exit(128 + number)
