"""One small reader per model family; READERS says which `model_type` each of them reads."""

from collections.abc import Mapping

from rackfit.architecture.families import (
    classic,
    deepseek,
    deepseek_v4,
    ernie_moe,
    gemma4,
    glm4_moe,
    gpt,
    gpt_oss,
    granite_moe,
    hybrid,
    kimi_linear,
    llama4,
    llama_like,
    mimo,
    minimax_m3,
    mixtral,
    multimodal,
    nemotron_h,
    nemotron_nas,
    phi,
    qwen3_5,
    qwen_moe,
    step,
)
from rackfit.architecture.frame import Reader

_LANGUAGE: Mapping[str, Reader] = {
    **classic.READERS,
    **deepseek.READERS,
    **deepseek_v4.READERS,
    **ernie_moe.READERS,
    **gemma4.READERS,
    **glm4_moe.READERS,
    **gpt.READERS,
    **gpt_oss.READERS,
    **granite_moe.READERS,
    **hybrid.READERS,
    **kimi_linear.READERS,
    **llama4.READERS,
    **llama_like.READERS,
    **mimo.READERS,
    **minimax_m3.READERS,
    **mixtral.READERS,
    **nemotron_h.READERS,
    **nemotron_nas.READERS,
    **phi.READERS,
    **qwen3_5.READERS,
    **qwen_moe.READERS,
    **step.READERS,
}
READERS: Mapping[str, Reader] = {**_LANGUAGE, **multimodal.readers(_LANGUAGE)}
