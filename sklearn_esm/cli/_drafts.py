"""Write a file under a temporary name, so that it is complete or absent."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_REMEDIES = {
    errno.ENOENT: "Create the folder first",
    errno.ENOSPC: "Free space there",
    errno.EDQUOT: "Free space there",
    errno.EFBIG: "Raise the file size limit",
}


@contextmanager
def draft_of(path: Path, folder: Path | None = None) -> Iterator[Path]:
    """Yield a temporary name in the folder of a file; what was written there gets the file's name.

    If nothing was written, or after an error, the file stays as it was.
    """
    # .part comes last, so that a pattern such as *.npz does not match an unfinished file
    draft = (folder or path.parent) / f"{path.name}.{uuid.uuid4().hex[:8]}.part"
    try:
        yield draft
        if draft.exists():
            with draft.open("r+b") as file:
                os.fsync(file.fileno())  # the content must reach the disk before the name
            os.replace(draft, path)
    except OSError as error:
        # an input that is read meanwhile, or a download, whose message is complete
        is_download = error.errno is None and isinstance(error, (ConnectionError, FileNotFoundError))
        if is_download or error.filename not in (None, str(draft)):
            raise
        reason = error.strerror or str(error)
        remedy = _REMEDIES.get(error.errno or 0, "Check the permissions there")
        raise OSError(
            error.errno, f"{path} cannot be written: {reason}. {remedy}, or pass another file to -o."
        ) from error
    finally:
        with suppress(OSError):
            draft.unlink()
