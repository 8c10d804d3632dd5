"""From a real GGUF header to an architecture whose every tensor and type is the file's own.

The metadata, translated into a config, go through the reader of their family, so that caches and
splits are those of any other source; the tensors then are the header's.
"""

from collections.abc import Mapping, Sequence

import msgspec

from rackfit.architecture.gguf.header import Header, joined, read_header
from rackfit.architecture.gguf.metadata import KEYS, architecture_name, as_config
from rackfit.architecture.gguf.tensors import Found, Listed, sort_out
from rackfit.architecture.huggingface import read_config
from rackfit.architecture.model import Architecture, Layer
from rackfit.catalog.entries import Scheme
from rackfit.errors import InvalidInput, Violation

MAX_PARTS = 1000


class GgufModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model read from its file's header; `name` is what the file calls it, "" if nothing."""

    architecture: Architecture
    storage: Listed
    name: str


def read_gguf(
    parts: bytes | Sequence[bytes], schemes: Mapping[str, Scheme], *, pointer: str = "/model/gguf"
) -> GgufModel:
    """Read the header of a GGUF, or those of its parts where it is split.

    Args:
        parts: the file's beginning, or that of each part in their order.
        schemes: the catalog's schemes by id: a row holds whole blocks.
        pointer: where the bytes stand in the caller's request (JSON Pointer).

    Raises:
        InvalidInput: at `pointer`, or at a part below it.
    """
    header = _read(parts, pointer)
    _check_rows(header, schemes, pointer)
    config = as_config(header, pointer=pointer)
    family = _family(config, pointer)
    found = sort_out(header.tensors, len(family.order), pointer=pointer)
    name = header.metadata.get("general.name")
    return GgufModel(
        architecture=_with_tensors(family, found, str(architecture_name(header))),
        storage=found.storage,
        name=name[:200] if isinstance(name, str) else "",
    )


def _read(parts: bytes | Sequence[bytes], pointer: str) -> Header:
    if isinstance(parts, bytes):
        return joined([read_header(parts, pointer=pointer)], pointer=pointer)
    if not 1 <= len(parts) <= MAX_PARTS:
        raise InvalidInput.at(pointer, f"A file has 1 to {MAX_PARTS} parts, not {len(parts)}.")
    headers = [read_header(part, pointer=f"{pointer}/{i}") for i, part in enumerate(parts)]
    return joined(headers, pointer=pointer)


def _check_rows(header: Header, schemes: Mapping[str, Scheme], pointer: str) -> None:
    for tensor in header.tensors:
        block = schemes[tensor.scheme].block_elements
        if tensor.dimensions[0] % block:
            detail = (
                f"Tensor {tensor.name!r:.80} has rows of {tensor.dimensions[0]:,} elements, "
                f"no whole number of {tensor.scheme}'s blocks of {block}."
            )
            raise InvalidInput.at(pointer, detail)


def _family(config: Mapping[str, object], pointer: str) -> Architecture:
    """Read the config; what its reader finds wrong is told with the key it was taken from."""
    try:
        return read_config(config, pointer=pointer)
    except InvalidInput as error:
        told = (Violation(pointer, _explained(v, pointer)) for v in error.violations)
        raise InvalidInput(*told) from error


def _explained(violation: Violation, pointer: str) -> str:
    field = violation.pointer.removeprefix(f"{pointer}/")
    key = KEYS.get(field)
    return violation.detail if key is None else f"{violation.detail} (Its key is {key}.)"


def _with_tensors(family: Architecture, found: Found, name: str) -> Architecture:
    """Give every layer the tensors the file has of it; equal layers are one kind."""
    kinds: dict[Layer, int] = {}
    order = []
    for number, tensors in enumerate(found.layers):
        layer = msgspec.structs.replace(family.layers[number], blocks=(tensors,))
        order.append(kinds.setdefault(layer, len(kinds)))
    return msgspec.structs.replace(
        family,
        name=name,
        kinds=tuple(kinds),
        order=tuple(order),
        outer=found.outer,
        draft=found.draft,
    )
