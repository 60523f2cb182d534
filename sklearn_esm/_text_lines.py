"""Read text files, plain or compressed with gzip, in blocks with one kind of line ending."""

from __future__ import annotations

import gzip
import io
import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from sklearn_esm._optional_dependencies import import_extra
from sklearn_esm._sequences import shorten

_GZIP = b"\x1f\x8b"
_OTHER_FORMATS = {
    b"BZh": "got bzip2 data. Decompress the file first; gzip is read directly.",
    b"\xfd7zXZ\0": "got xz data. Decompress the file first; gzip is read directly.",
    b"\x28\xb5\x2f\xfd": "got zstd data. Decompress the file first; gzip is read directly.",
    b"PK\x03\x04": "got a zip archive. Unpack it first; gzip is read directly.",
    b"\xff\xfe": "got UTF-16 text. Save it as UTF-8.",
    b"\xfe\xff": "got UTF-16 text. Save it as UTF-8.",
}
_LONGEST_MAGIC = max(map(len, _OTHER_FORMATS))
_BOM = "\ufeff".encode()
_MARKED = b"\n" + _BOM
# bytes read at a time: damaged gzip data are reported after the lines of the blocks before
_BLOCK = 2**14


@contextmanager
def opened(path: str | os.PathLike[str] | IO[Any]) -> Iterator[tuple[str, IO[Any]]]:
    """Yield the file's name for messages and the file, which is closed only if it was opened here."""
    if not isinstance(path, (str, os.PathLike)):
        if not hasattr(path, "read"):
            raise TypeError(
                "path must be a path, an open file, or '-' for standard input; got "
                f"{shorten(repr(path), 40)}."
            )
        yield str(getattr(path, "name", "The open file")), path
    elif os.fspath(path) == "-":
        yield "Standard input", getattr(sys.stdin, "buffer", sys.stdin)
    elif "://" in os.fspath(path):
        fsspec = import_extra("fsspec", of=f"The address {path}", extra="dask")
        with fsspec.open(os.fspath(path), "rb") as file:
            yield os.fspath(path), file
    else:
        with open(os.path.expanduser(path), "rb") as file:
            yield os.fspath(path), file


def lines_of(file: IO[Any], source: str) -> Iterator[bytes]:
    r"""Yield the text of a file in blocks, with a newline before each line instead of after it.

    A newline, a byte-order mark and the first character of a line are always in the same block.
    Byte-order marks at the start of a line are removed, because files may have been concatenated.

    Raises
    ------
    ValueError
        If the file has another format, or is damaged gzip data.

    Examples
    --------
    >>> b"".join(lines_of(io.BytesIO(b"one\r\ntwo\n"), "file"))
    b'\none\ntwo'
    """
    held = b"\n"  # what may belong together with the start of the next block
    block, lines = b"", 0
    try:
        for block in _blocks(file, source):
            text = held + block
            held = b"\r" if text.endswith(b"\r") else b""  # a newline may follow
            text = text.removesuffix(b"\r")
            if b"\r" in text:
                text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            last = text.rfind(b"\n")
            if last >= 0 and len(text) - last <= len(_BOM) + 1:
                text, held = text[:last], text[last:] + held
            text = text.replace(_MARKED, b"\n")
            lines += text.count(b"\n")
            if text:
                yield text
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"{source} must be intact gzip data; got damaged or truncated data after line "
            f"{lines:,} ({error}). Copy the file again."
        ) from error
    rest = held.replace(b"\r", b"").replace(_MARKED, b"\n")
    if rest != b"\n" or (block and not lines):
        yield rest


def _blocks(file: IO[Any], source: str) -> Iterator[bytes]:
    """Yield the bytes of a file, decompressed; those of a file in text mode are encoded again."""
    try:
        head = file.read(_LONGEST_MAGIC)
        if isinstance(head, str):
            while head:
                yield head.encode("utf-8", "surrogatepass")
                head = file.read(_BLOCK)
            return
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{source} must be text in {error.encoding}; got other bytes. Open it in mode 'rb'."
        ) from error
    while len(head) < _LONGEST_MAGIC and (more := file.read(_LONGEST_MAGIC - len(head))):
        head += more  # an unbuffered pipe can return fewer bytes
    for magic, what in _OTHER_FORMATS.items():
        if head.startswith(magic):
            raise ValueError(f"{source} must be plain or gzip FASTA text; {what}")
    if head.startswith(_GZIP):
        whole = io.BufferedReader(_Rejoined(head, file))
        file, head = gzip.GzipFile(fileobj=whole), b""  # type: ignore[assignment]
    if head:
        yield head
    while block := file.read(_BLOCK):
        yield block


class _Rejoined(io.RawIOBase):
    """A file whose first bytes were already read, because a pipe cannot seek back."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._head[: len(buffer)] or self._rest.read(len(buffer))
        self._head = self._head[len(data) :]
        buffer[: len(data)] = data
        return len(data)
