"""The methods whose section names one scheme for all: FP8, MX formats, GPTQ, AWQ, bitsandbytes."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from rackfit.architecture.model import Component
from rackfit.architecture.quantization.modelopt import tables
from rackfit.architecture.quantization.rules import DECODER, WITH_TOWERS, Rule, converted, listed
from rackfit.architecture.quantization.sections import Grouped, Section, Stored

ROUTED: frozenset[Component] = frozenset({"routed_experts"})
HEAD: frozenset[Component] = frozenset({"head"})

FP8_TILES: Mapping[tuple[int, ...], str] = {(128, 128): "fp8-block", (1, 32): "mxfp8"}
GPTQ = {
    **{(bits, 128): f"gptq-int{bits}" for bits in (4, 8, 3, 2)},
    **{(bits, size): f"gptq-int{bits}-g{size}" for bits in (4, 8, 3, 2) for size in (64, 32)},
    **{(bits, -1): f"gptq-int{bits}-channel" for bits in (4, 8)},
}
DROPPED = ("gptq-int4", "gptq-int8")
"""Schemes that engines keep without zero points where weights are symmetric."""

AWQ = {(4, 128): "awq-int4", (4, 64): "awq-int4-g64", (4, 32): "awq-int4-g32"}


class _Kept(msgspec.Struct, frozen=True):
    modules_to_not_convert: list[str] | None = None
    ignored_layers: list[str] | None = None
    llm_int8_skip_modules: list[str] | None = None


class _Fp8(msgspec.Struct, frozen=True):
    weight_block_size: list[int] | None = None


class _Grouped(msgspec.Struct, frozen=True):
    bits: int | None = None
    w_bit: int | None = None
    group_size: int | None = None
    q_group_size: int | None = None
    lm_head: bool = False
    desc_act: bool = False
    sym: bool = True
    dynamic: dict[str, dict[str, Any]] | None = None


class _BitsAndBytes(msgspec.Struct, frozen=True):
    load_in_4bit: bool = False
    load_in_8bit: bool = False
    bnb_4bit_use_double_quant: bool = False


def read_fp8(section: Section) -> Stored:
    """Read FP8 as DeepSeek and transformers write it: by tile, or one scale a tensor.

    Model Optimizer's tables may name modules of other schemes on top (V4's NVFP4 experts).
    """
    size = section.decode(_Fp8).weight_block_size
    scheme = "fp8" if size is None else FP8_TILES.get(tuple(size))
    if scheme is None:
        raise section.refuse("weight_block_size", "tiles of", size, map(list, FP8_TILES))
    return (
        *tables(section),
        *kept(section),
        *_experts(section),
        converted(scheme, WITH_TOWERS),
    ), None


def read_uniform(scheme: str, section: Section) -> Stored:
    """Read a method that converts every linear layer of the decoder to one scheme."""
    return (*kept(section), converted(scheme)), None


def read_mxfp4(section: Section) -> Stored:
    """Read gpt-oss's MXFP4, which converts the experts alone (transformers, Mxfp4Config)."""
    return (*kept(section), converted("mxfp4", ROUTED)), None


def read_gptq(section: Section) -> Stored:
    """Read GPTQ; GPTQModel's `dynamic` excludes modules (`-:`) or quantizes them otherwise."""
    fields = section.decode(_Grouped)
    scheme = _ordered(section, fields)
    components = DECODER | HEAD if fields.lm_head else DECODER
    return (
        *_dynamic(section, fields),
        *kept(section),
        converted(scheme, components),
    ), None


def read_awq(section: Section) -> Stored:
    """Read AWQ as AutoAWQ writes it (`w_bit` and `q_group_size` in its first versions)."""
    scheme = _grouped(section, AWQ, section.decode(_Grouped))
    return (*kept(section), converted(scheme)), None


def read_bitsandbytes(section: Section) -> Stored:
    """Read bitsandbytes: 8 bits where the config says so, else 4."""
    fields = section.decode(_BitsAndBytes)
    if section.values.get("load_in_4bit") is False and not fields.load_in_8bit:
        raise section.refuse("load_in_4bit", "bitsandbytes that loads", False, ("4", "8 bits"))  # noqa: FBT003
    four = "bnb-nf4" if fields.bnb_4bit_use_double_quant else "bnb-nf4-single"
    scheme = "bnb-int8" if fields.load_in_8bit else four
    return (*kept(section), converted(scheme, WITH_TOWERS)), None


def kept(section: Section) -> Iterator[Rule]:
    """Yield the rules for modules a section leaves in the plain type."""
    fields = section.decode(_Kept)
    for name in _Kept.__struct_fields__:
        if names := getattr(fields, name):
            entries = section.entries(name, names)
            yield from listed(section.dtype, entries, section.depth, "every")


def _experts(section: Section) -> Iterator[Rule]:
    """Yield DeepSeek-V4's rule: routed experts, the draft's too, in a scheme of their own."""
    if section.expert_scheme is not None:
        yield Rule(scheme=section.expert_scheme, reach="linear", shard="experts")


def _ordered(section: Section, fields: _Grouped) -> str:
    """Return GPTQ's scheme; one group a row has no order.

    Zero points are stored whether they say anything or not (AutoGPTQ, nn_modules/qlinear); of 2
    and 3 bits nothing drops those that do not.
    """
    scheme = _grouped(section, GPTQ, fields)
    asymmetric = "-asym" if not fields.sym and scheme.startswith(DROPPED) else ""
    ordered = "-ordered" if fields.desc_act and not scheme.endswith("channel") else ""
    return f"{scheme}{asymmetric}{ordered}"


def _grouped(section: Section, schemes: Grouped, fields: _Grouped) -> str:
    old, small = fields.w_bit is not None, fields.q_group_size is not None
    return section.grouped(
        schemes,
        ("w_bit", fields.w_bit) if old else ("bits", fields.bits),
        ("q_group_size", fields.q_group_size) if small else ("group_size", fields.group_size),
    )


def _dynamic(section: Section, fields: _Grouped) -> Iterator[Rule]:
    for pattern, changes in (fields.dynamic or {}).items():
        sign, _, expression = pattern.rpartition(":")
        entry = [(f"{section.pointer}/dynamic", f"re:{expression}")]
        if sign == "-":
            yield from listed(section.dtype, entry, section.depth, "every")
            continue
        changed = msgspec.structs.replace(section, values={**section.values, **changes})
        scheme = _ordered(section, changed.decode(_Grouped))
        yield from listed(scheme, entry, section.depth)
