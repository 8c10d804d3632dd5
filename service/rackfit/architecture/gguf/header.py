"""Reading a GGUF header, versions 2 and 3: metadata and tensor infos, never the data behind them.

Everything in a header is checked against the bytes there are before anything is made of it, so
that time and memory are bounded by its size. Source: ggml, docs/gguf.md.
"""

import struct
from collections.abc import Mapping, Sequence
from math import prod
from typing import NoReturn

import msgspec

from rackfit.architecture.gguf.types import TYPES
from rackfit.errors import InvalidInput

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_KEYS = 1 << 16
MAX_TENSORS = 1 << 18
MAX_NAME = 300
MAX_TEXT = 1 << 12  # characters of a text value that are kept: names, not chat templates
MAX_DEPTH = 4
MAX_DIMENSIONS = 4
MAX_ELEMENTS = 1 << 50
KEPT_ENTRIES = 10_000  # of a list: one a layer is kept, one a token only counted
STRING, ARRAY = 8, 9
NUMBERS: Mapping[int, struct.Struct] = {
    number: struct.Struct(f"<{code}")
    for number, code in zip((*range(8), 10, 11, 12), "BbHhIif?Qqd", strict=True)
}
U32, U64 = NUMBERS[4], NUMBERS[10]
MIN_STRING_BYTES, MIN_ARRAY_BYTES = 8, 12


class Entries(msgspec.Struct, frozen=True, gc=False):
    """A list of which only the length was kept."""

    count: int


Number = bool | int | float
Value = Number | str | tuple[Number, ...] | Entries
"""A metadata value."""


class TensorInfo(msgspec.Struct, frozen=True, gc=False):
    """A tensor as a header names it: its dimensions, the row first, and its scheme's id."""

    name: str
    dimensions: tuple[int, ...]
    scheme: str


class Header(msgspec.Struct, frozen=True):
    """What a file says of itself."""

    metadata: Mapping[str, Value]
    tensors: tuple[TensorInfo, ...]


def read_header(data: bytes, *, pointer: str) -> Header:
    """Read a header; what follows the tensor infos may be missing.

    Args:
        data: the file's beginning.
        pointer: where it stands in the caller's request (JSON Pointer).

    Raises:
        InvalidInput: at `pointer`, for anything that is no header or not all of one.
    """
    return _Reader(data, pointer).header()


