"""How a command ends: one message and an exit code for what its user can put right."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Iterator
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
)
_PARAMETER = re.compile(rf"\b({'|'.join(_PARAMETERS)})(?:=| (?=must be ))")
# what the messages of the package advise, where a command is not told the same way
_ADVICE = {
    "device must be None, ": "device must be ",
    "cache must be None, 'memory' or the path": "cache must be the path",
    "n_jobs must be None or an integer": "n_jobs must be an integer",
    "Pass device=None to": "Leave out --device to",
    "pass empty='keep' for an empty sequence": "pass --missing nan for a row of NaN",
}


def in_options(message: str) -> str:
    """Write a message of the package for the command line: parameters as options."""
    for advice, replacement in _ADVICE.items():
        message = message.replace(advice, replacement)
    return _PARAMETER.sub(lambda found: f"{_option(found[1])} ", message)


def say(message: str) -> None:
    """Write a line for the user, beside the data on standard output."""
    typer.echo(message, err=True)


@contextmanager
def usage() -> Iterator[None]:
    """End the command with code 2 for a ValueError: what is wrong is the command line itself."""
    try:
        yield
    except ValueError as error:
        raise typer.BadParameter(in_options(str(error))) from error


@contextmanager
def explained(after_interrupt: str = "") -> Iterator[None]:
    """End the command with one message where it cannot be carried out; warnings become lines, too."""
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            yield
        except KeyboardInterrupt as error:
            say(f"Interrupted. {after_interrupt}".rstrip())
            raise typer.Exit(130) from error
        except BrokenPipeError as error:  # whoever read the output has seen enough: no message
            discard_output()
            raise typer.Exit(1) from error
        except MemoryError as error:
            say(f"Error: {in_options(str(error)) or 'out of memory.'}")
            raise typer.Exit(1) from error
        except OSError as error:
            reason = in_options(error.strerror or str(error))
            where = f"{error.filename}: " if error.filename is not None else ""
            say(f"Error: {where}{reason}")
            raise typer.Exit(1) from error
        except (ImportError, ValueError) as error:
            say(f"Error: {in_options(str(error))}")
            raise typer.Exit(1) from error


def discard_output() -> None:
    """Let go of standard output, which Python would try to write once more when it ends."""
    with suppress(OSError, ValueError):  # not a file of the system: in a test, in a notebook
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _option(parameter: str) -> str:
    return "--jobs" if parameter == "n_jobs" else f"--{parameter.replace('_', '-')}"


def _show_warning(message: Warning | str, *rest: Any, **more: Any) -> None:
    say(f"Warning: {in_options(str(message))}")
