"""Check that a PyTorch file claims no more bytes than it has, before torch allocates memory.

torch allocates as many bytes as the pickles in a file claim. This module walks the pickles without
building objects, and rejects files with false claims.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import pickletools
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

# first bytes: a zip archive since torch 1.6, a series of pickles before
ARCHIVE, PICKLE = b"PK\x03\x04", b"\x80"
_FIRST_PICKLE = 0x1950A86A20F9469CFC6C

# weights hardly compress, so a file that unpacks to more than 100 times its size is an attack
_MOST_UNPACKED = 100

_LONGEST_NAME = 4096

_ITEM_SIZES = {
    **dict.fromkeys(("Untyped", "Byte", "Char", "Bool", "QInt8", "QUInt8", "QUInt4x2", "QUInt2x4"), 1),
    **dict.fromkeys(("Half", "BFloat16", "Short"), 2),
    **dict.fromkeys(("Float", "Int", "QInt32"), 4),
    **dict.fromkeys(("Double", "Long", "ComplexFloat"), 8),
    "ComplexDouble": 16,
}

# opcodes of numbers and strings
_VALUES = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING"}

# calls that allocate no more than their arguments; torch has its own list of allowed calls
_REBUILDS = ("tensor", "tensor_v2", "tensor_v3", "qtensor", "sparse_tensor", "meta_tensor_no_storage")
_CALLABLE = {
    "_codecs.encode",
    "argparse.Namespace",
    "collections.Counter",
    "collections.OrderedDict",
    "torch.Size",
    "torch.device",
    "torch.nn.parameter.Parameter",
    "torch.serialization._get_layout",
    *(f"{module}.{name}" for module in ("builtins", "__builtin__") for name in ("complex", "set")),
    *(f"torch._utils._rebuild_{kind}" for kind in (*_REBUILDS, "parameter", "parameter_with_state")),
}


def check_claims(path: Path) -> bool:
    """Check that a PyTorch file claims no more bytes than it has.

    Returns
    -------
    bool
        Whether the file can be memory-mapped: an archive without compressed records.

    Raises
    ------
    UnpicklingError
        If a pickle makes a call that plain data do not need.
    Exception
        If the file is damaged or claims more than it has; the type depends on the damage.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        beginning = file.read(len(ARCHIVE))
        if beginning == ARCHIVE:
            return _check_archive(file, size)
        if not beginning.startswith(PICKLE):
            raise ValueError("its first bytes are not those of a PyTorch file")
        file.seek(0)
        _check_pickles(file, size)
    return False


def _check_archive(file: IO[bytes], size: int) -> bool:
    with zipfile.ZipFile(file) as archive:
        records = archive.infolist()
        sizes = {record.filename: record.file_size for record in records}
        if len({name.lower() for name in sizes}) < len(records):  # torch ignores case
            raise ValueError("two of its records have the same name")
        stored = all(record.compress_type == zipfile.ZIP_STORED for record in records)
        claimed = sum(sizes.values())
        if claimed > size * (1 if stored else _MOST_UNPACKED):
            raise ValueError(f"its records claim {claimed:,} bytes, but the file has {size:,}")
        folder = records[0].filename.partition("/")[0] if records else ""
        if f"{folder}/data.pkl" not in sizes:
            raise ValueError("a zip archive without data.pkl")
        _, storages = _walk(io.BytesIO(archive.read(f"{folder}/data.pkl")))
    for key, storage in storages.items():
        held = sizes.get(f"{folder}/data/{key}", 0)
        if storage.bytes > held:
            raise ValueError(f"a tensor claims {storage.bytes:,} bytes, but its record has {held:,}")
    return stored


def _check_pickles(file: IO[bytes], size: int) -> None:
    stream = _Clamped(file, size)
    if _walk(stream)[0] != _FIRST_PICKLE:
        raise ValueError("its first bytes are not those of a PyTorch file")
    for _ in ("version of the format", "byte order and sizes of integers"):
        _walk(stream)
    _, storages = _walk(stream)
    keys, _ = _walk(stream)
    if not set(storages) <= set(keys):
        raise ValueError("some of its storages are missing")
    claimed = sum(8 + storages[key].bytes for key in keys)  # 8 bytes for the length of each
    left = size - file.tell()
    if claimed > left:
        raise ValueError(f"its tensors claim {claimed:,} bytes, but the file has {left:,} left")


class _Clamped:
    """A file whose reads never go past its end, whatever size a pickle claims."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._size = file, size

    def read(self, number: int) -> bytes:
        return self._file.read(min(number, self._size - self._file.tell()))

    def readline(self) -> bytes:
        return self._file.readline(_LONGEST_NAME)


def _walk(stream: IO[bytes] | _Clamped) -> tuple[Any, dict[str, _Storage]]:
    """Return the plain part of the next pickle's value, and its storages by key."""
    walk = _Walk()
    for opcode, argument, _ in pickletools.genops(stream):  # type: ignore[arg-type]
        walk.step(opcode.name, argument)
    return walk.stack.pop(), walk.storages


