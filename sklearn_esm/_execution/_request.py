"""What to compute, as the estimators describe it and workers receive it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sklearn_esm._cache import Key
from sklearn_esm._execution._models import resolve_device
from sklearn_esm._execution._outputs import CacheName, Output
from sklearn_esm._execution._pieces import Item
from sklearn_esm._execution._progress import cost_of

# tokens in a forward pass: few enough for the cache of a CPU, many enough to fill a GPU
BATCH_TOKENS = {"cpu": 512, "mps": 8192, "cuda": 32768}


@dataclass(frozen=True)
class Request:
    """What to compute, and everything a worker process needs for it; a few hundred bytes.

    ``model_name`` is a name, which each machine looks up for itself, or an absolute path.
    """

    model_name: str
    fingerprint: str
    output: Output
    device: str | None
    dtype: str
    window_length: int | None
    batch_tokens: int | None
    width: int  # of the model

    def tokens_per_batch(self) -> int:
        return self.batch_tokens or BATCH_TOKENS[self.planned_device().split(":")[0]]

    def planned_device(self) -> str:
        """Return the device that batches are planned for; only the workers may have it."""
        return self.device or resolve_device(None, self.dtype)

    def cost(self, items: Iterable[Item]) -> int:
        """Return what the forward passes of items cost, see `cost_of`."""
        return cost_of(items, self.window_length, self.width)

    def keys(self, name: CacheName, items: Iterable[Item]) -> list[Key]:
        """Return the keys of one column of items in a cache."""
        fingerprint, dtype, (layer, what) = self.fingerprint, self.dtype, name
        window = self.window_length or 0
        return [
            Key(
                fingerprint,
                dtype,
                layer,
                what,
                window if 0 < window < len(sequence) else 0,
                sequence,
                masked,
            )
            for sequence, masked in items
        ]
