"""From a checkpoint's config to what it really stores.

The `quantization_config` of config.json (at its top or in `text_config`), or Model
Optimizer's `hf_quant_config.json` beside it. Nothing after it asks for the method.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from rackfit.architecture.fields import MAX_LAYERS, Fields
from rackfit.architecture.frame import DTYPE_FIELDS, read_dtype
from rackfit.architecture.quantization import methods
from rackfit.architecture.quantization.auto_round import read_auto_round
from rackfit.architecture.quantization.compressed_tensors import read_compressed_tensors
from rackfit.architecture.quantization.modelopt import read_modelopt
from rackfit.architecture.quantization.quark import read_quark
from rackfit.architecture.quantization.rules import Depth, Quantization, depends_on_layer
from rackfit.architecture.quantization.sections import Section, Stored
from rackfit.errors import InvalidInput

READERS: Mapping[str, Callable[[Section], Stored]] = {
    # The method's names in AutoRound's and Neural Compressor's releases (vLLM's INCConfig).
    **dict.fromkeys(("auto-round", "auto_round", "intel/auto-round", "inc"), read_auto_round),
    "awq": methods.read_awq,
    "bitsandbytes": methods.read_bitsandbytes,
    "compressed-tensors": read_compressed_tensors,
    "fbgemm_fp8": partial(methods.read_uniform, "fp8-channel"),
    "fp8": methods.read_fp8,
    "gptq": methods.read_gptq,
    "modelopt": read_modelopt,
    "modelopt_fp4": read_modelopt,
    "mxfp4": methods.read_mxfp4,
    "mxfp8": partial(methods.read_uniform, "mxfp8"),
    "nvfp4": partial(methods.read_uniform, "nvfp4"),
    "quark": read_quark,
}
# Sections without a method are told by a field only that method has.
UNNAMED = {
    "quant_algo": "modelopt",
    "quantization": "modelopt",
    "config_groups": "compressed-tensors",
    "global_quant_config": "quark",
    "load_in_4bit": "bitsandbytes",
    "load_in_8bit": "bitsandbytes",
}
EXPERT_DTYPES = {"fp4": "mxfp4", "fp8": "fp8-block"}


def read_quantization(
    config: Mapping[str, Any],
    hf_quant_config: Mapping[str, Any] | None = None,
    *,
    pointer: str = "/model/config",
) -> Quantization:
    """Read what a checkpoint stores; without a quantization section all is plain.

    Args:
        config: the parsed `config.json`. A section in it wins over `hf_quant_config`, which
            says the same.
        hf_quant_config: the parsed `hf_quant_config.json`, if the checkpoint has one.
        pointer: where `config` stands in the caller's request (JSON Pointer);
            `hf_quant_config` stands beside it.

    Raises:
        InvalidInput: at the field that names a method, format or pattern nothing here reads.
    """
    dtype = _plain_dtype(config, pointer)
    depth = _depth(config)
    place = _section(config, hf_quant_config, pointer)
    if place is None:
        return Quantization(default=dtype)
    values, at = place
    section = Section(
        values=values,
        pointer=at,
        dtype=dtype,
        depth=depth,
        expert_scheme=_expert_scheme(config, pointer),
    )
    rules, kv_cache_dtype = _reader(section)(section)
    return Quantization(
        default=dtype,
        rules=rules,
        kv_cache_dtype=kv_cache_dtype,
        layer_dependent=depends_on_layer(rules, depth),
    )


def _section(
    config: Mapping[str, Any], hf_quant_config: Mapping[str, Any] | None, pointer: str
) -> tuple[Mapping[str, Any], str] | None:
    """Return the section that describes the weights, and its pointer."""
    for path, holder in _holders(config):
        for name in ("quantization_config", "compression_config"):
            section = holder.get(name)
            if section is not None and not isinstance(section, Mapping):
                raise InvalidInput.at(f"{pointer}{path}/{name}", f"{name} must be an object.")
            if section is not None:
                return section, f"{pointer}{path}/{name}"
    if hf_quant_config is not None:
        return hf_quant_config, f"{pointer.rpartition('/')[0]}/hf_quant_config"
    return None


def _holders(config: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the config and, in it, that of the language model, each with its path."""
    text = config.get("text_config")
    return [("", config), *([("/text_config", text)] if isinstance(text, Mapping) else [])]


def _reader(section: Section) -> Callable[[Section], Stored]:
    method = section.values.get("quant_method")
    if method is None:
        method = next((UNNAMED[field] for field in UNNAMED if field in section.values), None)
    reader = READERS.get(method) if isinstance(method, str) else None
    if reader is None:
        raise section.refuse("quant_method", "quant_method", method, READERS)
    return reader


def _plain_dtype(config: Mapping[str, Any], pointer: str) -> str:
    """Return the type of what is not quantized; the outermost that is named counts."""
    for path, holder in _holders(config):
        if any(holder.get(name) is not None for name in DTYPE_FIELDS):
            fields = Fields(holder, f"{pointer}{path}")
            dtype = read_dtype(fields)
            fields.check()
            return dtype
    return "bf16"


def _depth(config: Mapping[str, Any]) -> Depth:
    """Return how many layers lists can name; a config without a depth is refused elsewhere."""
    _, language = _holders(config)[-1]
    layers, draft = (
        value if isinstance(value, int) and 0 <= value <= MAX_LAYERS else 0
        for value in map(language.get, ("num_hidden_layers", "num_nextn_predict_layers"))
    )
    return Depth(layers=layers, draft=draft)


def _expert_scheme(config: Mapping[str, Any], pointer: str) -> str | None:
    dtype = config.get("expert_dtype")
    if dtype is None:
        return None
    scheme = EXPERT_DTYPES.get(dtype) if isinstance(dtype, str) else None
    if scheme is None:
        known = ", ".join(EXPERT_DTYPES)
        detail = f"There is no scheme for experts of {dtype!r:.80}. Known: {known}."
        raise InvalidInput.at(f"{pointer}/expert_dtype", detail)
    return scheme
