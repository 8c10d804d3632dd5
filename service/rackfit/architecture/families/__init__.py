"""One small reader per model family; READERS says which `model_type` each of them reads."""

from collections.abc import Mapping

from rackfit.architecture.families import (
    deepseek,
    deepseek_v4,
    glm4_moe,
    gpt_oss,
    llama,
    llama4,
    mixtral,
    qwen3_5,
    qwen_moe,
)
from rackfit.architecture.frame import Reader

READERS: Mapping[str, Reader] = {
    **deepseek.READERS,
    **deepseek_v4.READERS,
    **glm4_moe.READERS,
    **gpt_oss.READERS,
    **llama.READERS,
    **llama4.READERS,
    **mixtral.READERS,
    **qwen3_5.READERS,
    **qwen_moe.READERS,
}
