"""Find a published checkpoint in torch hub's folder, or download it.

fair-esm uses the same folder and file names.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from filelock import FileLock, Timeout
from tqdm import tqdm

from sklearn_esm._checkpoints._catalog import published_model
from sklearn_esm._checkpoints._partial_download import OtherFileError, Part, disk_errors_explained

FAIR_ESM_URL = "https://dl.fbaipublicfiles.com/fair-esm"

_ATTEMPTS = 3
_PAUSE = 1.0  # seconds between two attempts
_TIMEOUT = 60.0  # seconds
_CHUNK = 64 * 1024
_TEXT = re.compile(r"text/.*|application/(.*\+)?(json|xml)")


def offline() -> bool:
    """Return whether ``SKLEARN_ESM_OFFLINE`` forbids downloads of checkpoints and data sets."""
    return os.environ.get("SKLEARN_ESM_OFFLINE", "").strip().lower() in ("1", "true", "yes")


def checkpoint_folder() -> Path:
    """Return torch hub's folder of checkpoints, without importing torch.

    Returns
    -------
    Path
        ``hub/checkpoints`` below ``$TORCH_HOME``, else below ``$XDG_CACHE_HOME/torch``, else below
        ``~/.cache/torch``. If torch is already imported, the result follows ``torch.hub.set_dir``.
    """
    torch_hub = sys.modules.get("torch.hub")
    if torch_hub is not None:
        return Path(torch_hub.get_dir()) / "checkpoints"
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME", os.path.join(cache, "torch"))
    return Path(home).expanduser() / "hub" / "checkpoints"


def checkpoint_url(name: str) -> str:
    """Return the URL of a published checkpoint.

    Parameters
    ----------
    name : str
        A published model's name or alias.

    Returns
    -------
    str
        URL below ``$SKLEARN_ESM_MIRROR`` if it is set, else on Meta's server.
    """
    return _url("models", f"{published_model(name).name}.pt")


def checkpoint_file(name: str) -> Path:
    """Return the file of a published checkpoint, and download it if it is missing.

    Parameters
    ----------
    name : str
        A published model's name or alias.

    Returns
    -------
    Path
        Complete file. An unfinished download has another name, and the next call resumes it.

    Raises
    ------
    FileNotFoundError
        If the file is missing and ``SKLEARN_ESM_OFFLINE=1`` is set, or the server does not have it.
    ConnectionError
        If the server cannot be reached, returns an error, or closes the connection repeatedly.
    OSError
        If the disk is full or the folder is not writable.

    Notes
    -----
    Only the length and the first bytes are checked, because Meta publishes no checksums.
    """
    return _file("models", f"{published_model(name).name}.pt")


def regression_file(name: str) -> Path:
    """Return the file of a published model's contact regression, and download it if it is missing."""
    return _file("regression", f"{published_model(name).name}-contact-regression.pt")


def _url(folder: str, name: str) -> str:
    base = os.environ.get("SKLEARN_ESM_MIRROR") or FAIR_ESM_URL
    address = urlsplit(base)
    if address.scheme not in ("http", "https") or not address.netloc:
        raise ValueError(
            f"SKLEARN_ESM_MIRROR must be an http:// or https:// URL; got {base!r}. "
            f"Copy files that are already on this machine to {checkpoint_folder()}."
        )
    return f"{base.rstrip('/')}/{folder}/{name}"


