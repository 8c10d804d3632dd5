"""Files of options, as TensorRT-LLM reads them."""

from collections.abc import Iterator
from typing import Any

import msgspec

from rackfit.engines.choice import EngineChoice
from rackfit.engines.launch import Launched, Phase
from rackfit.engines.tensorrt_llm.chunking import reads_at_once

QUANTIZED_CACHES = ("fp8", "nvfp4")  # KvCacheConfig.dtype beside "auto"


def options_file(phase: Phase) -> str:
    """Name the file of a plan's options.

    Replicas of both phases may start in one folder, and theirs differ.
    """
    return "trtllm-options.yaml" if phase == "both" else f"trtllm-options-{phase}.yaml"


def as_yaml(options: dict[str, Any]) -> str:
    """JSON, with the blank behind a colon that YAML wants and JSON may leave out."""
    return msgspec.json.format(msgspec.json.encode(options), indent=0).decode()


def sections(
    launched: Launched, choice: EngineChoice, step: int, block_tokens: int
) -> Iterator[tuple[str, bool | int | dict[str, Any]]]:
    """Sections of the file, of an engine that takes a `step` of tokens at once.

    Sources: examples/wide_ep/README.md for redundant experts, examples/disaggregated for
    replicas of one phase, docs/source/features/helix.md for context ranks.
    """
    experts = launched.model.architecture.experts
    if launched.split.data > 1:
        yield "enable_attention_dp", True
    if cache := dict(_cache_options(launched, block_tokens)):
        yield "kv_cache_config", {**cache, "free_gpu_memory_fraction": launched.utilization}
    if (ranks := launched.split.context) > 1:
        yield "context_parallel_size", ranks
        yield "cp_config", {"cp_type": "HELIX", "tokens_per_block": block_tokens}
    if count := choice.speculative_tokens:
        mtp = {"decoding_type": "MTP", "num_nextn_predict_layers": count}
        yield "speculative_config", mtp
    if experts and (redundant := choice.redundant_experts):
        slots = {"num_slots": experts.experts + redundant, "layer_updates_per_iter": 1}
        yield "moe_config", {"backend": "WIDEEP", "load_balancer": slots}
    if _chunks_prompts(launched, step):
        yield "enable_chunked_prefill", True
    if launched.phase != "both":
        yield "cache_transceiver_config", {"backend": "DEFAULT"}
    if launched.phase == "prefill":
        yield "disable_overlap_scheduler", True


def _chunks_prompts(launched: Launched, step: int) -> bool:
    """Whether a prompt may be longer than a step, which is refused where it is not divided.

    That is never asked of replicas that only write (llmapi/llm.py, _check_arguments).
    """
    longer = launched.phase != "decode" and launched.context_tokens > step
    return longer and not reads_at_once(launched)


def _cache_options(launched: Launched, block_tokens: int) -> Iterator[tuple[str, bool | int | str]]:
    """What the cache's section must say; Helix as in the engine's own test of it.

    Source: tests/integration/defs/accuracy/test_disaggregated_serving.py.
    """
    dtype = launched.model.kv_cache_dtype
    if dtype in QUANTIZED_CACHES:
        yield "dtype", dtype
    if launched.split.context > 1:
        yield "tokens_per_block", block_tokens
        yield "enable_block_reuse", False
