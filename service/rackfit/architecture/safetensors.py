"""What a safetensors header or index says of a checkpoint, beside what its config counts.

A header names every tensor with its type and shape; the headers of several files may be merged
into one object. An index (model.safetensors.index.json) names the tensors and sums their bytes.
Source: safetensors, README.md (format).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from math import prod
from typing import Any, TypeVar

import msgspec

from rackfit.architecture.model import Architecture
from rackfit.architecture.parameters import counted_tensors
from rackfit.errors import InvalidInput, escaped

BITS: Mapping[str, int] = {
    **dict.fromkeys(("F4", "F6_E2M3", "F6_E3M2"), 0),  # packed: the offsets tell their size
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
}
PLAIN = frozenset({"F16", "BF16", "F32"})
MAX_BYTES = 1 << 50
EXAMPLES = 3
Kind = TypeVar("Kind")
_NUMBER = re.compile(r"(?<![^.])\d+(?=\.|$)")


class _Tensor(msgspec.Struct, frozen=True):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


class _Index(msgspec.Struct, frozen=True):
    weight_map: dict[str, str]
    metadata: dict[str, Any] | None = None


class Listing(msgspec.Struct, frozen=True):
    """The tensors of a checkpoint by name, numbers folded to `*`, each with one shape it has.

    Shapes are None where only names are known or the elements are packed; `total_bytes` is None
    where an index does not say.
    """

    shapes: Mapping[str, tuple[int, ...] | None]
    total_bytes: int | None


def read_safetensors(given: Mapping[str, Any], *, pointer: str = "/model/safetensors") -> Listing:
    """Read a header or an index.

    Args:
        given: the parsed JSON.
        pointer: where it stands in the caller's request (JSON Pointer).

    Raises:
        InvalidInput: at the entry that is neither.
    """
    if "weight_map" in given:
        index = _decode(given, _Index, pointer)
        return Listing({_folded(name): None for name in index.weight_map}, _total(index, pointer))
    tensors = {
        name: _tensor(value, f"{pointer}/{escaped(name[:200])}")
        for name, value in given.items()
        if name != "__metadata__"
    }
    if not tensors:
        raise InvalidInput.at(pointer, "It names no tensor.")
    shapes = {_folded(name): _shape(tensor) for name, tensor in tensors.items()}
    return Listing(shapes, sum(t.data_offsets[1] - t.data_offsets[0] for t in tensors.values()))


def differences(listing: Listing, architecture: Architecture) -> Iterator[str]:
    """Yield what sets a listing apart from a config's tensors, with examples."""
    counted = {_folded(t.name): t.shape for _, t in counted_tensors(architecture)}
    modules = {_module(name) for name in counted}
    unknown = (name for name in listing.shapes if _module(name) not in modules)
    listed = {_module(name) for name in listing.shapes}
    missing = (name for name in counted if _module(name) not in listed)
    other = (
        f"{name} ({_sides(shape)}, not {_sides(counted[name])})"
        for name, shape in listing.shapes.items()
        if shape is not None and name in counted and prod(shape) != prod(counted[name])
    )
    for said, names in (
        ("Only in the header", unknown),
        ("Only in the config", missing),
        ("Of another shape", other),
    ):
        if found := _examples(names):
            yield f"{said}: {found}."


def _examples(names: Iterable[str]) -> str:
    found = [name[:200] for name in names]
    more = f" and {len(found) - EXAMPLES} more" if len(found) > EXAMPLES else ""
    return ", ".join(found[:EXAMPLES]) + more


def _tensor(value: object, pointer: str) -> _Tensor:
    tensor = _decode(value, _Tensor, pointer)
    begin, end = tensor.data_offsets
    if tensor.dtype not in BITS:
        detail = f"There is no type {tensor.dtype!r:.80}. Known: {', '.join(BITS)}."
        raise InvalidInput.at(f"{pointer}/dtype", detail)
    if not 0 <= begin <= end <= MAX_BYTES:
        raise InvalidInput.at(f"{pointer}/data_offsets", "It must be where data begin and end.")
    wanted = prod(tensor.shape) * BITS[tensor.dtype] // 8
    if any(side < 0 for side in tensor.shape) or (BITS[tensor.dtype] and end - begin != wanted):
        detail = f"{end - begin:,} bytes of data are not {wanted:,} of {tensor.dtype}."
        raise InvalidInput.at(f"{pointer}/data_offsets", detail)
    return tensor


def _total(index: _Index, pointer: str) -> int | None:
    total = (index.metadata or {}).get("total_size")
    if total is None:
        return None
    number = isinstance(total, int | float) and not isinstance(total, bool)
    if not number or not 0 <= total <= MAX_BYTES or total != int(total):
        detail = "It must be a whole number of bytes."
        raise InvalidInput.at(f"{pointer}/metadata/total_size", detail)
    return int(total)


def _decode(value: object, kind: type[Kind], pointer: str) -> Kind:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise InvalidInput.at(pointer, f"{str(error).partition(' - at `')[0]}.") from None


def _shape(tensor: _Tensor) -> tuple[int, ...] | None:
    return tuple(tensor.shape) if tensor.dtype in PLAIN else None


def _folded(name: str) -> str:
    return _NUMBER.sub("*", name)


def _module(name: str) -> str:
    return name.rpartition(".")[0] or name


def _sides(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a number"
