"""What the language sections of wrapped models leave out: the library's defaults, as data.

transformers writes a nested section as the difference from its class's defaults, so published
configs leave out even widths (Gemma 3 4B its heads, LLaVA nearly everything). Flat configs hold
all of their fields and get none of these. Source: transformers, the classes' own defaults.
"""

from collections.abc import Mapping

LLAMA = {
    "hidden_size": 4096,
    "intermediate_size": 11_008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "max_position_embeddings": 2048,
    "vocab_size": 32_000,
}
MISTRAL = {
    **LLAMA,
    "intermediate_size": 14_336,
    "max_position_embeddings": 131_072,
    "sliding_window": 4096,
}
QWEN2 = {**LLAMA, "intermediate_size": 22_016, "vocab_size": 151_936}
QWEN2_VL = {
    "hidden_size": 8192,
    "intermediate_size": 29_568,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "max_position_embeddings": 32_768,
    "vocab_size": 152_064,
}
QWEN3_VL = {**QWEN2, "max_position_embeddings": 128_000}
QWEN3_VL_MOE = {
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "moe_intermediate_size": 1408,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "num_experts": 60,
    "num_experts_per_tok": 4,
    "max_position_embeddings": 128_000,
    "vocab_size": 151_936,
}
DELTA_NET = {
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
    "num_attention_heads": 16,
    "max_position_embeddings": 32_768,
    "vocab_size": 248_320,
}
QWEN3_5 = {
    **DELTA_NET,
    "hidden_size": 4096,
    "intermediate_size": 12_288,
    "num_hidden_layers": 32,
}
QWEN3_5_MOE = {
    **DELTA_NET,
    "hidden_size": 2048,
    "moe_intermediate_size": 512,
    "num_experts": 256,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 40,
}
GEMMA3 = {
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
}
GEMMA4 = {**GEMMA3, "num_hidden_layers": 30}
DEEPSEEK_V3 = {
    "hidden_size": 7168,
    "intermediate_size": 18_432,
    "moe_intermediate_size": 2048,
    "num_hidden_layers": 61,
    "num_attention_heads": 128,
    "n_routed_experts": 256,
    "num_experts_per_tok": 8,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "max_position_embeddings": 4096,
    "vocab_size": 129_280,
}
GLM4V = {
    **LLAMA,
    "intermediate_size": 13_696,
    "num_hidden_layers": 40,
    "max_position_embeddings": 32_768,
    "vocab_size": 151_552,
}
GLM4V_MOE = {
    "hidden_size": 4096,
    "intermediate_size": 10_944,
    "moe_intermediate_size": 1408,
    "num_hidden_layers": 46,
    "num_attention_heads": 96,
    "n_routed_experts": 128,
    "num_experts_per_tok": 8,
    "max_position_embeddings": 65_536,
    "vocab_size": 151_424,
}
LLAMA4 = {
    "hidden_size": 5120,
    "intermediate_size": 8192,
    "intermediate_size_mlp": 16_384,
    "num_hidden_layers": 48,
    "num_attention_heads": 40,
    "head_dim": 128,
    "num_local_experts": 16,
    "num_experts_per_tok": 1,
    "max_position_embeddings": 131_072,
    "vocab_size": 202_048,
}
MINIMAX_M3 = {
    "hidden_size": 6144,
    "intermediate_size": 3072,
    "dense_intermediate_size": 12_288,
    "shared_intermediate_size": 3072,
    "num_hidden_layers": 60,
    "num_attention_heads": 64,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "num_local_experts": 128,
    "num_experts_per_tok": 4,
    "max_position_embeddings": 524_288,
    "vocab_size": 200_064,
}
STEP = {
    "hidden_size": 4096,
    "intermediate_size": 11_264,
    "moe_intermediate_size": 1280,
    "num_hidden_layers": 45,
    "num_attention_heads": 64,
    "n_routed_experts": 288,
    "num_experts_per_tok": 8,
    "max_position_embeddings": 128_000,
    "vocab_size": 128_815,
}
DEFAULTS: Mapping[str, Mapping[str, object]] = {
    "deepseek_v3": DEEPSEEK_V3,
    "gemma3_text": GEMMA3,
    "gemma4_text": GEMMA4,
    "glm4v_moe_text": GLM4V_MOE,
    "glm4v_text": GLM4V,
    "llama": LLAMA,
    "llama4_text": LLAMA4,
    "minimax_m3": MINIMAX_M3,
    "mistral": MISTRAL,
    "qwen2": QWEN2,
    "qwen2_vl_text": QWEN2_VL,
    "qwen3_5_moe_text": QWEN3_5_MOE,
    "qwen3_5_text": QWEN3_5,
    "qwen3_vl_moe_text": QWEN3_VL_MOE,
    "qwen3_vl_text": QWEN3_VL,
    "step3p5": STEP,
}