def _file(folder: str, name: str) -> Path:
    path = checkpoint_folder() / name
    if path.is_file():
        return path
    url = _url(folder, name)
    if offline():
        raise FileNotFoundError(
            f"{path} does not exist and SKLEARN_ESM_OFFLINE forbids the download of {url}. "
            "Unset SKLEARN_ESM_OFFLINE, or copy the file there."
        )
    with _locked(path):
        if not path.is_file():  # another process may have downloaded it while this one waited
            _fetch(url, path)
    return path


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the download lock of `path`. The lock file stays, because deleting it would be a race."""
    lock = FileLock(f"{path}.lock")
    with disk_errors_explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=1)
        except Timeout:
            tqdm.write(f"Waiting for another process to download {path}.", file=sys.stderr)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _fetch(url: str, path: Path) -> None:
    part = Part(url, path)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            _receive(part)
            with disk_errors_explained(path):
                part.finish()
            return
        except _BrokenError as broken:
            if attempt == _ATTEMPTS or not broken.received:
                raise ConnectionError(
                    f"The download of {url} failed: {broken}. {part.kept()} {part.remedy()}"
                ) from broken
        except OtherFileError as other:
            part.begin(None)
            raise ConnectionError(
                f"{url} must send a PyTorch file; got {other}. {part.kept()} {part.remedy()}"
            ) from other
        time.sleep(_PAUSE)


class _BrokenError(Exception):
    """A network failure, with the number of bytes that this attempt received."""

    def __init__(self, reason: str, received: int = 0) -> None:
        super().__init__(reason)
        self.received = received


def _receive(part: Part) -> None:
    """Download the missing bytes, or the whole file if the server cannot resume."""
    response, start, total = _request(part)
    with response, disk_errors_explained(part.target, total):
        if start == 0:
            part.begin(_version(response.headers))
        if shutil.disk_usage(part.path.parent).free < total - start:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with (
            part.path.open("ab") as file,
            tqdm(
                total=total,
                initial=start,
                desc=part.target.name,
                unit="B",
                unit_scale=True,
                file=sys.stderr,
            ) as bar,
        ):
            position = start
            while position < total:
                chunk = _read(response, position, start, total)
                file.write(chunk)
                if position == start:  # fail before gigabytes of a wrong file are downloaded
                    file.flush()
                    part.check_beginning()
                position += len(chunk)
                bar.update(len(chunk))
            file.flush()
            os.fsync(file.fileno())  # the bytes must reach the disk before the new name does


def _request(part: Part) -> tuple[HTTPResponse, int, int]:
    """Return the response, the offset of its first byte in the file, and the file's size."""
    version, size = part.version, part.size
    if version is not None:
        response = _open(part, {"Range": f"bytes={size}-", "If-Range": version})
        if response is not None:
            if response.status == 200:
                return response, 0, _length(response, part)
            total = _total_if_continued(response, size, version)
            if total is not None:
                return response, size, total
            response.close()
    response = _open(part, {})
    assert response is not None
    return response, 0, _length(response, part)


def _open(part: Part, headers: dict[str, str]) -> HTTPResponse | None:
    """Send the request; return None if the server has no bytes in the requested range."""
    request = Request(part.url, headers={"User-Agent": "sklearn-esm", **headers})
    try:
        response: HTTPResponse = urlopen(request, timeout=_TIMEOUT)
    except HTTPError as error:
        error.close()
        if error.code == 416 and "Range" in headers:
            return None
        message = f"{part.url} answered HTTP {error.code} ({error.reason}). "
        if error.code == 404:
            raise FileNotFoundError(message + part.remedy()) from error
        raise ConnectionError(f"{message}{part.kept()} {part.remedy()}") from error
    except URLError as error:
        raise _BrokenError(f"no connection ({error.reason})") from error
    except (OSError, HTTPException) as error:
        raise _BrokenError(f"no answer ({error!r})") from error
    return response


def _read(response: HTTPResponse, position: int, start: int, total: int) -> bytes:
    try:
        chunk = response.read(min(_CHUNK, total - position))
    except (OSError, HTTPException) as error:
        reason = f"the connection broke after {position} of {total} bytes ({error!r})"
        raise _BrokenError(reason, position - start) from error
    if not chunk:
        reason = f"the server closed the connection after {position} of {total} bytes"
        raise _BrokenError(reason, position - start)
    return chunk


def _length(response: HTTPResponse, part: Part) -> int:
    """Return the size of the whole file in a response."""
    length = response.headers.get("Content-Length", "")
    kind = response.headers.get_content_type()
    # login portals answer every request with status 200 and an HTML page
    is_text = "Content-Type" in response.headers and _TEXT.fullmatch(kind)
    if response.status == 200 and length.isdecimal() and int(length) and not is_text:
        return int(length)
    response.close()
    raise ConnectionError(
        f"{part.url} must send a file of known length; got HTTP {response.status}, content type {kind}, "
        f"length {length or 'not given'}. {part.remedy()}"
    )


def _total_if_continued(response: HTTPResponse, size: int, version: str) -> int | None:
    """Return the file's size if the response continues it at `size`, else None."""
    span = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
    if span is None or int(span[1]) != size:
        return None
    # some servers ignore If-Range
    return int(span[2]) if _version(response.headers) in (version, None) else None


def _version(headers: Message) -> str | None:
    """Return a value for If-Range: a strong ETag, else the date."""
    tag: str | None = headers.get("ETag")
    if tag is not None and not tag.startswith("W/"):
        return tag
    return headers.get("Last-Modified")
