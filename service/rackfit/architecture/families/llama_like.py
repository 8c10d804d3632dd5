"""Llama's relatives: how each dense family differs from it, as data.

Sources: transformers, the models of the same names.
"""

from collections.abc import Mapping
from functools import partial

import msgspec

from rackfit.architecture import windows
from rackfit.architecture.families.llama import (
    AROUND_EACH,
    BEFORE_EACH,
    UNGATED,
    Variant,
    read,
)
from rackfit.architecture.frame import Reader

AFTER_EACH = ("post_attention_layernorm", "post_feedforward_layernorm")
ONE_BEFORE = ("input_layernorm",)
HUNYUAN_NORMS = ("query_layernorm", "key_layernorm")
TIED = {"tie_word_embeddings": True}
WINDOW = {"sliding_window": 4096}
# Published Gemma configs leave out whatever equals transformers' defaults (the 4B's heads).
GEMMA = {
    **TIED,
    "head_dim": 256,
    "max_position_embeddings": 8192,
    "vocab_size": 256_000,
    "sliding_window": 4096,
}
GEMMA2 = {**GEMMA, "num_key_value_heads": 4}
GEMMA3 = {
    **GEMMA,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "max_position_embeddings": 131_072,
    "vocab_size": 262_208,
}
GLM = {"attention_bias": True, "num_key_value_heads": 2}
MISTRAL = Variant(
    bias=False,
    output_bias=False,
    windows=windows.every_layer,
    defaults={"num_key_value_heads": 8},
)
OLMO2 = Variant(query_norm="all", norms=AFTER_EACH)
OLMO3 = msgspec.structs.replace(
    OLMO2, windows=windows.listed(full_every=4), local_rotary=True, defaults=WINDOW
)
QWEN2 = Variant(
    bias=True,
    output_bias=False,
    windows=windows.late_layers,
    defaults={"num_key_value_heads": 32},
)
QWEN2_VL = msgspec.structs.replace(QWEN2, defaults={"num_key_value_heads": 8})
QWEN3 = Variant(
    query_norm="head",
    windows=windows.late_layers,
    defaults={"head_dim": 128, "num_key_value_heads": 32},
)

VARIANTS: Mapping[str, Variant] = {
    "apertus": Variant(
        query_norm="head",
        norms=("attention_layernorm", "feedforward_layernorm"),
        matrices=UNGATED,
        scalars=("act_fn.alpha_p", "act_fn.alpha_n"),
    ),
    "arcee": Variant(matrices=UNGATED),
    "cohere": Variant(
        norms=ONE_BEFORE, query_norm="all", query_norm_switch="use_qk_norm", defaults=TIED
    ),
    "cohere2": Variant(
        norms=ONE_BEFORE, windows=windows.listed(full_every=4), defaults={**TIED, **WINDOW}
    ),
    "cwm": Variant(
        bias=False,
        output_bias=False,
        windows=windows.first_of(every=4),
        defaults={"num_key_value_heads": 8, "sliding_window": 8192},
    ),
    "ernie4_5": Variant(
        bias="use_bias",
        output_bias="use_bias",
        feed_bias="use_bias",
        defaults={**TIED, "head_dim": 128, "num_key_value_heads": 2},
    ),
    "exaone": Variant(defaults={"num_key_value_heads": 8}),
    "exaone4": Variant(
        query_norm="head",
        norms=AFTER_EACH,
        windows=windows.listed(full_every=4),
        defaults={"num_key_value_heads": 32, **WINDOW},
    ),
    "gemma": Variant(defaults={**GEMMA, "num_key_value_heads": 16}),
    "gemma2": Variant(norms=AROUND_EACH, windows=windows.listed(full_every=2), defaults=GEMMA2),
    "gemma3_text": Variant(
        query_norm="head",
        norms=AROUND_EACH,
        windows=windows.listed(full_every=6),
        local_rotary=True,
        defaults=GEMMA3,
    ),
    "glm": Variant(output_bias=False, fused=True, defaults=GLM),
    "glm4": Variant(
        output_bias=False,
        fused=True,
        norms=(*BEFORE_EACH, "post_self_attn_layernorm", "post_mlp_layernorm"),
        defaults=GLM,
    ),
    "glm4v_text": Variant(
        bias=True,
        output_bias=False,
        fused=True,
        norms=(*BEFORE_EACH, "post_self_attn_layernorm", "post_mlp_layernorm"),
        defaults={"num_key_value_heads": 2},
    ),
    "granite": Variant(),
    "hunyuan_v1_dense": Variant(query_norm="head", query_norm_names=HUNYUAN_NORMS),
    "internlm3": Variant(
        bias="qkv_bias",
        output_bias="bias",
        feed_bias="bias",
        defaults={"head_dim": 128, "num_key_value_heads": 2},
    ),
    "iquestcoder": Variant(defaults={"head_dim": 128, "num_key_value_heads": 8}),
    "jais2": Variant(
        matrices=UNGATED, norm_bias=True, defaults={"attention_bias": True, "mlp_bias": True}
    ),
    "llama": Variant(),
    "ministral": msgspec.structs.replace(
        MISTRAL, windows=windows.every_or_listed, defaults={**MISTRAL.defaults, **WINDOW}
    ),
    "ministral3": MISTRAL,
    "mistral": MISTRAL,
    "nemotron": Variant(matrices=UNGATED, norm_bias=True),
    "olmo2": OLMO2,
    "olmo3": OLMO3,
    "qwen2": QWEN2,
    "qwen2_vl_text": QWEN2_VL,
    "qwen3": QWEN3,
    "qwen3_vl_text": QWEN3,
    "seed_oss": Variant(
        output_bias="attention_out_bias",
        defaults={"attention_bias": True, "head_dim": 128, "num_key_value_heads": 8},
    ),
    "smollm3": Variant(windows=windows.late_layers, defaults={**TIED, "num_key_value_heads": 4}),
    "stablelm": Variant(
        bias="use_qkv_bias",
        output_bias=False,
        query_norm="all",
        query_norm_switch="qk_layernorm",
        norm_bias=True,
        parallel="use_parallel_residual",
        defaults={"partial_rotary_factor": 0.25, "num_key_value_heads": 32},
    ),
    "starcoder2": Variant(
        bias="use_bias",
        output_bias="use_bias",
        feed_bias="use_bias",
        norm_bias=True,
        matrices=("c_fc", "c_proj"),
        windows=windows.every_layer,
        defaults={**TIED, "use_bias": True, "num_key_value_heads": 2},
    ),
    "vaultgemma": Variant(
        norms=("input_layernorm", "pre_feedforward_layernorm"),
        windows=windows.listed(full_every=2),
        defaults=GEMMA2,
    ),
}
READERS: Mapping[str, Reader] = {
    model_type: partial(read, variant) for model_type, variant in VARIANTS.items()
}
