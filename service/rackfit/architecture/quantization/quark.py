"""AMD Quark: one config for all linear layers, others by the names of modules, and exclusions.

Source: vLLM, quantization/quark/quark.py (the first name that fits, then the config for all);
amd-quark, quantization/config/config.py.
"""

from collections.abc import Iterator, Mapping

import msgspec

from rackfit.architecture.quantization.compressed_tensors import CONVERTED, TILE
from rackfit.architecture.quantization.rules import Rule, converted, listed
from rackfit.architecture.quantization.sections import Section, Stored

# (type, whose scale) of the weights; a group's size stands for the group.
SCHEMES: Mapping[tuple[str, str | int], str] = {
    ("fp8_e4m3", "per_tensor"): "fp8",
    ("fp8_e4m3", "per_channel"): "fp8-channel",
    ("fp8_e4m3", "per_block"): "fp8-block",
    ("fp4", 32): "mxfp4",
    ("fp4", 16): "nvfp4",
    **{(dtype, 128): "quark-int4" for dtype in ("int4", "uint4")},
    **{(dtype, size): f"quark-int4-g{size}" for dtype in ("int4", "uint4") for size in (64, 32)},
    ("int8", "per_tensor"): "int8",
    ("int8", "per_channel"): "int8",
}
NVFP4 = ("fp4", 16)
KV_CACHE = {"fp8_e4m3": "fp8"}


class _Spec(msgspec.Struct, frozen=True):
    dtype: str
    qscheme: str = "per_group"
    group_size: int | None = None
    block_size: list[int] | None = None


class _Config(msgspec.Struct, frozen=True):
    weight: _Spec | list[_Spec] | None = None
    output_tensors: _Spec | None = None


class _Export(msgspec.Struct, frozen=True):
    kv_cache_group: list[str] | None = None


class _Quark(msgspec.Struct, frozen=True):
    global_quant_config: _Config | None = None
    layer_quant_config: dict[str, _Config] | None = None
    exclude: list[str] | None = None
    export: _Export | None = None


def read_quark(section: Section) -> Stored:
    """Read what is excluded, then what is named, then what holds for all."""
    fields = section.decode(_Quark)
    excluded = section.entries("exclude", fields.exclude)
    every = _scheme(section, "global_quant_config", fields.global_quant_config)
    rules = (
        *listed(section.dtype, excluded, section.depth, "every"),
        *_named(section, fields),
        *(() if every is None else (converted(every, CONVERTED),)),
    )
    return section.stored("global_quant_config", rules, _kv_cache(section, fields))


def _named(section: Section, fields: _Quark) -> Iterator[Rule]:
    """Yield the rules of modules by name; those that only name a cache's type convert as all do."""
    caches = set(fields.export.kv_cache_group or ()) if fields.export else set()
    for name, config in (fields.layer_quant_config or {}).items():
        at = f"layer_quant_config/{name}"
        scheme = _scheme(section, at, config)
        if scheme is not None:
            yield from listed(scheme, [(f"{section.pointer}/{at}", name)], section.depth)
        elif name not in caches:
            entry = [(f"{section.pointer}/{at}", name)]
            yield from listed(section.dtype, entry, section.depth, "every")


def _scheme(section: Section, at: str, config: _Config | None) -> str | None:
    """Return the scheme of a config's weights; the second of NVFP4's two is the scales' own."""
    weight = config.weight if config else None
    specs = weight if isinstance(weight, list) else [weight]
    spec = specs[0] if specs else None
    if spec is None:
        return None
    if spec.qscheme == "per_block" and spec.block_size not in (None, TILE):
        raise section.refuse(f"{at}/weight/block_size", "blocks of", spec.block_size, [TILE])
    kind = (spec.dtype, _per(spec))
    told = " under ".join(f"{each.dtype} per {_per(each)}" for each in specs if each)
    if kind not in SCHEMES or (len(specs) > 1 and kind != NVFP4):
        known = (f"{dtype} per {size}" for dtype, size in SCHEMES)
        raise section.refuse(f"{at}/weight", "weights of", told, known)
    return SCHEMES[kind]


def _per(spec: _Spec) -> str | int:
    """Return what has a scale of its own: a group by its size, or what `qscheme` says."""
    if spec.qscheme == "per_group" and spec.group_size is not None:
        return spec.group_size
    return spec.qscheme


def _kv_cache(section: Section, fields: _Quark) -> str | None:
    """Return the cache's type, which the outputs of the modules it holds have."""
    names = fields.export.kv_cache_group if fields.export else None
    for name in names or ():
        spec = (fields.layer_quant_config or {}).get(name, _Config()).output_tensors
        if spec is not None:
            if spec.dtype not in KV_CACHE:
                at = f"layer_quant_config/{name}/output_tensors"
                raise section.refuse(at, "a KV cache of", spec.dtype, KV_CACHE)
            return KV_CACHE[spec.dtype]
    return None
