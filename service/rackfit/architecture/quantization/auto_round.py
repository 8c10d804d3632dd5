"""Intel AutoRound: one width for the decoder's blocks, others by the names of modules.

Source: vLLM, quantization/auto_round.py (AutoRoundConfig.get_layer_config); auto-round,
export_to_autoround. Its packing is GPTQ's, zero points too, without the groups of columns.
"""

import re
from collections.abc import Iterator

import msgspec

from rackfit.architecture.quantization.rules import Reach, Rule, converted, listed
from rackfit.architecture.quantization.sections import Section, Stored
from rackfit.errors import escaped

SCHEMES = {
    (4, 128): "autoround-int4",
    (4, 64): "autoround-int4-g64",
    (4, 32): "autoround-int4-g32",
    (8, 128): "autoround-int8",
}
PACKINGS = ("auto_round:auto_gptq", "auto_round:auto_awq", "auto_round:gptq", "auto_round:awq")
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
    if fields.data_type != "int":
        raise section.refuse("data_type", "weights of", fields.data_type, ["int"])
    if fields.packing_format not in PACKINGS:
        raise section.refuse("packing_format", "the packing", fields.packing_format, PACKINGS)
    scheme = section.grouped(SCHEMES, ("bits", fields.bits), ("group_size", fields.group_size))
    return (*_named(section, fields), converted(scheme)), None


def _named(section: Section, fields: _AutoRound) -> Iterator[Rule]:
    modules: dict[str, list[str]] = {}
    for name, layer in (fields.extra_config or {}).items():
        bits = fields.bits if layer.bits is None else layer.bits
        size = fields.group_size if layer.group_size is None else layer.group_size
        plain = bits is not None and bits >= PLAIN_BITS
        scheme = (
            section.dtype
            if plain
            else section.grouped(
                SCHEMES, ("bits", bits), ("group_size", size), f"extra_config/{escaped(name)}/"
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
