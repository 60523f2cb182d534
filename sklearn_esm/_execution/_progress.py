"""Show a progress bar that measures work by the cost of forward passes, so that its estimate holds."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tqdm import TqdmWarning

from sklearn_esm._execution._pieces import Item, tokens_read

with warnings.catch_warnings():
    # in a notebook without ipywidgets the bar is text, which is no reason to warn on import
    warnings.simplefilter("ignore", category=TqdmWarning)
    from tqdm.auto import tqdm

_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"


class Progress:
    """A progress bar over the cost of items.

    Parameters
    ----------
    total : int
        Cost of all items.
    shown : bool
        Whether to show the bar. If not, no cost needs to be known.
    """

    def __init__(self, total: int, *, shown: bool) -> None:
        # smoothing=0: the estimate comes from the whole run, because batches differ
        self._bar = tqdm(
            desc="Running the model", total=total, bar_format=_FORMAT, smoothing=0, disable=not shown
        )

    @property
    def shown(self) -> bool:
        """Whether costs are needed at all."""
        return not self._bar.disable

    @property
    def done(self) -> int:
        """Cost of what is done."""
        return int(self._bar.n)

    def add(self, cost: int) -> None:
        """Advance the bar."""
        self._bar.update(cost)

    def skip(self, cost: int) -> None:
        """Leave out work that is already done."""
        self._bar.total = (self._bar.total or 0) - cost
        self._bar.refresh()

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()


_shared: ContextVar[Progress | None] = ContextVar("shared progress", default=None)


@contextmanager
def one_progress(total: int) -> Iterator[Progress]:
    """Show one bar for all calls of estimators in this context, instead of one for each."""
    progress = Progress(total, shown=True)
    token = _shared.set(progress)
    try:
        yield progress
    finally:
        _shared.reset(token)
        progress.close()


def shared_progress() -> Progress | None:
    """Return the bar of `one_progress`, if the caller is in its context."""
    return _shared.get()


def cost_of(items: Iterable[Item], window_length: int | None, width: int) -> int:
    r"""Return the cost of items: of each token, linear layers and the attention to every other token.

    A block multiplies 12 ``width``\ :sup:`2` pairs of numbers per token in its linear layers, and
    2 ``width`` pairs per token and token in attention.
    """
    cost = 0
    for item in items:
        pieces, tokens = tokens_read(item, window_length)
        cost += pieces * tokens * (6 * width + tokens)
    return cost
