"""Download published files into scikit-learn's data home, for every ``fetch_*`` function."""

from __future__ import annotations

import hashlib
import os
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError

from sklearn.datasets import fetch_file, get_data_home

from sklearn_esm._checkpoints._download import offline


def fetched_file(
    name: str,
    url: str,
    sha256: str,
    *,
    data_home: str | os.PathLike[str] | None,
    download_if_missing: bool,
    n_retries: int,
    delay: float,
) -> Path:
    """Return a published file, and download it if it is missing or damaged.

    Parameters
    ----------
    name : str
        Name in the folder ``sklearn_esm`` of the data home.
    url, sha256 : str
        URL and checksum of the file.
    data_home, download_if_missing, n_retries, delay : object
        Parameters of the ``fetch_*`` function.

    Returns
    -------
    Path
        File with that checksum.

    Raises
    ------
    ConnectionError
        If the server cannot be reached, returns an error, or closes the connection.
    OSError
        If the file is missing or damaged and downloads are forbidden, if the downloaded file has
        another checksum, or if the folder is not writable.
    """
    path = Path(get_data_home(data_home)) / "sklearn_esm" / name
    if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
        return path
    or_copy = f"Or copy the file of this URL there; its SHA-256 must be {sha256}."
    forbidden = _what_forbids(download_if_missing)
    if forbidden is not None:
        state = "is damaged" if path.exists() else "does not exist"
        setting, remedy = forbidden
        raise OSError(f"{path} {state}, and {setting} forbids the download of {url}. {remedy} {or_copy}")
    try:
        path.parent.mkdir(exist_ok=True)
        # fetch_file compares the checksum before it renames the file
        fetched: Path = fetch_file(
            url,
            folder=path.parent,
            local_filename=path.name,
            sha256=sha256,
            n_retries=n_retries,
            delay=delay,
        )
    except (URLError, HTTPException, ConnectionError, TimeoutError) as error:
        raise ConnectionError(
            f"{url} could not be downloaded to {path}: {error}. Check the network and try "
            f"again. {or_copy}"
        ) from error
    except OSError as error:
        # wrong checksum, or a disk error
        raise OSError(
            f"{url} could not be downloaded to {path}: {str(error).rstrip('.')}. Try again, or pass a "
            f"writable data_home. {or_copy}"
        ) from error
    return fetched


def _what_forbids(download_if_missing: bool) -> tuple[str, str] | None:
    """Return the setting that forbids downloads and its fix, or None if they are allowed."""
    if not download_if_missing:
        return "download_if_missing=False", "Pass True."
    if offline():
        return "SKLEARN_ESM_OFFLINE", "Unset it."
    return None
