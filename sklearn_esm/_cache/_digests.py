"""Digests of keys, by which a folder cache finds vectors, and checksums of what it finds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b

from sklearn_esm._cache._interface import Key

_DIGEST_BYTES = 32


def digests_of(keys: Iterable[Key]) -> list[bytes]:
    """Return a digest of each key, without its fingerprint, which is in the name of the database."""
    digests = []
    settings: tuple[object, ...] | None = None
    start = ""
    for _, dtype, layer, pooling, window, sequence, masked in keys:
        if settings != (dtype, layer, pooling, window):  # equal for most consecutive keys
            settings = (dtype, layer, pooling, window)
            start = f"{dtype} {layer} {pooling} {window} "
        text = f"{start}{sequence} {masked}" if masked else start + sequence
        digests.append(blake2b(text.encode(), digest_size=_DIGEST_BYTES).digest())
    return digests


def numbers_of(digests: Sequence[bytes]) -> list[int]:
    """Return the first eight bytes of each digest as an integer, by which a database finds its row.

    Two digests may have the same number. Then the checksum of a row is wrong for one of the two.
    """
    return memoryview(b"".join(digests)).cast("q")[:: _DIGEST_BYTES // 8].tolist()


def checksum_of(digest: bytes, vector: bytes) -> bytes:
    """Return a checksum of a vector under its whole digest."""
    return blake2b(digest + vector, digest_size=16).digest()
