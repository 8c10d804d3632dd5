"""Arguments of `python -m sglang.launch_server`.

Source: sglang/srt/server_args.py.
"""

from collections.abc import Iterator

from rackfit.architecture.model import LatentAttention
from rackfit.engines.choice import EngineChoice
from rackfit.engines.launch import Launched, degree, flags
from rackfit.engines.served import ServedModel
from rackfit.engines.sglang.context import reading_arguments
from rackfit.engines.sglang.experts import by_marlin
from rackfit.engines.split import Split
from rackfit.engines.version import Version


def server_arguments(version: Version, launched: Launched, choice: EngineChoice) -> tuple[str, ...]:
    """What every node of a plan is started with."""
    split, model = launched.split, launched.model
    arguments = flags(
        tp_size=split.stage_ranks,
        pp_size=degree(split.pipeline),
        dp_size=degree(split.data),
        attn_cp_size=degree(split.context),
        ep_size=degree(split.expert),
        decode_context_parallel_size=degree(split.decode_context),
        context_length=launched.context_tokens,
        max_running_requests=choice.max_sequences,
        chunked_prefill_size=choice.max_batched_tokens,
        mem_fraction_static=launched.utilization,
        kv_cache_dtype=_cache_argument(model),
        quantization="fp8" if model.scheme and model.scheme.id == "fp8" else None,
        ep_num_redundant_experts=choice.redundant_experts or None,
        moe_runner_backend="marlin" if by_marlin(version, model, launched.generation) else None,
        disaggregation_mode=None if launched.phase == "both" else launched.phase,
    )
    return (*arguments, *_optional(version, model, split, choice))


def _optional(
    version: Version, model: ServedModel, split: Split, choice: EngineChoice
) -> Iterator[str]:
    if split.context > 1:
        yield from reading_arguments(version, model)
    if split.data > 1:
        yield "--enable-dp-attention"
    if choice.speculative_tokens:
        yield "--speculative-algorithm=NEXTN"
        yield f"--speculative-num-draft-tokens={choice.speculative_tokens + 1}"
    if choice.lora_slots:
        yield "--enable-lora"
        slots = choice.lora_slots
        yield from flags(max_loras_per_batch=slots, max_lora_rank=choice.lora_rank)


def _cache_argument(model: ServedModel) -> str | None:
    """`--kv-cache-dtype`, where it is not the default: of sparse latent rows by the device.

    Source: sglang/srt/arg_groups/overrides.py, _dsa_kv_cache_dtype_default (fp8 on Blackwell).
    """
    if model.kv_cache_dtype == "fp8":
        return "fp8_e4m3"
    kinds = [kind.attention for kind in model.kinds]
    sparse = any(isinstance(kind, LatentAttention) and kind.top_k for kind in kinds)
    other = model.kv_cache_dtype == "bf16" != model.dtype
    return "bfloat16" if sparse or other else None
