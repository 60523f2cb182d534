"""Read the package's data files, and return arrays or pandas objects, for all loaders."""

from __future__ import annotations

import csv
from importlib import resources
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from sklearn_esm._optional_dependencies import import_extra

DATA = resources.files("sklearn_esm.datasets") / "data"


def bundled_rows(name: str) -> list[dict[str, str]]:
    """Return the rows of a table in the package as dicts."""
    return list(csv.DictReader((DATA / name).read_text(encoding="utf-8").splitlines()))


def handed_out(
    loader: str,
    sequences: np.ndarray,
    target: np.ndarray,
    more_columns: dict[str, np.ndarray],
    *,
    return_X_y: bool,
    as_frame: bool,
    description: str,
    **attributes: Any,
) -> Bunch | tuple[Any, Any]:
    """Return a data set as a Bunch, a tuple, arrays or pandas objects.

    Parameters
    ----------
    loader : str
        Name of the loader, for the error if pandas is missing.
    sequences, target : ndarray of shape (n_samples,)
        Content of ``data`` and ``target``, and the first two columns of the frame.
    more_columns : dict of str to ndarray of shape (n_samples,)
        Other columns of the frame.
    return_X_y, as_frame : bool
        Parameters of the loader.
    description : str
        File in the package with the text of ``DESCR``.
    **attributes : object
        Other attributes of the Bunch.

    Returns
    -------
    Bunch or tuple
        ``(data, target)`` if `return_X_y`.
    """
    data: Any = sequences
    frame = None
    if as_frame:
        pd = import_extra("pandas", of=f"{loader}(as_frame=True)", extra="pandas")
        frame = pd.DataFrame({"sequence": sequences, "target": target} | more_columns)
        data, target = frame[["sequence"]], frame["target"]
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        target=target,
        feature_names=["sequence"],
        frame=frame,
        DESCR=(DATA / description).read_text(encoding="utf-8"),
        **attributes,
    )