@dataclass(frozen=True)
class _Global:
    """A class or function named by a pickle."""

    name: str


@dataclass(frozen=True)
class _Storage:
    """The numbers behind a tensor."""

    bytes: int
    item_size: int


class _Walk:
    """A stack machine for the opcodes of torch's weights-only reader that builds no objects.

    Claims consist of numbers, strings, tuples and lists, so these are kept. Everything else is None.
    """

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.storages: dict[str, _Storage] = {}
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def step(self, opcode: str, argument: Any) -> None:
        """Apply an opcode to the stack, and check its claims."""
        match opcode:
            case name if name in _VALUES:
                self.stack.append(argument)
            case "NONE" | "NEWTRUE" | "NEWFALSE" | "EMPTY_DICT" | "EMPTY_SET":
                self.stack.append(None)
            case "EMPTY_LIST":
                self.stack.append([])
            case "EMPTY_TUPLE":
                self.stack.append(())
            case "GLOBAL":
                self.stack.append(_Global(argument.replace(" ", ".", 1)))
            case "MARK":
                self._below.append(self.stack)
                self.stack = []
            case "TUPLE":
                items = self._to_mark()  # replaces self.stack
                self.stack.append(tuple(items))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                number = int(opcode[-1])
                self.stack[-number:] = [tuple(self.stack[-number:])]
            case "APPEND":
                item = self.stack.pop()
                self.stack[-1].append(item)
            case "APPENDS":
                items = self._to_mark()
                self.stack[-1].extend(items)
            case "SETITEM":
                del self.stack[-2:]
            case "SETITEMS":
                self._to_mark()
            case "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = self.stack[-1]
            case "BINGET" | "LONG_BINGET":
                self.stack.append(self._memo[argument])
            case "BINPERSID":
                self.stack.append(self._claim(*self.stack.pop()))
            case "REDUCE" | "NEWOBJ":
                arguments = self.stack.pop()
                self.stack.append(_call(self.stack.pop(), arguments))
            case "BUILD":
                # a parameter's state may be another tensor
                _check_view(self.stack.pop())
            case "PROTO" | "STOP":
                pass
            case _:
                raise pickle.UnpicklingError(f"opcode {opcode} is not plain data")

    def _to_mark(self) -> list[Any]:
        items, self.stack = self.stack, self._below.pop()
        return items

    def _claim(
        self, kind: str, storage: _Global, key: object, place: str, numbers: int, view: object = None
    ) -> _Storage:
        """Return the storage of a key, as its first reference describes it."""
        if kind != "storage" or not isinstance(key, str) or view is not None:
            raise pickle.UnpicklingError("persistent reference to something other than a tensor")
        if numbers < 0:
            raise ValueError(f"a tensor claims a storage of {numbers} numbers")
        item_size = _ITEM_SIZES[storage.name.rpartition(".")[2].removesuffix("Storage")]
        return self.storages.setdefault(key, _Storage(numbers * item_size, item_size))


def _call(function: Any, arguments: Any) -> Any:
    """Check a call, and return its result if it can be part of a claim."""
    if not isinstance(function, _Global) or not isinstance(arguments, tuple):
        raise pickle.UnpicklingError("call of something other than a function")
    name = function.name.replace("__builtin__", "builtins")  # name in Python 2
    if name == "torch.Size":
        return tuple(*arguments)
    if name == "torch._tensor._rebuild_from_type_v2":
        inner, _, inner_arguments, _ = arguments
        return _call(inner, inner_arguments)
    is_bytes = name == "builtins.bytearray" and not any(isinstance(each, int) for each in arguments)
    if name not in _CALLABLE and not is_bytes:
        raise pickle.UnpicklingError(f"GLOBAL {function.name}")
    _check_view(arguments, copied=name.endswith("qtensor"))
    return None


def _check_view(arguments: Any, copied: bool = False) -> None:
    """Check that a tensor fits its storage, because torch enlarges storages of the legacy format."""
    if not (isinstance(arguments, tuple) and arguments and isinstance(arguments[0], _Storage)):
        return
    storage, offset, size, stride, *rest = arguments
    item_size = storage.item_size
    if len(rest) > 2 and isinstance(rest[2], _Global):  # a type without its own storage class
        import torch

        item_size = getattr(torch, rest[2].name.removeprefix("torch.")).itemsize
    if len(size) != len(stride) or any(number < 0 for number in (offset, *size, *stride)):
        raise ValueError("a tensor has an invalid offset, shape or stride")
    reach = offset + 1 + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    claimed = item_size * max(reach, math.prod(size) if copied else 0)
    if claimed > storage.bytes and 0 not in size:
        raise ValueError(f"a tensor claims {claimed:,} bytes, but its storage has {storage.bytes:,}")
