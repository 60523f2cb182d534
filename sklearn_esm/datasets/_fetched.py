"""What every ``fetch_*`` does alike: get a published file, whole, into scikit-learn's data home."""

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
    """Return a published file, downloaded if it is not in the data home or not what it should be.

    Parameters
    ----------
    name : str
        What it is called in the folder ``sklearn_esm`` of the data home.
    url, sha256 : str
        Where it is published, and the checksum of its content.
    data_home, download_if_missing, n_retries, delay : object
        As the caller of the ``fetch_*`` function said.

    Returns
    -------
    Path
        A file of that checksum.

    Raises
    ------
    ConnectionError
        If the server cannot be reached, refuses, or breaks off.
    OSError
        If the file is absent or damaged and must not be downloaded, if what arrives is another
        file, or if the folder cannot be written to.
    """
    path = Path(get_data_home(data_home)) / "sklearn_esm" / name
    if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
        return path
    by_hand = f"Or put the file of that address there by hand; its SHA-256 is {sha256}."
    forbidden = _what_forbids(download_if_missing)
    if forbidden is not None:
        state = "is damaged" if path.exists() else "does not exist"
        setting, remedy = forbidden
        raise OSError(f"{path} {state}, and {setting} forbids the download of {url}. {remedy} {by_hand}")
    try:
        path.parent.mkdir(exist_ok=True)
        # the checksum is compared again, before the file gets its name
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
            f"{url} could not be downloaded to {path}: {error}. Try again with a connection. {by_hand}"
        ) from error
    except OSError as error:
        # another file arrived, or the disk did not take it
        raise OSError(
            f"{url} could not be downloaded to {path}: {str(error).rstrip('.')}. Try again, or pass a "
            f"data_home that can be written to. {by_hand}"
        ) from error
    return fetched


def _what_forbids(download_if_missing: bool) -> tuple[str, str] | None:
    """Return the setting that forbids downloads and how to lift it, None if they are allowed."""
    if not download_if_missing:
        return "download_if_missing=False", "Pass True."
    if offline():
        return "SKLEARN_ESM_OFFLINE", "Unset it."
    return None
