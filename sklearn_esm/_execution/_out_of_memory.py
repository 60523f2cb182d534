"""Halve a batch that the memory of a GPU does not hold, and remember what it holds."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakKeyDictionary

from sklearn_esm._sequences import shorten

if TYPE_CHECKING:
    from sklearn_esm._engine import PackedModel, Unit

T = TypeVar("T")

# residues in a batch, of a model on its device, after the first batch that was too large
_room: WeakKeyDictionary[PackedModel, int] = WeakKeyDictionary()


def within_memory(
    run: Callable[[Unit, int], list[T]], unit: Unit, batch_tokens: int, model: PackedModel, way_out: str
) -> list[T]:
    """What ``run(unit, batch_tokens)`` returns, in smaller batches where memory runs out.

    ``way_out`` is the ``overlong`` policy to advise for a sequence that is too long.

    Raises
    ------
    MemoryError
        Where a single sequence, or a single window, is too much.
    """
    import torch

    size = min(batch_tokens, unit.residues) if unit.in_passes else unit.residues
    divisible = size > unit.smallest_pass if unit.in_passes else len(unit.sequences) > 1
    if not divisible or size <= _room.get(model, size):
        try:
            return run(unit, batch_tokens)
        except torch.OutOfMemoryError as error:
            if not divisible:
                sequence = unit.sequences[0].upper()
                raise MemoryError(
                    f"{shorten(sequence)} ({len(sequence)} residues) does not fit in the memory of "
                    f"{model.device}, even alone. Pass overlong={way_out!r} and a smaller "
                    "max_length, a smaller model, or device='cpu'."
                ) from error
        # outside of the handler: the error holds on to the tensors of the batch
        torch.cuda.empty_cache()
        if model not in _room:
            warnings.warn(
                f"A batch of {size:,} residues did not fit into the memory of {model.device}: batches "
                f"are halved from here on. Pass batch_tokens={size // 2} to begin with that.",
                RuntimeWarning,
                stacklevel=2,
            )
        _room[model] = size // 2
    if unit.in_passes:
        return within_memory(run, unit, size // 2, model, way_out)
    middle, end = len(unit.sequences) // 2, len(unit.sequences)
    return [
        result
        for half in (range(middle), range(middle, end))
        for result in within_memory(run, unit.part(half), batch_tokens, model, way_out)
    ]
