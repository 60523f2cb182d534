"""The model that a request needs, whose checkpoint is identified once and then watched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sklearn_esm._checkpoints._fingerprint import Identity, Watch, watch
from sklearn_esm._checkpoints._identity import identify_weights
from sklearn_esm._checkpoints._locate import find_checkpoint
from sklearn_esm._execution._models import loaded_model, resolve_device
from sklearn_esm._execution._request import Request

if TYPE_CHECKING:
    from sklearn_esm._engine import PackedModel


class RequestedModel:
    """The model of a request, for all its batches in this process.

    Parameters
    ----------
    request : Request
        Names the checkpoint, and has its fingerprint.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self._watched: tuple[Watch, PackedModel] | None = None

    def load(self) -> PackedModel:
        """Return the loaded model. Its checkpoint is downloaded if needed.

        Raises
        ------
        ValueError
            If its weights are not those that the request was made for. They must not be cached for it.
        """
        watched = self._watched  # read once, because another thread may replace it
        if watched is not None:
            return watched[1]
        request = self.request
        identity = self._identify()
        model = loaded_model(identity, resolve_device(request.device, request.dtype), request.dtype)
        watching = watch(find_checkpoint(request.model_name), identity)
        if watching is not None:
            self._watched = watching, model
        return model

    def check(self) -> None:
        """Raise ValueError if the weights are no longer those of the request.

        Files that are as they were when they were identified are not read again.
        """
        watched = self._watched
        if watched is None or not watched[0].is_unchanged():
            self._watched = None
            self._identify()

    def _identify(self) -> Identity:
        fingerprint, identity = identify_weights(self.request.model_name)
        if fingerprint != self.request.fingerprint:
            raise ValueError(
                f"The weights at {identity.path} must be those with which this run began; got others. "
                "Fit again, or restore the file. On several machines, give each the same file."
            )
        return identity
