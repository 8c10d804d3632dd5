"""Tokens of a page of SGLang's cache: what the kernels of attention that it chooses work on.

Source: sglang/srt/arg_groups/overrides.py (_page_size_default and those of the kernels),
model_override_base.py (get_default_attn_backend) and model_overrides/deepseek_v2.py of 0.5.23;
server_args.py of 0.5.9 and 0.5.14 has the same.
"""

from rackfit.architecture.model import GroupedAttention, LatentAttention, RecurrentAttention
from rackfit.engines.hardware import BLACKWELL
from rackfit.engines.served import ServedModel

SINGLE, PAGE, UNEQUAL_PAGE = 1, 64, 128
"""By default; for an indexer's keys and TensorRT-LLM's kernels; for FlashAttention 4, whose keys
and values differ in width."""

TRTLLM_LATENT = frozenset({"DeepseekV3ForCausalLM"})
"""Latent models that have TensorRT-LLM's kernels on Blackwell; the others have FlashInfer's."""


def page_tokens(model: ServedModel, generation: str) -> int:
    """Tokens of a page; TensorRT-LLM's kernels are for SM100 alone."""
    kinds = [kind.attention for kind in model.kinds]
    pools = [one.indexer.pool for one in kinds if isinstance(one, LatentAttention) and one.indexer]
    if pools:
        return PAGE * max(pools)  # whole pools on a page
    if generation not in BLACKWELL:
        return SINGLE
    if any(isinstance(one, RecurrentAttention) for one in kinds):
        return SINGLE
    if any(isinstance(one, LatentAttention) for one in kinds):
        return PAGE if model.architecture.name in TRTLLM_LATENT else SINGLE
    grouped = [one for one in kinds if isinstance(one, GroupedAttention)]
    unequal = any(one.key_width != one.value_width for one in grouped)
    return UNEQUAL_PAGE if unequal else PAGE
