"""Which sides SGLang hands caches on between.

Source: sglang/srt/disaggregation/common/conn.py of 0.5.23 (_resolve_rank_mapping and what stands
before it).
"""

from rackfit.engines.pairs import Handover, PairRule, tensor_ranks_divide, unequal
from rackfit.engines.rejection import Rejection
from rackfit.engines.rules import reject
from rackfit.engines.sglang.paging import page_tokens
from rackfit.engines.terms import kernels
from rackfit.engines.version import Version

RANKS = "sglang/srt/disaggregation/common/conn.py, _resolve_rank_mapping"
CHECKS = "sglang/srt/disaggregation/common/conn.py: sanity checks"


def stages_match_or_one(_version: Version, pair: Handover) -> Rejection | None:
    """Decode replicas have as many stages as prefill replicas, or one."""
    reads, writes = pair.prefill.split.pipeline, pair.decode.split.pipeline
    if writes in {1, reads}:
        return None
    rule = "SGLang's decode replicas have as many pipeline stages as its prefill replicas, or one."
    return unequal(pair, rule, RANKS, prefill_pipeline=reads, decode_pipeline=writes)


def context_on_one_side(_version: Version, pair: Handover) -> Rejection | None:
    """Caches divided while tokens are written come of prompts that were not divided."""
    reads, writes = pair.prefill.split.context, pair.decode.split.decode_context
    if 1 in {reads, writes}:
        return None
    rule = (
        "SGLang does not divide the cache over decode ranks (decode_context) where context ranks "
        "read the prompts."
    )
    return unequal(pair, rule, CHECKS, prefill_context=reads, decode_context=writes)


def pages_alike(_version: Version, pair: Handover) -> Rejection | None:
    """Both sides keep pages of one size, which the kernels of each side's devices decide."""
    sizes = []
    for side in (pair.prefill, pair.decode):
        if side.accelerator is None or not side.accelerator.generation:
            return None
        sizes.append(page_tokens(pair.model, kernels(side.accelerator)))
    reads, writes = sizes
    if reads == writes:
        return None
    rule = (
        f"SGLang's pages are of {reads} tokens on the devices that read prompts and of {writes} on "
        "those that write tokens; both sides must have the same."
    )
    numbers = {"prefill_page_tokens": reads, "decode_page_tokens": writes}
    return reject(pair.decode.split, "hardware-unsupported", rule, CHECKS, **numbers)


PAIR_RULES: tuple[PairRule, ...] = (
    stages_match_or_one,
    context_on_one_side,
    tensor_ranks_divide(RANKS),
    pages_alike,
)
"""All of them, in the order they are reported."""
