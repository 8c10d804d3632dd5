"""Which sides TensorRT-LLM hands caches on between.

Source: cpp/tensorrt_llm/executor/cache_transmission (targetIRanks), which compares ranks of an
attention DP group on both sides.
"""

from rackfit.engines.pairs import Handover, PairRule, unequal
from rackfit.engines.rejection import Rejection
from rackfit.engines.version import Version

RANKS = "TensorRT-LLM executor/cache_transmission, targetIRanks: isPowerOfTwo"


def powers_of_two(_version: Version, pair: Handover) -> Rejection | None:
    """Tensor and context ranks of both sides are powers of two."""
    splits = pair.prefill.split, pair.decode.split
    degrees = [degree for split in splits for degree in (split.tensor, split.context)]
    if all(degree & (degree - 1) == 0 for degree in degrees):
        return None
    reads, writes = (split.tensor for split in splits)
    rule = (
        f"TP{reads} to read prompts and TP{writes} to write tokens: TensorRT-LLM hands caches on "
        "between tensor ranks, and context ranks, that are powers of two on both sides."
    )
    return unequal(pair, rule, RANKS, prefill_tensor=reads, decode_tensor=writes)


PAIR_RULES: tuple[PairRule, ...] = (powers_of_two,)
"""All of them."""
