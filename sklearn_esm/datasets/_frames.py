"""What all loaders do alike: read the package's files, and hand out arrays or pandas objects."""

from __future__ import annotations

import csv
from importlib import resources
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from sklearn_esm._optional_dependencies import import_extra

DATA = resources.files("sklearn_esm.datasets") / "data"


def bundled_rows(name: str) -> list[dict[str, str]]:
    """Read a table of the package, a dict for each row."""
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
    """Return a dataset in the form that the caller of a loader asked for.

    Parameters
    ----------
    loader : str
        Its name, for the error where pandas is missing.
    sequences, target : ndarray of shape (n_samples,)
        What becomes ``data`` and ``target``, and the first two columns of the frame.
    more_columns : dict of str to ndarray of shape (n_samples,)
        The other columns of the frame.
    return_X_y, as_frame : bool
        As the loader's caller said.
    description : str
        The file of the package that becomes ``DESCR``.
    **attributes : object
        What else the Bunch carries.

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
