"""The best rows of a stream of candidates, from which `suggest` chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import check_random_state

from sklearn_esm._optional_dependencies import import_extra
from sklearn_esm.cli._candidates import Column, check_new_columns, rows_of
from sklearn_esm.cli._pool import digest
from sklearn_esm.recipes._acquisition import ranked, scores_of
from sklearn_esm.recipes._suggest import (
    chosen,
    features_of,
    incumbent,
    moments,
    returns_std,
    shortlist_size,
)

if TYPE_CHECKING:
    import pandas as pd


class Shortlist:
    """The rows that a choice of ``n`` candidates depends on, whatever the number of candidates.

    The parameters are those of `suggest_candidates`.
    """

    def __init__(
        self,
        pipeline: Any,
        column: Column,
        *,
        n: int,
        strategy: str,
        best: float | None,
        beta: float,
        maximize: bool,
        diverse: bool,
    ) -> None:
        self._pipeline, self._column = pipeline, column
        self._n, self._strategy, self._beta = n, strategy, beta
        self._maximize, self._diverse = maximize, diverse
        self._best = None
        if strategy == "expected-improvement":
            self._best = incumbent(pipeline, best, maximize=maximize)
        self._size = shortlist_size(strategy, n, diverse=diverse)
        self._new = ["prediction", *(["std"] if returns_std(pipeline) else []), "score", "rank"]
        self._frame: pd.DataFrame | None = None
        self._sequences: list[str] = []
        self._moments = np.empty((0, 3))  # (rows, mean and std and score)

    def add(self, frame: pd.DataFrame, source: str, excluded: set[str]) -> None:
        """Predict a block, and keep its rows that are among the best so far.

        Rows are left out if the digest of their sequence is excluded, or if an earlier row has the
        sequence.
        """
        check_new_columns(frame, self._new, source)
        sequences = self._column.of(frame).sequences(frame, source)
        if self._frame is None:
            self._frame = frame[:0]
        first = dict.fromkeys(self._sequences, -1)
        for row, sequence in enumerate(sequences):
            if digest(sequence) not in excluded:
                first.setdefault(_text(sequence), row)
        rows = [row for row in first.values() if row >= 0]
        if not rows:
            return
        frame, sequences = frame.iloc[rows], [sequences[row] for row in rows]
        with rows_of(frame, source):
            features = features_of(self._pipeline, sequences)
        mean, std = moments(self._pipeline, features, maximize=self._maximize)
        scores = scores_of(self._strategy, mean, std, best=self._best, beta=self._beta)
        new = np.column_stack([mean, np.full(len(mean), np.nan) if std is None else std, scores])
        self._keep(frame, list(map(_text, sequences)), new)

    def choice(self, seed: int) -> pd.DataFrame:
        """Return the chosen rows, best first, with the columns of predictions."""
        if self._frame is None or not len(self._frame):
            frame = self._frame if self._frame is not None else _pandas().DataFrame()
            return frame.assign(**dict.fromkeys(self._new, np.empty(0)))
        features = features_of(self._pipeline, self._sequences)
        order, scores = chosen(
            self._pipeline,
            features,
            self._moments[:, 2],
            min(self._n, len(self._sequences)),
            self._strategy,
            diverse=self._diverse,
            random=check_random_state(seed),
            maximize=self._maximize,
        )
        mean, std, _ = self._moments[order].T
        columns = {
            "prediction": mean if self._maximize else -mean,
            "std": std,
            "score": scores,
            "rank": np.arange(1, len(order) + 1),
        }
        return self._frame.iloc[order].assign(**{name: columns[name] for name in self._new})

    def _keep(self, frame: pd.DataFrame, sequences: list[str], new: np.ndarray) -> None:
        assert self._frame is not None
        if len(self._frame):
            frame = _pandas().concat([self._frame, frame])
        sequences = self._sequences + sequences
        self._moments = np.concatenate([self._moments, new])
        order = ranked(self._moments[:, 2], self._moments[:, 0])[: self._size]
        self._frame = frame.iloc[order]
        self._sequences = [sequences[row] for row in order]
        self._moments = self._moments[order]


def _text(sequence: Any) -> str:
    return str(sequence).strip().upper()


def _pandas() -> Any:
    return import_extra("pandas", of="A table", extra="train")
