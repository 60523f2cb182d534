"""Find a published checkpoint in torch hub's folder, or fetch it there.

A file that fair-esm downloaded is found here, and the other way round.
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
_TIMEOUT = 60.0  # seconds without a byte
_CHUNK = 64 * 1024
_TEXT = re.compile(r"text/.*|application/(.*\+)?(json|xml)")


def offline() -> bool:
    """Return whether ``SKLEARN_ESM_OFFLINE`` forbids downloads, of data sets as well."""
    return os.environ.get("SKLEARN_ESM_OFFLINE", "").strip().lower() in ("1", "true", "yes")


def checkpoint_folder() -> Path:
    """Return the folder of torch hub where fair-esm keeps its checkpoints, without loading torch.

    Returns
    -------
    Path
        ``hub/checkpoints`` below ``$TORCH_HOME``, else below ``$XDG_CACHE_HOME/torch``, else below
        ``~/.cache/torch``. Where torch is loaded already, ``torch.hub.set_dir`` is honoured.
    """
    torch_hub = sys.modules.get("torch.hub")
    if torch_hub is not None:
        return Path(torch_hub.get_dir()) / "checkpoints"
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME", os.path.join(cache, "torch"))
    return Path(home).expanduser() / "hub" / "checkpoints"


def checkpoint_url(name: str) -> str:
    """Return the address of a published checkpoint.

    Parameters
    ----------
    name : str
        A published model's name or alias.

    Returns
    -------
    str
        Below ``$SKLEARN_ESM_MIRROR`` if that is set, else below Meta's server.
    """
    return _url("models", f"{published_model(name).name}.pt")


def checkpoint_file(name: str) -> Path:
    """Return the file of a published checkpoint, downloaded if it is not there yet.

    Parameters
    ----------
    name : str
        A published model's name or alias.

    Returns
    -------
    Path
        A whole file: an unfinished download lies beside it under another name, and the next call
        goes on from there.

    Raises
    ------
    FileNotFoundError
        If the file is absent and ``SKLEARN_ESM_OFFLINE=1`` is set, or the server has no such file.
    ConnectionError
        If the server cannot be reached, refuses, or breaks off several times.
    OSError
        If the disk is full or the folder cannot be written to.

    Notes
    -----
    The length and the first bytes are checked, the rest is not: Meta publishes no checksums.
    """
    return _file("models", f"{published_model(name).name}.pt")


def regression_file(name: str) -> Path:
    """Return the file of a published model's contact regression, downloaded like its weights."""
    return _file("regression", f"{published_model(name).name}-contact-regression.pt")


def _url(folder: str, name: str) -> str:
    base = os.environ.get("SKLEARN_ESM_MIRROR") or FAIR_ESM_URL
    address = urlsplit(base)
    if address.scheme not in ("http", "https") or not address.netloc:
        raise ValueError(
            f"SKLEARN_ESM_MIRROR is {base!r}, but only http:// and https:// addresses are allowed. "
            f"Files that are on this machine already belong in {checkpoint_folder()}."
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
            "Unset it, or copy the file there by hand."
        )
    with _locked(path):
        if not path.is_file():  # another process may have fetched it while this one waited
            _fetch(url, path)
    return path


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time fetch `path`; the lock file stays, to remove it would be a race."""
    lock = FileLock(f"{path}.lock")
    with disk_errors_explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=1)
        except Timeout:
            tqdm.write(f"Another process is downloading {path}; waiting for it.", file=sys.stderr)
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
                    f"The download of {url} failed: {broken}. {part.kept()} {part.way_out()}"
                ) from broken
        except OtherFileError as other:
            part.begin(None)
            raise ConnectionError(
                f"{url} sent {other}, which is no PyTorch file. {part.kept()} {part.way_out()}"
            ) from other
        time.sleep(_PAUSE)


class _BrokenError(Exception):
    """The network failed, after so many bytes of this attempt."""

    def __init__(self, reason: str, received: int = 0) -> None:
        super().__init__(reason)
        self.received = received


def _receive(part: Part) -> None:
    """Get what is missing of the file, or all of it where the rest cannot be had."""
    response, start, total = _ask(part)
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
                if position == start:  # no need for gigabytes of another file
                    file.flush()
                    part.check_beginning()
                position += len(chunk)
                bar.update(len(chunk))
            file.flush()
            os.fsync(file.fileno())  # the name must not reach the disk before the bytes do


def _ask(part: Part) -> tuple[HTTPResponse, int, int]:
    """Return the response, the position in the file where its bytes begin, and the file's size."""
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
    """Send the request; None where the server has no bytes in the range asked for."""
    request = Request(part.url, headers={"User-Agent": "sklearn-esm", **headers})
    try:
        response: HTTPResponse = urlopen(request, timeout=_TIMEOUT)
    except HTTPError as error:
        error.close()
        if error.code == 416 and "Range" in headers:
            return None
        message = f"{part.url} answered HTTP {error.code} ({error.reason}). "
        if error.code == 404:
            raise FileNotFoundError(message + part.way_out()) from error
        raise ConnectionError(f"{message}{part.kept()} {part.way_out()}") from error
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
    """Return the size of the whole file that is about to arrive."""
    length = response.headers.get("Content-Length", "")
    kind = response.headers.get_content_type()
    # a page or an error with status 200 is how log-in portals answer whatever is asked
    is_text = "Content-Type" in response.headers and _TEXT.fullmatch(kind)
    if response.status == 200 and length.isdecimal() and int(length) and not is_text:
        return int(length)
    response.close()
    raise ConnectionError(
        f"{part.url} answered HTTP {response.status} with content type {kind} and length "
        f"{length or 'not given'}, which is no checkpoint of known length. {part.way_out()}"
    )


def _total_if_continued(response: HTTPResponse, size: int, version: str) -> int | None:
    """Return the file's size if the response continues it at `size`, None if it does not."""
    span = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
    if span is None or int(span[1]) != size:
        return None
    # not every server heeds If-Range
    return int(span[2]) if _version(response.headers) in (version, None) else None


def _version(headers: Message) -> str | None:
    """Return what If-Range may carry: a strong ETag, else the date."""
    tag: str | None = headers.get("ETag")
    if tag is not None and not tag.startswith("W/"):
        return tag
    return headers.get("Last-Modified")
