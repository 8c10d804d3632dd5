"""NVIDIA Model Optimizer's configs: `hf_quant_config.json`, or the same inside config.json.

Source: Model Optimizer, export/convert_hf_config.py; vLLM, modelopt.py; TensorRT-LLM,
_torch/model_config.py.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from rackfit.architecture.quantization.rules import Rule, converted, listed
from rackfit.architecture.quantization.sections import Section, Stored

MIXED = "MIXED_PRECISION"
ALGORITHMS = {
    "FP8": "fp8",
    "FP8_PER_CHANNEL_PER_TOKEN": "fp8-channel",
    "FP8_PB_WO": "fp8-block",
    "FP8_BLOCK_SCALES": "fp8-block",
    "MXFP8": "mxfp8",
    "NVFP4": "nvfp4",
    "NVFP4_AWQ": "nvfp4",
    "W4A16_NVFP4": "nvfp4",
    "W4A8_NVFP4_FP8": "nvfp4",
    "MXFP4": "mxfp4",
    "W4A8_MXFP4_FP8": "mxfp4",
    "W4A16_AWQ": "awq-int4",
    "W4A8_AWQ": "w4a8-awq",
    "W8A8_SQ_PER_CHANNEL": "int8",
    "INT8_SQ": "int8",
}
AWQ = {128: "awq-int4", 64: "awq-int4-g64", 32: "awq-int4-g32"}
"""W4A16_AWQ by the size of its groups."""

GROUPS = {"NVFP4": 16, "NVFP4_AWQ": 16, "W4A8_AWQ": 128}
"""The one size of group that there is a scheme for."""

KV_CACHE = {"FP8": "fp8", "NVFP4": "nvfp4", "INT8": "int8"}


class _Modelopt(msgspec.Struct, frozen=True):
    quant_algo: str | None = None
    kv_cache_quant_algo: str | None = None
    kv_cache_scheme: str | dict[str, Any] | None = None
    exclude_modules: list[str] | None = None
    ignore: list[str] | None = None
    group_size: int | None = None


class _Layer(msgspec.Struct, frozen=True):
    quant_algo: str | None = None


class _Tables(msgspec.Struct, frozen=True):
    quantized_layers: dict[str, _Layer] | None = None


def read_modelopt(section: Section) -> Stored:
    """Read one algorithm with exclusions, or MIXED_PRECISION with a table of modules."""
    nested = section.values.get("quantization")
    if isinstance(nested, dict):
        section = msgspec.structs.replace(
            section, values=nested, pointer=f"{section.pointer}/quantization"
        )
    fields = section.decode(_Modelopt)
    algorithm = (fields.quant_algo or MIXED).upper()
    scheme = None if algorithm == MIXED else _grouped(section, algorithm, fields.group_size)
    base = () if scheme is None else (converted(scheme),)
    kept = (r for name in ("exclude_modules", "ignore") for r in _kept(section, fields, name))
    cache = kv_cache_of(section, fields.kv_cache_quant_algo or fields.kv_cache_scheme)
    return section.stored("quant_algo", (*kept, *tables(section), *base), cache)


def tables(section: Section) -> Iterator[Rule]:
    """Yield the rules of `quantized_layers`, which names each module's algorithm."""
    if "quantized_layers" not in section.values:
        return
    layers = section.decode(_Tables).quantized_layers or {}
    modules: dict[str | None, list[str]] = {}
    for name, layer in layers.items():
        modules.setdefault(layer.quant_algo, []).append(name)
    pointer = f"{section.pointer}/quantized_layers"
    for algorithm, names in modules.items():
        if algorithm is not None:
            scheme = _scheme(section, "quantized_layers", algorithm.upper())
            yield from listed(scheme, ((pointer, name) for name in names), section.depth)


def kv_cache_of(section: Section, scheme: str | dict[str, Any] | None) -> str | None:
    """Return the KV cache's type from a `kv_cache_scheme`: a name, or bits and a kind."""
    if isinstance(scheme, dict):
        kind = {"float": "FP8", "int": "INT8"}.get(str(scheme.get("type")))
        scheme = kind if scheme.get("num_bits") == 8 else str(scheme)  # noqa: PLR2004 - a byte
    if scheme is None:
        return None
    if scheme.upper() not in KV_CACHE:
        raise section.refuse("kv_cache_scheme", "a KV cache of", scheme, KV_CACHE)
    return KV_CACHE[scheme.upper()]


def _kept(section: Section, fields: _Modelopt, name: str) -> Iterator[Rule]:
    entries = section.entries(name, getattr(fields, name))
    yield from listed(section.dtype, entries, section.depth, "every")


def _scheme(section: Section, field: str, algorithm: str) -> str:
    if algorithm not in ALGORITHMS:
        raise section.refuse(field, "the algorithm", algorithm, (*ALGORITHMS, MIXED))
    return ALGORITHMS[algorithm]


def _grouped(section: Section, algorithm: str, size: int | None) -> str:
    """Return the scheme of an algorithm with groups of a size, None for its usual one."""
    scheme = _scheme(section, "quant_algo", algorithm)
    known = AWQ if algorithm == "W4A16_AWQ" else {GROUPS.get(algorithm, size): scheme}
    if size is None:
        return scheme
    if size not in known:
        raise section.refuse("group_size", f"{algorithm} in groups of", size, known)
    return known[size]
