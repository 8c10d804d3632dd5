"""From a GGUF's metadata to the config.json its model was converted from, as far as geometry goes.

Which key holds what: gguf 0.19.0, constants.py, Keys; how converters fill them: llama.cpp,
conversion/. Tensors are not described here: they come from the header itself.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from rackfit.architecture.gguf.header import Entries, Header, Value
from rackfit.errors import InvalidInput

Config = dict[str, Any]

KEYS: Mapping[str, str] = {
    "hidden_size": "embedding_length",
    "num_hidden_layers": "block_count",
    "intermediate_size": "feed_forward_length",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "max_position_embeddings": "context_length",
    "sliding_window": "attention.sliding_window",
    "q_lora_rank": "attention.q_lora_rank",
    "kv_lora_rank": "attention.kv_lora_rank",
    "qk_rope_head_dim": "rope.dimension_count",
    "index_n_heads": "attention.indexer.head_count",
    "index_head_dim": "attention.indexer.key_length",
    "index_topk": "attention.indexer.top_k",
    "num_experts": "expert_count",
    "num_experts_per_tok": "expert_used_count",
    "moe_intermediate_size": "expert_feed_forward_length",
    "n_shared_experts": "expert_shared_count",
    "shared_expert_intermediate_size": "expert_shared_feed_forward_length",
    "first_k_dense_replace": "leading_dense_block_count",
    "num_nextn_predict_layers": "nextn_predict_layers",
    "interleave_moe_layer_step": "interleave_moe_layer_step",
    "full_attention_interval": "full_attention_interval",
}
"""Fields of a config by the key that holds them, behind the architecture's name."""

ROPE_TYPES = frozenset({"yarn", "linear", "longrope"})


class Metadata(msgspec.Struct, frozen=True):
    """A header's metadata under one architecture's name."""

    name: str
    values: Mapping[str, Value]
    tensors: frozenset[str]

    def get(self, key: str) -> Value | None:
        """Return a value of this architecture."""
        return self.values.get(f"{self.name}.{key}")

    def whole(self, key: str) -> int | None:
        """Return a whole number; where layers differ, the largest. None: absent or 0 everywhere."""
        value = self.get(key)
        numbers = value if isinstance(value, tuple) else (value,)
        known = (n for n in numbers if isinstance(n, int) and not isinstance(n, bool))
        return max(known, default=0) or None


Extra = Callable[[Metadata, Config], Config]
"""What a family's config has besides the usual fields, given those."""


def _nothing(_metadata: Metadata, _config: Config) -> Config:
    return {}


def _expert_width(_metadata: Metadata, config: Config) -> Config:
    """Families whose `intermediate_size` is that of one expert."""
    width = config.get("moe_intermediate_size", config.get("intermediate_size"))
    return {"intermediate_size": width}


def _llama(_metadata: Metadata, config: Config) -> Config:
    return {"model_type": "mixtral"} if config.get("num_experts") else {}


def _llama4(metadata: Metadata, config: Config) -> Config:
    return {
        **_expert_width(metadata, config),
        "intermediate_size_mlp": config.get("intermediate_size"),
    }


def _granite(_metadata: Metadata, config: Config) -> Config:
    return {"shared_intermediate_size": config.get("shared_expert_intermediate_size", 0)}


def _windowed(metadata: Metadata, config: Config) -> Config:
    """Families whose converters may write down which layers slide, one flag a layer."""
    pattern = metadata.get("attention.sliding_window_pattern")
    if isinstance(pattern, tuple) and pattern:
        layers = range(min(int(config.get("num_hidden_layers") or 0), 10_000))
        sliding = [bool(pattern[i % len(pattern)]) for i in layers]
        return {"layer_types": [("full", "sliding")[s] + "_attention" for s in sliding]}
    every = metadata.whole("attention.sliding_window_pattern")
    return {"sliding_window_pattern": every} if every else {}


def _latent(metadata: Metadata, config: Config) -> Config:
    """DeepSeek: files made before April 2025 have each head's own widths under the usual keys."""
    rope = config.get("qk_rope_head_dim") or 0
    key = metadata.whole("attention.key_length_mla") or metadata.whole("attention.key_length")
    value = metadata.whole("attention.value_length_mla") or metadata.whole("attention.value_length")
    corrected = any(name.endswith("exp_probs_b.bias") for name in metadata.tensors)
    model_type = {"model_type": "deepseek_v3"} if corrected else {}
    return {
        "num_key_value_heads": config.get("num_attention_heads"),
        "qk_nope_head_dim": None if key is None else key - rope,
        "v_head_dim": value,
        **model_type,
    }


def _sparse_latent(metadata: Metadata, config: Config) -> Config:
    return {**_latent(metadata, config), "model_type": "glm_moe_dsa"}


