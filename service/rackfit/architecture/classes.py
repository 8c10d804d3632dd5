"""The class a config's `model_type` has, for configs that leave out `architectures`.

Engines have tables by the name of the class (SGLang's caches, llama.cpp's converters): the same
model is the same with its name and without. vLLM fills it in likewise (transformers_utils,
config.py). Sources: transformers 5.24, models/auto/modeling_auto.py; for families that it does not
have, or maps to another's class, the published configs.
"""

from rackfit.architecture.families.multimodal import WRAPPERS

SPELLED = {
    "deci": "DeciLMForCausalLM",
    "deepseek_ref": "DeepseekV4ForCausalLM",
    "ernie4_5": "Ernie4_5ForCausalLM",
    "ernie4_5_moe": "Ernie4_5_MoeForCausalLM",
    "gpt2": "GPT2LMHeadModel",
    "gpt_bigcode": "GPTBigCodeForCausalLM",
    "gpt_neox": "GPTNeoXForCausalLM",
    "gptj": "GPTJForCausalLM",
    "granitemoe": "GraniteMoeForCausalLM",
    "granitemoehybrid": "GraniteMoeHybridForCausalLM",
    "granitemoeshared": "GraniteMoeSharedForCausalLM",
    "hunyuan_v1_dense": "HunYuanDenseV1ForCausalLM",
    "hunyuan_v1_moe": "HunYuanMoEV1ForCausalLM",
    "hy_v3": "HYV3ForCausalLM",
    "internlm3": "InternLM3ForCausalLM",
    "iquestcoder": "IQuestCoderForCausalLM",
    "kimi_k2": "DeepseekV3ForCausalLM",
    "kimi_vl": "KimiVLForConditionalGeneration",
    "mimo": "MiMoForCausalLM",
    "mimo_v2_flash": "MiMoV2FlashForCausalLM",
    "minimax": "MiniMaxForCausalLM",
    "minimax_m1": "MiniMaxM1ForCausalLM",
    "minimax_m2": "MiniMaxM2ForCausalLM",
    "minimax_m3": "MiniMaxM3ForCausalLM",
    "minimax_m3_vl": "MiniMaxM3SparseForConditionalGeneration",
    "minimax_text_01": "MiniMaxText01ForCausalLM",
    "nemotron-nas": "DeciLMForCausalLM",
    "opt": "OPTForCausalLM",
    "qwen2_5_vl": "Qwen2_5_VLForConditionalGeneration",
    "qwen2_vl": "Qwen2VLForConditionalGeneration",
    "qwen3_5": "Qwen3_5ForConditionalGeneration",
    "qwen3_5_moe": "Qwen3_5MoeForConditionalGeneration",
    "qwen3_5_moe_text": "Qwen3_5MoeForCausalLM",
    "qwen3_5_text": "Qwen3_5ForCausalLM",
    "qwen3_vl": "Qwen3VLForConditionalGeneration",
    "qwen3_vl_moe": "Qwen3VLMoeForConditionalGeneration",
    "sarvam_mla": "SarvamMLAForCausalLM",
    "sarvam_moe": "SarvamMoEForCausalLM",
    "smollm3": "SmolLM3ForCausalLM",
    "stablelm": "StableLmForCausalLM",
    "step3p7": "Step3p7FlashForCausalLM",
    "vaultgemma": "VaultGemmaForCausalLM",
}
"""Those that do not follow from the `model_type`'s own words."""


def class_of(model_type: str) -> str:
    """Return the name of the class: `gpt_oss` is a `GptOssForCausalLM`."""
    if model_type in SPELLED:
        return SPELLED[model_type]
    stem = "".join(word.capitalize() for word in model_type.removesuffix("_text").split("_"))
    return stem + ("ForConditionalGeneration" if model_type in WRAPPERS else "ForCausalLM")
