"""End a command with one message and an exit code if the user can fix the problem."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import typer

_PARAMETERS = (
    "model",
    "layer",
    "pooling",
    "overlong",
    "max_length",
    "invalid",
    "missing",
    "device",
    "dtype",
    "batch_tokens",
    "cache",
    "n_jobs",
    "method",
    "reference",
    "aggregate",
    "strategy",
    "estimator",
    "task",
    "features",
    "layers",
    "poolings",
    "first_position",
)
_PARAMETER = re.compile(rf"(?<!-)\b({'|'.join(_PARAMETERS)})(?:=| (?=must ))")
# parts of the package's messages that differ on the command line
_ADVICE = {
    "must be None, 'memory' or the path": "must be the path",
    "must be None, a callable, ": "must be ",
    "must be None, ": "must be ",
    "must be None or ": "must be ",
    "set first_position to": "set --first-position to",
    "Set device=None to": "Leave out --device to",
    "pass empty='keep' for an empty sequence": "pass --missing nan for a row of NaN",
}


def in_options(message: str) -> str:
    """Return a message of the package with parameters written as options."""
    for advice, replacement in _ADVICE.items():
        message = message.replace(advice, replacement)
    return _PARAMETER.sub(lambda found: f"{_option(found[1])} ", message)


def say(message: str) -> None:
    """Write a line to standard error."""
    typer.echo(message, err=True)


@contextmanager
def usage() -> Iterator[None]:
    """End the command with code 2 after a ValueError, because the command line is invalid."""
    try:
        yield
    except ValueError as error:
        raise typer.BadParameter(in_options(str(error))) from error


class TaskError(Exception):
    """Raised if tasks of a cluster failed."""


def _nothing() -> str:
    return ""


@contextmanager
def explained(after_stop: Callable[[], str] = _nothing) -> Iterator[None]:
    """End the command with one message and code 1 after an error; write each warning as one line.

    ``after_stop`` returns a sentence to add: what is kept, and how to resume.
    """
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            yield
        except KeyboardInterrupt as error:
            say(f"Interrupted. {after_stop()}".rstrip())
            raise typer.Exit(130) from error
        except BrokenPipeError as error:  # the reader closed the pipe on purpose, so there is no message
            discard_output()
            raise typer.Exit(1) from error
        except (MemoryError, OSError, ImportError, ValueError, TaskError) as error:
            say(f"Error: {in_options(_reason(error))} {after_stop()}".rstrip())
            raise typer.Exit(1) from error


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename is not None else ""
        return f"{where}{error.strerror or error}"
    return str(error) or "out of memory."


def discard_output() -> None:
    """Redirect standard output to the null device, because Python flushes it once more at exit."""
    with suppress(OSError, ValueError):  # standard output has no file descriptor in a test or a notebook
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _option(parameter: str) -> str:
    return "--jobs" if parameter == "n_jobs" else f"--{parameter.replace('_', '-')}"


def _show_warning(message: Warning | str, *rest: Any, **more: Any) -> None:
    say(f"Warning: {in_options(str(message))}")
