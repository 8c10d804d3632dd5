"""GGUF headers as llama.cpp's converter and quantizer write them, made with the `gguf` package.

Names come from that package's own table, so that they check the names known here; metadata are
filled in from a config as the converter does (llama.cpp, conversion/base.py).
"""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import gguf

from rackfit.architecture.gguf.conversion import as_gguf
from rackfit.architecture.gguf.types import TYPES
from rackfit.architecture.huggingface import read_config
from rackfit.architecture.model import Tensor
from rackfit.architecture.quantization import Storage, read_quantization

NUMBERS = {scheme: number for number, scheme in TYPES.items()}
# What modify_tensors of a family's converter calls a tensor before it is looked up.
RENAMED = {
    "block_sparse_moe.experts.*.w1": "block_sparse_moe.experts.w1",
    "block_sparse_moe.experts.*.w2": "block_sparse_moe.experts.w2",
    "block_sparse_moe.experts.*.w3": "block_sparse_moe.experts.w3",
    "mlp.experts.*.": "mlp.experts.",
    "linear_attn.dt_bias": "linear_attn.dt_proj.bias",
    "e_score_correction_bias": "e_score_correction.bias",
    "self_attn.sinks": "self_attn.sinks.weight",
    "_proj_bias": "_proj.bias",
    "language_model.": "",
}
SPLIT = {"gate_up_proj": ("gate_proj", "up_proj")}
Info = tuple[str, tuple[int, ...], int]
"""A tensor's name, its shape with the row last, and its type's number."""