def _delta_net(metadata: Metadata, _config: Config) -> Config:
    """Qwen's gated delta nets, written down under the names of Mamba's parts."""
    inner, heads = metadata.whole("ssm.inner_size"), metadata.whole("ssm.time_step_rank")
    return {
        "linear_num_key_heads": metadata.whole("ssm.group_count"),
        "linear_num_value_heads": heads,
        "linear_key_head_dim": metadata.whole("ssm.state_size"),
        "linear_value_head_dim": inner // heads if inner and heads else None,
        "linear_conv_kernel_dim": metadata.whole("ssm.conv_kernel"),
    }


FAMILIES: Mapping[str, tuple[str, Extra]] = {
    "apertus": ("apertus", _nothing),
    "arcee": ("arcee", _nothing),
    "cohere2": ("cohere2", _windowed),
    "command-r": ("cohere", _nothing),
    "deepseek2": ("deepseek_v2", _latent),
    "dots1": ("dots1", _nothing),
    "ernie4_5": ("ernie4_5", _nothing),
    "exaone4": ("exaone4", _windowed),
    "falcon": ("falcon", lambda _m, _c: {"new_decoder_architecture": True}),
    "gemma": ("gemma", _nothing),
    "gemma2": ("gemma2", _windowed),
    "gemma3": ("gemma3_text", _windowed),
    "glm-dsa": ("glm_moe_dsa", _sparse_latent),
    "glm4": ("glm4", _nothing),
    "glm4moe": ("glm4_moe", _nothing),
    "gpt-oss": ("gpt_oss", _expert_width),
    "granite": ("granite", _nothing),
    "granitemoe": ("granitemoe", _granite),
    "hunyuan-dense": ("hunyuan_v1_dense", _nothing),
    "llama": ("llama", _llama),
    "llama4": ("llama4_text", _llama4),
    "minimax-m2": ("minimax_m2", _expert_width),
    "mistral3": ("ministral3", _nothing),
    "nemotron": ("nemotron", _nothing),
    "olmo2": ("olmo2", _nothing),
    "olmoe": ("olmoe", _expert_width),
    "phi2": ("phi", _nothing),
    "phi3": ("phi3", _nothing),
    "phimoe": ("phimoe", _expert_width),
    "qwen2": ("qwen2", _nothing),
    "qwen2moe": ("qwen2_moe", _nothing),
    "qwen2vl": ("qwen2", _nothing),
    "qwen3": ("qwen3", _nothing),
    "qwen35": ("qwen3_5_text", _delta_net),
    "qwen35moe": ("qwen3_5_moe_text", _delta_net),
    "qwen3moe": ("qwen3_moe", _nothing),
    "qwen3next": ("qwen3_next", _delta_net),
    "qwen3vl": ("qwen3", _nothing),
    "qwen3vlmoe": ("qwen3_vl_moe_text", _nothing),
    "seed_oss": ("seed_oss", _nothing),
    "smollm3": ("smollm3", _nothing),
    "starcoder2": ("starcoder2", _nothing),
}
"""By `general.architecture`: the family that reads the config, and what that has of its own."""


def as_config(header: Header, *, pointer: str) -> Config:
    """Translate a header's metadata into the config of the family that reads it.

    Raises:
        InvalidInput: at `pointer`, where no family reads the architecture.
    """
    name = architecture_name(header)
    if name is None or name not in FAMILIES:
        said = "general.architecture is missing" if name is None else f"No reader for {name!r:.80}"
        detail = f"{said}. Known architectures: {', '.join(FAMILIES)}."
        raise InvalidInput.at(pointer, detail)
    model_type, extra = FAMILIES[name]
    tensors = {tensor.name: tensor for tensor in header.tensors}
    metadata = Metadata(name, header.metadata, frozenset(tensors))
    embedding = tensors.get("token_embd.weight")
    usual = {
        "model_type": model_type,
        "torch_dtype": "float16",
        "tie_word_embeddings": "output.weight" not in tensors,
        "vocab_size": embedding.dimensions[-1] if embedding else _vocabulary(metadata),
        **{field: number for field, key in KEYS.items() if (number := metadata.whole(key))},
        **_rope(metadata),
    }
    drafted = usual.get("num_nextn_predict_layers", 0)
    usual["num_hidden_layers"] = max((metadata.whole("block_count") or 0) - drafted, 0) or None
    return {**usual, "first_k_dense_replace": usual.get("first_k_dense_replace", 0)} | extra(
        metadata, usual
    )


def architecture_name(header: Header) -> str | None:
    """Return `general.architecture`."""
    name = header.metadata.get("general.architecture")
    return name if isinstance(name, str) else None


def _vocabulary(metadata: Metadata) -> int | None:
    tokens = metadata.values.get("tokenizer.ggml.tokens")
    return tokens.count if isinstance(tokens, Entries) else metadata.whole("vocab_size")


def _rope(metadata: Metadata) -> Config:
    kind, factor = metadata.get("rope.scaling.type"), metadata.get("rope.scaling.factor")
    if kind not in ROPE_TYPES or not isinstance(factor, float):
        return {}
    original = metadata.whole("rope.scaling.original_context_length")
    return {
        "rope_scaling": {
            "rope_type": kind,
            "factor": factor,
            "original_max_position_embeddings": original,
        }
    }