class _Reader:
    """A place in the bytes, which only moves on."""

    def __init__(self, data: bytes, pointer: str) -> None:
        self._data = data
        self._pointer = pointer
        self._at = 0
        self._where = "its beginning"

    def header(self) -> Header:
        """Read the whole header."""
        if self._data[:4] != MAGIC:
            self._refuse("These bytes do not begin as a GGUF file does.")
        self._at = len(MAGIC)
        version = self._whole(U32)
        if version not in VERSIONS:
            known = " and ".join(map(str, VERSIONS))
            self._refuse(f"GGUF version {version} is not read; versions {known} are.")
        tensors = self._count("tensors", MAX_TENSORS)
        keys = self._count("metadata keys", MAX_KEYS)
        metadata = self._metadata(keys)
        return Header(metadata, tuple(self._tensor(i, tensors) for i in range(tensors)))

    def _metadata(self, count: int) -> Mapping[str, Value]:
        found: dict[str, Value] = {}
        for i in range(count):
            self._where = f"metadata key {i + 1} of {count}"
            key = self._text(MAX_NAME, f"The name of {self._where}")
            self._where = f"metadata key {key!r:.80}"
            if key in found:
                self._refuse(f"There are two values for {self._where}.")
            found[key] = self._value(self._whole(U32), 0)
        return found

    def _tensor(self, number: int, count: int) -> TensorInfo:
        self._where = f"tensor {number + 1} of {count}"
        name = self._text(MAX_NAME, f"The name of {self._where}")
        self._where = f"tensor {name!r:.80}"
        sides = self._whole(U32)
        if not 1 <= sides <= MAX_DIMENSIONS:
            self._refuse(f"{self._where} has {sides} dimensions; it must have 1 to 4.")
        dimensions = tuple(self._whole(U64) for _ in range(sides))
        if not all(dimensions) or prod(dimensions) > MAX_ELEMENTS:
            self._refuse(f"{self._where} has dimensions no tensor has: {dimensions}.")
        kind = self._whole(U32)
        if kind not in TYPES:
            self._refuse(f"{self._where} is of type {kind}, which ggml does not have.")
        self._number(U64)  # where its data begin
        return TensorInfo(name, dimensions, TYPES[kind])

    def _value(self, kind: int, depth: int) -> Value:
        if kind == STRING:
            return self._text(None, self._where)
        if kind == ARRAY:
            return self._array(depth + 1)
        if kind not in NUMBERS:
            self._refuse(f"{self._where} is of type {kind}, which GGUF does not have.")
        return self._number(NUMBERS[kind])

    def _array(self, depth: int) -> Value:
        if depth > MAX_DEPTH:
            self._refuse(f"{self._where} is nested more than {MAX_DEPTH} levels deep.")
        kind, count = self._whole(U32), self._whole(U64)
        if kind in NUMBERS:
            return self._numbers(NUMBERS[kind], count)
        if kind not in (STRING, ARRAY):
            self._refuse(f"{self._where} lists type {kind}, which GGUF does not have.")
        self._require(count * (MIN_STRING_BYTES if kind == STRING else MIN_ARRAY_BYTES))
        if kind == STRING:
            self._skip_strings(count)
        else:
            for _ in range(count):
                self._array(depth + 1)
        return Entries(count)

    def _numbers(self, form: struct.Struct, count: int) -> Value:
        self._require(count * form.size)
        begin, self._at = self._at, self._at + count * form.size
        if count > KEPT_ENTRIES:
            return Entries(count)
        return tuple(number for (number,) in form.iter_unpack(self._data[begin : self._at]))

    def _skip_strings(self, count: int) -> None:
        """Pass over strings; a tokenizer has hundreds of thousands, so this loop is tight."""
        at, data, read, end = self._at, self._data, U64.unpack_from, len(self._data)
        for _ in range(count):
            if at + MIN_STRING_BYTES > end:
                break
            at += MIN_STRING_BYTES + read(data, at)[0]
        else:
            self._require(at - self._at)
            self._at = at
            return
        self._stop()

    def _text(self, longest: int | None, what: str) -> str:
        size = self._whole(U64)
        if longest is not None and size > longest:
            self._refuse(f"{what} has {size:,} bytes; at most {longest} are read.")
        self._require(size)
        begin, self._at = self._at, self._at + size
        return self._data[begin : begin + min(size, MAX_TEXT)].decode("utf-8", "replace")

    def _count(self, what: str, most: int) -> int:
        count = self._whole(U64)
        if count > most:
            self._refuse(f"The header announces {count:,} {what}; at most {most:,} are read.")
        return count

    def _whole(self, form: struct.Struct) -> int:
        """Read one of the header's own numbers, which are whole."""
        return int(self._number(form))

    def _number(self, form: struct.Struct) -> Number:
        self._require(form.size)
        number: Number = form.unpack_from(self._data, self._at)[0]
        self._at += form.size
        return number

    def _require(self, size: int) -> None:
        if self._at + size > len(self._data):
            self._stop()

    def _stop(self) -> NoReturn:
        self._refuse(
            f"The {len(self._data):,} bytes end within {self._where}: give the file's beginning "
            "up to the end of its tensor infos."
        )

    def _refuse(self, detail: str) -> NoReturn:
        raise InvalidInput.at(self._pointer, detail[:1].upper() + detail[1:])


def joined(headers: Sequence[Header], *, pointer: str) -> Header:
    """Return the header of a file split in parts: the first's metadata, the tensors of all.

    Raises:
        InvalidInput: parts are missing, or hold a tensor twice.
    """
    first = headers[0]
    tensors = tuple(tensor for header in headers for tensor in header.tensors)
    announced = first.metadata.get("split.tensors.count")
    if isinstance(announced, int) and announced != len(tensors):
        raise InvalidInput.at(
            pointer,
            f"The file is split and has {announced:,} tensors; {len(headers)} of its parts name "
            f"{len(tensors):,}. Give the headers of all parts, in a list.",
        )
    if len({tensor.name for tensor in tensors}) < len(tensors):
        raise InvalidInput.at(pointer, "A tensor is named twice.")
    return Header(first.metadata, tensors)
