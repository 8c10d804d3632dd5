"""compressed-tensors: groups of modules, each with a number format, and modules to ignore.

Source: compressed-tensors, quantization/quant_config.py and quant_args.py; vLLM,
compressed_tensors/utils.py (a module's name decides before its class).
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from rackfit.architecture.model import Component
from rackfit.architecture.quantization.modelopt import kv_cache_of
from rackfit.architecture.quantization.rules import WITH_TOWERS, Rule, converted, listed
from rackfit.architecture.quantization.sections import Section, Stored

LINEAR = "Linear"
# A head is a Linear too: where it stays in the plain type, `ignore` says so.
CONVERTED: frozenset[Component] = WITH_TOWERS | {"head"}

FORMATS = (
    "dense",
    "float-quantized",
    "int-quantized",
    "mixed-precision",
    "mxfp4-pack-quantized",
    "mxfp8-quantized",
    "naive-quantized",
    "nvfp4-pack-quantized",
    "pack-quantized",
)
# (type, bits, strategy or group size) of the weights.
SCHEMES: Mapping[tuple[str, int, str | int], str] = {
    ("float", 8, "tensor"): "fp8",
    ("float", 8, "channel"): "fp8-channel",
    ("float", 8, "block"): "fp8-block",
    ("float", 8, 32): "mxfp8",
    ("float", 4, 16): "nvfp4",
    ("float", 4, 32): "mxfp4",
    ("int", 8, "tensor"): "int8",
    ("int", 8, "channel"): "int8",
    ("int", 8, 128): "int8-g128",
    ("int", 4, "channel"): "int4-channel",
    ("int", 4, 32): "int4-g32",
    ("int", 4, 64): "int4-g64",
    ("int", 4, 128): "int4-g128",
}
ASYMMETRIC = {
    name: f"{name}-asym"
    for name in ("int4-g32", "int4-g64", "int4-g128", "int4-channel", "int8", "int8-g128")
}
ORDERED = ("group", "dynamic", True)
"""`actorder` that stores each column's group, `weight_g_idx`; "weight" leaves columns in place.

Source: compressed-tensors, quant_args.py, ActivationOrdering, until 0.20 took it out.
"""

TILE = [128, 128]
UNPACKED = ("int-quantized", "naive-quantized")


class _Weights(msgspec.Struct, frozen=True):
    num_bits: int = 8
    type: str = "int"
    strategy: str | None = None
    group_size: int | None = None
    block_structure: list[int] | None = None
    symmetric: bool = True
    actorder: str | bool | None = None


class _Group(msgspec.Struct, frozen=True):
    targets: list[str] | None = None
    weights: _Weights | None = None
    format: str | None = None


class _CompressedTensors(msgspec.Struct, frozen=True):
    config_groups: dict[str, _Group] = {}
    format: str | None = None
    ignore: list[str] | None = None
    kv_cache_scheme: str | dict[str, Any] | None = None


def read_compressed_tensors(section: Section) -> Stored:
    """Read the groups; what `ignore` names stays in the plain type."""
    fields = section.decode(_CompressedTensors)
    named: list[Rule] = []
    linear: list[Rule] = []
    for key, group in fields.config_groups.items():
        if group.weights is None:
            continue
        scheme = _scheme(section, key, group.weights, group.format or fields.format)
        targets = group.targets or [LINEAR]
        named += _named(section, key, scheme, targets)
        if LINEAR in targets:
            linear.append(converted(scheme, CONVERTED))
    ignored = listed(
        section.dtype, section.entries("ignore", fields.ignore), section.depth, "every"
    )
    cache = kv_cache_of(section, fields.kv_cache_scheme)
    return section.stored("config_groups", (*ignored, *named, *linear), cache)


def _named(section: Section, key: str, scheme: str, targets: list[str]) -> Iterator[Rule]:
    entries = section.entries(f"config_groups/{key}/targets", targets)
    modules = ((pointer, name) for pointer, name in entries if name != LINEAR)
    yield from listed(scheme, modules, section.depth)


def _scheme(section: Section, key: str, weights: _Weights, form: str | None) -> str:
    """Return the scheme of a group's weights."""
    at = f"config_groups/{key}"
    if form is not None and form not in FORMATS:
        raise section.refuse(f"{at}/format", "the format", form, FORMATS)
    # Unpacked formats keep whole numbers of 4 bits in a byte each (llm-compressor issue 1513).
    bits = 8 if weights.type == "int" and form in UNPACKED else weights.num_bits
    size = weights.group_size
    per: str | int = size if size is not None and size > 0 else weights.strategy or "tensor"
    if weights.strategy in ("block", "channel"):
        per = weights.strategy
    if per == "block" and weights.block_structure not in (None, TILE):
        tile = weights.block_structure
        raise section.refuse(f"{at}/weights/block_structure", "blocks of", tile, [TILE])
    scheme = SCHEMES.get((weights.type, bits, per))
    if scheme is None:
        known = (f"{t}{b} per {p}" for t, b, p in SCHEMES)
        raise section.refuse(
            f"{at}/weights", "weights of", f"{weights.type}{bits} per {per}", known
        )
    stored = scheme if weights.symmetric else ASYMMETRIC.get(scheme, scheme)
    ordered = weights.actorder in ORDERED and isinstance(per, int) and weights.type == "int"
    return f"{stored}-ordered" if ordered else stored
