"""Which replicas that read prompts hand their caches on to which that write tokens."""

from collections.abc import Callable

from rackfit.engines.rejection import Rejection
from rackfit.engines.rules import reject
from rackfit.engines.split import Split

PairRule = Callable[[Split, Split], Rejection | None]
"""What is wrong with a prefill and a decode split together; None where nothing is."""


def stages_match_or_one(prefill: Split, decode: Split) -> Rejection | None:
    """SGLang: decode replicas have as many stages as prefill replicas, or one."""
    if decode.pipeline in {1, prefill.pipeline}:
        return None
    return reject(
        decode,
        "degree-unsupported",
        "SGLang's decode replicas have as many pipeline stages as its prefill replicas, or one.",
        "sglang/srt/disaggregation/common/conn.py, _resolve_rank_mapping",
        prefill_pipeline=prefill.pipeline,
        decode_pipeline=decode.pipeline,
    )


def context_on_one_side(prefill: Split, decode: Split) -> Rejection | None:
    """SGLang: caches divided while tokens are written come of prompts that were not divided."""
    if prefill.context == 1 or decode.decode_context == 1:
        return None
    return reject(
        decode,
        "degree-unsupported",
        "SGLang does not divide the cache over decode ranks (decode_context) where context ranks "
        "read the prompts.",
        "sglang/srt/disaggregation/common/conn.py, PD decode DCP",
        prefill_context=prefill.context,
        decode_context=decode.decode_context,
    )


def no_stages(prefill: Split, decode: Split) -> Rejection | None:
    """vLLM: NixlConnector pulls what the first stage has, and serves no decode stages."""
    if prefill.pipeline == decode.pipeline == 1:
        return None
    return reject(
        decode if prefill.pipeline == 1 else prefill,
        "degree-unsupported",
        "vLLM's NixlConnector hands caches on between replicas of one pipeline stage.",
        "vllm/distributed/kv_transfer/kv_connector/v1/nixl: base_worker.py, pull_worker.py",
        prefill_pipeline=prefill.pipeline,
        decode_pipeline=decode.pipeline,
    )
