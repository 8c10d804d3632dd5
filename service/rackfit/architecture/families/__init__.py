"""One small reader per model family; READERS says which `model_type` each of them reads."""

from collections.abc import Mapping

from rackfit.architecture.families import (
    deepseek,
    deepseek_v4,
    gemma4,
    glm4_moe,
    gpt_oss,
    llama,
    llama4,
    mixtral,
    multimodal,
    nemotron_h,
    phi,
    qwen3_5,
    qwen_moe,
    step,
)
from rackfit.architecture.frame import Reader

_LANGUAGE: Mapping[str, Reader] = {
    **deepseek.READERS,
    **deepseek_v4.READERS,
    **gemma4.READERS,
    **glm4_moe.READERS,
    **gpt_oss.READERS,
    **llama.READERS,
    **llama4.READERS,
    **mixtral.READERS,
    **nemotron_h.READERS,
    **phi.READERS,
    **qwen3_5.READERS,
    **qwen_moe.READERS,
    **step.READERS,
}
READERS: Mapping[str, Reader] = {**_LANGUAGE, **multimodal.readers(_LANGUAGE)}
