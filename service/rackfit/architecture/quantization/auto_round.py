"""Intel AutoRound: one width for the decoder's blocks, others by the names of modules.

Source: vLLM, quantization/auto_round.py (AutoRoundConfig.get_layer_config); auto-round,
export_to_autoround. Its packing is GPTQ's, zero points too, without the groups of columns.
"""

import re
from collections.abc import Iterator, Mapping

import msgspec

from rackfit.architecture.quantization.rules import Reach, Rule, converted, listed
from rackfit.architecture.quantization.sections import Grouped, Section, Stored
from rackfit.errors import escaped

INTEGERS = {
    **{(bits, 128): f"autoround-int{bits}" for bits in (4, 8, 3, 2)},
    **{(bits, size): f"autoround-int{bits}-g{size}" for bits in (4, 8, 3, 2) for size in (64, 32)},
}
TYPES: Mapping[str, Grouped] = {
    "int": INTEGERS,
    "mx_fp": {(4, 32): "autoround-mxfp4", (8, 32): "autoround-mxfp8"},
    "nv_fp": {(4, 16): "autoround-nvfp4"},
}
"""Schemes by the type of weights, whose name may go on (`mx_fp4`, `nv_fp4_with_static_gs`)."""

PACKINGS = ("auto_round:auto_gptq", "auto_round:auto_awq", "auto_round:gptq", "auto_round:awq")
COMPRESSED = "auto_round:llm_compressor"
PLAIN_BITS = 16
_EXPRESSION = re.compile(r"[*+?^$()\[\]{}|\\]")


class _Layer(msgspec.Struct, frozen=True):
    bits: int | None = None
    group_size: int | None = None


class _AutoRound(msgspec.Struct, frozen=True):
    bits: int | None = None
    group_size: int | None = None
    data_type: str = "int"
    packing_format: str = PACKINGS[0]
    extra_config: dict[str, _Layer] | None = None


def read_auto_round(section: Section) -> Stored:
    """Read the modules that are named, then what holds for the decoder's linear layers."""
    fields = section.decode(_AutoRound)
    kind = next((name for name in TYPES if fields.data_type.startswith(name)), None)
    if kind is None:
        raise section.refuse("data_type", "weights of", fields.data_type, TYPES)
    packings = PACKINGS if kind == "int" else (COMPRESSED, *PACKINGS)
    if fields.packing_format not in packings:
        raise section.refuse("packing_format", "the packing", fields.packing_format, packings)
    schemes = TYPES[kind]
    scheme = section.grouped(schemes, ("bits", fields.bits), ("group_size", fields.group_size))
    return (*_named(section, fields, schemes), converted(scheme)), None


def _named(section: Section, fields: _AutoRound, schemes: Grouped) -> Iterator[Rule]:
    modules: dict[str, list[str]] = {}
    for name, layer in (fields.extra_config or {}).items():
        bits = fields.bits if layer.bits is None else layer.bits
        size = fields.group_size if layer.group_size is None else layer.group_size
        plain = bits is not None and bits >= PLAIN_BITS
        scheme = (
            section.dtype
            if plain
            else section.grouped(
                schemes, ("bits", bits), ("group_size", size), f"extra_config/{escaped(name)}/"
            )
        )
        modules.setdefault(scheme, []).append(name)
    pointer = f"{section.pointer}/extra_config"
    for scheme, names in modules.items():
        entries = ((pointer, _pattern(name)) for name in names)
        reach: Reach = "every" if scheme == section.dtype else "matrix"
        yield from listed(scheme, entries, section.depth, reach)


def _pattern(name: str) -> str:
    """Return an expression, which may begin anywhere, as the patterns write one."""
    return f"re:.*{name}" if _EXPRESSION.search(name) else name
