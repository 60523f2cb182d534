"""Run the forward pass with torch's own settings, and restore the caller's settings after it.

Default dtype and device are not handled here, because the engine always passes both.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeVar

import torch

P = ParamSpec("P")
T = TypeVar("T")

_DEVICES = ("cpu", "cuda", "mps")  # each has its own autocast
_LIBRARIES = ("cuda", "mkldnn")  # each has its own precision


def isolated(function: Callable[P, T]) -> Callable[P, T]:
    """Run a function in `isolation`."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        with isolation():
            return function(*args, **kwargs)

    return run


def isolated_steps(function: Callable[P, Iterator[T]]) -> Callable[P, Iterator[T]]:
    """Run a generator in `isolation`, but not the caller's code between its steps."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        steps = function(*args, **kwargs)
        while True:
            with isolation():
                try:
                    step = next(steps)
                except StopIteration:
                    return
            yield step

    return run


@contextmanager
def isolation() -> Iterator[None]:
    """Enter inference mode without autocast, and with torch's default settings."""
    token = object()
    with _without_autocast(), torch.inference_mode():
        try:
            _settings.take(token)
            yield
        finally:  # also if an interrupt arrives inside take()
            _settings.give_back(token)


def _without_autocast() -> AbstractContextManager[Any]:
    enabled = [device for device in _DEVICES if torch.is_autocast_enabled(device)]
    if not enabled:  # the usual case; a stack would cost as much time as inference mode
        return nullcontext()
    stack = ExitStack()
    for device in enabled:
        stack.enter_context(torch.autocast(device, enabled=False))
    return stack


class _Setting(Protocol):
    """A setting that torch has once per process."""

    def is_right(self) -> bool: ...

    def read(self) -> Any: ...

    def make_right(self) -> None: ...

    def write(self, former: Any) -> None: ...


class _Switch:
    """A setting that is on by default."""

    def __init__(self, read: Callable[[], bool], write: Callable[[bool], Any]) -> None:
        self.is_right = self.read = read
        self.write = write

    def make_right(self) -> None:
        self.write(True)


class _Precision:
    """Precision of float32 matrix products: TF32 and bfloat16 have errors of 1e-3.

    torch has an old setting for all devices, and a new one for each library. The old one cannot be
    read after the new ones were set to different values.
    """

    def is_right(self) -> bool:
        # same as torch.backends.cuda.matmul.fp32_precision, but 5 times as fast
        read = torch._C._get_fp32_precision_getter
        return all(read(library, "matmul") in ("none", "ieee") for library in _LIBRARIES)

    def read(self) -> tuple[str | None, list[str]]:
        read = torch._C._get_fp32_precision_getter
        return self._read_old(), [read(library, "matmul") for library in _LIBRARIES]

    def make_right(self) -> None:
        if self._read_old() is None:
            self._write_new(["ieee", "ieee"])
        else:
            torch.set_float32_matmul_precision("highest")

    def write(self, former: tuple[str | None, list[str]]) -> None:
        old, new = former
        if old is not None:
            torch.set_float32_matmul_precision(old)
        self._write_new(new)

    def _read_old(self) -> str | None:
        try:
            return torch.get_float32_matmul_precision()
        except RuntimeError:
            return None

    def _write_new(self, precisions: list[str]) -> None:
        for library, precision in zip(_LIBRARIES, precisions, strict=True):
            torch._C._set_fp32_precision_setter(library, "matmul", precision)


def _process_wide() -> list[_Setting]:
    settings: list[_Setting] = [_Precision()]
    if torch.backends.mkldnn.is_available():  # other kernels sum in a different order
        settings.append(_Switch(torch._C._get_mkldnn_enabled, torch._C._set_mkldnn_enabled))
    # kernels of scaled_dot_product_attention
    for name in ("flash", "mem_efficient", "math", "cudnn"):
        read = getattr(torch.backends.cuda, f"{name}_sdp_enabled")
        settings.append(_Switch(read, getattr(torch.backends.cuda, f"enable_{name}_sdp")))
    return settings


class _Settings:
    """Process-wide settings, changed while any thread is inside `isolation`.

    The last thread to leave restores the caller's values. A change made by another thread in the
    meantime can be lost.
    """

    def __init__(self) -> None:
        self._settings = _process_wide()
        self._forget()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._inside: set[object] = set()
        self._former: dict[_Setting, Any] = {}

    def take(self, token: object) -> None:
        """Change the settings until `give_back` is called with the same token."""
        with self._lock:
            self._inside.add(token)
            for setting in self._settings:
                if not setting.is_right():
                    self._former[setting] = setting.read()
                    setting.make_right()

    def give_back(self, token: object) -> None:
        """Restore the caller's values, unless another thread is inside."""
        with self._lock:
            self._inside.discard(token)
            if self._former and not self._inside:
                self._put_back()

    def _put_back(self) -> None:
        for setting, former in self._former.items():
            if setting.is_right():  # otherwise another thread changed it
                setting.write(former)
        self._former.clear()

    def after_fork(self) -> None:
        """Restore the caller's values in a forked child, which has only the forking thread."""
        self._put_back()
        self._forget()


_settings = _Settings()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_settings.after_fork)
