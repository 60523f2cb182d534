"""Run pieces in forward passes that fit into the memory of the device."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakKeyDictionary

from sklearn_esm._execution._pieces import Piece, take_pass, tokens_of
from sklearn_esm._sequences import shorten

if TYPE_CHECKING:
    from sklearn_esm._engine import PackedModel

T = TypeVar("T")

# tokens of a forward pass, by loaded model, since a larger pass ran out of memory
_tokens_that_fit: WeakKeyDictionary[PackedModel, int] = WeakKeyDictionary()


def run_in_passes(
    run: Callable[[list[Piece]], list[T]], pieces: Iterable[Piece], batch_tokens: int, model: PackedModel
) -> list[T]:
    """Return what ``run`` returns for all pieces, called with one forward pass at a time.

    A pass that runs out of memory is tried again with half its tokens.

    Raises
    ------
    MemoryError
        If a single piece does not fit.
    """
    import torch

    waiting = deque(pieces)
    results: list[T] = []
    while waiting:
        taken = take_pass(waiting, min(batch_tokens, _tokens_that_fit.get(model, batch_tokens)))
        try:
            results += run(taken)
            continue
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            if len(taken) == 1:
                sequence = taken[0].item.sequence
                raise MemoryError(
                    f"{shorten(sequence)} ({len(sequence)} residues) does not fit into the memory of "
                    f"{model.device}, even alone. Set a smaller max_length and an overlong policy, use "
                    "a smaller model, or set device='cpu'."
                ) from error
        # outside of the handler, because the error holds on to the tensors of the pass
        torch.cuda.empty_cache()
        if model.device.type == "mps":
            torch.mps.empty_cache()
        half = tokens_of(taken) // 2
        if model not in _tokens_that_fit:
            warnings.warn(
                f"A batch of {tokens_of(taken):,} tokens did not fit into the memory of {model.device}. "
                f"Smaller batches are used from now on. Set batch_tokens={half} to start with them.",
                RuntimeWarning,
                stacklevel=2,
            )
        _tokens_that_fit[model] = half
        waiting.extendleft(reversed(taken))
    return results


def _is_out_of_memory(error: RuntimeError) -> bool:
    import torch

    # torch has a class for CUDA's errors only
    return isinstance(error, torch.OutOfMemoryError) or "MPS backend out of memory" in str(error)
