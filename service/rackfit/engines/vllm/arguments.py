"""Arguments of `vllm serve`.

Source: vllm/engine/arg_utils.py.
"""

from collections.abc import Iterator

from rackfit.engines.choice import EngineChoice
from rackfit.engines.launch import Launched, degree, flags
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split
from rackfit.engines.vllm.cache_types import TOLD
from rackfit.engines.vllm.phases import NIXL_CONFIG

ONLINE = {"fp8": "fp8", "bnb-nf4": "bitsandbytes", "bnb-int8": "bitsandbytes"}
"""Schemes a plain checkpoint is converted to while loading; others need one stored so."""


def server_arguments(launched: Launched, choice: EngineChoice) -> tuple[str, ...]:
    """What every node of a plan is started with."""
    split, model = launched.split, launched.model
    arguments = flags(
        tensor_parallel_size=split.tensor,
        pipeline_parallel_size=degree(split.pipeline),
        data_parallel_size=degree(split.data),
        decode_context_parallel_size=degree(split.decode_context),
        max_model_len=launched.context_tokens,
        max_num_seqs=choice.max_sequences,
        max_num_batched_tokens=choice.max_batched_tokens,
        gpu_memory_utilization=launched.utilization,
        kv_cache_dtype=_cache_argument(model),
        quantization=ONLINE.get(model.scheme.id) if model.scheme else None,
    )
    handing_on = () if launched.phase == "both" else (f"--kv-transfer-config={NIXL_CONFIG}",)
    return (*arguments, *_optional(split, choice), *handing_on)


def _optional(split: Split, choice: EngineChoice) -> Iterator[str]:
    if split.expert > 1:
        yield "--enable-expert-parallel"
    if choice.redundant_experts:
        yield "--enable-eplb"
        yield f'--eplb-config={{"num_redundant_experts": {choice.redundant_experts}}}'
    if choice.speculative_tokens:
        count = choice.speculative_tokens
        yield f'--speculative-config={{"method": "mtp", "num_speculative_tokens": {count}}}'
    if choice.lora_slots:
        yield "--enable-lora"
        yield from flags(max_loras=choice.lora_slots, max_lora_rank=choice.lora_rank)


def _cache_argument(model: ServedModel) -> str | None:
    """`--kv-cache-dtype`, where "auto" would make it another type: always for fp8."""
    own = model.kv_cache_dtype == model.dtype or model.kv_cache_dtype not in TOLD
    return None if own else TOLD[model.kv_cache_dtype][0]