def written(architecture: str, metadata: Mapping[str, Any], tensors: Iterable[Info]) -> bytes:
    """Return the header of a file, up to the end of its tensor infos."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "header.gguf"
        writer = gguf.GGUFWriter(path, architecture)
        for key, value in metadata.items():
            _add(writer, key, value)
        for name, shape, kind in tensors:
            _add_tensor(writer, name, shape, gguf.GGMLQuantizationType(kind))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        writer.close()
        return path.read_bytes()


def _add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:  # noqa: ANN401 - any value
    match value:
        case bool():
            writer.add_bool(key, value)
        case int():
            writer.add_uint32(key, value)
        case float():
            writer.add_float32(key, value)
        case str():
            writer.add_string(key, value)
        case _:
            writer.add_array(key, value)


def _add_tensor(
    writer: gguf.GGUFWriter, name: str, shape: tuple[int, ...], kind: gguf.GGMLQuantizationType
) -> None:
    block, size = gguf.GGML_QUANT_SIZES[kind]
    elements = 1
    for side in shape:
        elements *= side
    *rows, columns = shape
    stored = (*rows, columns // block * size) if block > 1 else shape
    any_type: Any = "uint8" if block > 1 else "float32"
    writer.add_tensor_info(name, stored, gguf.np.dtype(any_type), elements // block * size, kind)


def converted(config: Mapping[str, Any], architecture: gguf.MODEL_ARCH, file_type: str) -> bytes:
    """Return the header that a model of this config has in a file of some type."""
    read, storage = as_gguf(read_config(config), file_type, read_quantization(config))
    names = gguf.get_tensor_name_map(architecture, len(read.order) + read.draft_layers)
    layers = ((t, number, storage) for number, kind in enumerate(read.layers) for t in kind.tensors)
    rest = ((t, None, storage) for t in (*read.outer, *read.draft) if t.component != "vision")
    kept = (
        info
        for tensor, layer, stored in (*layers, *rest)
        if tensor.component not in storage.outside
        for info in infos(tensor, layer, stored, names)
    )
    name = gguf.MODEL_ARCH_NAMES[architecture]
    return written(
        name, metadata(name, config.get("text_config") or config, read.draft_layers), kept
    )


def infos(
    tensor: Tensor, layer: int | None, storage: Storage, names: gguf.TensorNameMap
) -> Iterator[Info]:
    """Yield a tensor as files have it: experts stacked, gate and up apart."""
    kind = NUMBERS[storage.scheme_of(tensor, layer)]
    name = tensor.name if layer is None else tensor.name.replace("layers.*", f"layers.{layer}")
    for old, new in RENAMED.items():
        name = name.replace(old, new)
    for whole, halves in SPLIT.items():
        if whole in name and tensor.component in ("routed_experts", "draft"):
            shape = (tensor.shape[0] // 2, *tensor.shape[1:])
            for half in halves:
                yield _info(name.replace(whole, half), shape, tensor.copies, kind, names)
            return
    yield _info(name, tensor.shape, tensor.copies, kind, names)


def _info(
    name: str, shape: tuple[int, ...], copies: int, kind: int, names: gguf.TensorNameMap
) -> Info:
    suffixes = (".weight", ".bias")
    found = names.get_name(name, try_suffixes=suffixes)
    assert found is not None, name
    if not found.endswith(suffixes) and "ssm_a" not in found:
        found += ".weight"
    if name.endswith(("k_b_proj.weight", "v_b_proj.weight")):
        return found, shape, kind  # rows of all heads in one; the header stacks them by head
    squeezed = tuple(side for side in shape if side > 1) or (1,)
    return found, (copies, *squeezed) if copies > 1 else squeezed, kind


def metadata(name: str, config: Mapping[str, Any], draft_layers: int) -> dict[str, Any]:
    """Return a file's metadata, with a vocabulary of three tokens."""
    heads, hidden = config["num_attention_heads"], config["hidden_size"]
    kv_heads = config.get("num_key_value_heads", heads)
    given = {
        "block_count": config["num_hidden_layers"] + draft_layers,
        "context_length": config.get("max_position_embeddings"),
        "embedding_length": hidden,
        "feed_forward_length": config.get("intermediate_size_mlp", config.get("intermediate_size")),
        "attention.head_count": heads,
        "attention.head_count_kv": 1 if "kv_lora_rank" in config else kv_heads,
        "attention.key_length": config.get("head_dim", hidden // heads),
        "attention.value_length": config.get("head_dim", hidden // heads),
        "attention.sliding_window": config.get("sliding_window"),
        "rope.freq_base": float(config.get("rope_theta") or 10_000.0),
        "expert_count": _first(config, "n_routed_experts", "num_experts", "num_local_experts"),
        "expert_used_count": _first(config, "num_experts_per_tok", "experts_per_token"),
        "expert_feed_forward_length": _expert_width(config),
        "expert_shared_count": config.get("n_shared_experts"),
        "expert_shared_feed_forward_length": config.get("shared_expert_intermediate_size"),
        "leading_dense_block_count": config.get("first_k_dense_replace"),
        "interleave_moe_layer_step": config.get("interleave_moe_layer_step"),
        "nextn_predict_layers": draft_layers or None,
        **_latent(config),
        **_delta_net(config),
    }
    known = {f"{name}.{key}": value for key, value in given.items() if value is not None}
    tokens = {"tokenizer.ggml.tokens": ["a", "b", "c"], "tokenizer.ggml.scores": [0.0, 0.0, 0.0]}
    return {"general.name": "A Model", **known, **tokens}


def _first(config: Mapping[str, Any], *names: str) -> int | None:
    return next((config[name] for name in names if config.get(name)), None)


def _expert_width(config: Mapping[str, Any]) -> int | None:
    experts = _first(config, "n_routed_experts", "num_experts", "num_local_experts")
    width: int | None = config.get("moe_intermediate_size", config.get("intermediate_size"))
    return width if experts else None


def _latent(config: Mapping[str, Any]) -> dict[str, Any]:
    if "kv_lora_rank" not in config:
        return {}
    rank, rope = config["kv_lora_rank"], config["qk_rope_head_dim"]
    return {
        "attention.q_lora_rank": config.get("q_lora_rank"),
        "attention.kv_lora_rank": rank,
        "attention.key_length": rank + rope,
        "attention.value_length": rank,
        "attention.key_length_mla": config["qk_nope_head_dim"] + rope,
        "attention.value_length_mla": config["v_head_dim"],
        "rope.dimension_count": rope,
    }


def _delta_net(config: Mapping[str, Any]) -> dict[str, Any]:
    if "linear_num_key_heads" not in config:
        return {}
    values = config["linear_num_value_heads"]
    return {
        "ssm.conv_kernel": config["linear_conv_kernel_dim"],
        "ssm.state_size": config["linear_key_head_dim"],
        "ssm.group_count": config["linear_num_key_heads"],
        "ssm.time_step_rank": values,
        "ssm.inner_size": values * config["linear_value_head_dim"],
    }
