"""Which replicas that read prompts hand their caches on to which that write tokens."""

from collections.abc import Callable

import msgspec

from rackfit.catalog.entries import Accelerator
from rackfit.engines.rejection import Rejection
from rackfit.engines.rules import reject
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split
from rackfit.engines.version import Version


class Side(msgspec.Struct, frozen=True):
    """How replicas of one phase are split, and what they run on; None: of any kind."""

    split: Split
    accelerator: Accelerator | None = None


class Handover(msgspec.Struct, frozen=True, kw_only=True):
    """A model whose prompts are read on one side and whose tokens are written on the other.

    Both sides are started with the same options, and so have caches of one type.
    """

    model: ServedModel
    prefill: Side
    decode: Side


PairRule = Callable[[Version, Handover], Rejection | None]
"""What is wrong with two sides together under a version; None where nothing is."""


def unequal(pair: Handover, rule: str, source: str, **numbers: int) -> Rejection:
    """Refuse a pair for degrees that do not go together, each of the `numbers` with its name."""
    return reject(pair.decode.split, "degree-unsupported", rule, source, **numbers)


def tensor_ranks_divide(source: str) -> PairRule:
    """Return the rule that one side has a whole number of the other's tensor ranks for each."""

    def divides(_version: Version, pair: Handover) -> Rejection | None:
        reads, writes = pair.prefill.split.tensor, pair.decode.split.tensor
        if max(reads, writes) % min(reads, writes) == 0:
            return None
        rule = (
            f"TP{reads} to read prompts and TP{writes} to write tokens: the larger must be a "
            "multiple of the smaller, for each rank to find the heads it takes."
        )
        return unequal(pair, rule, source, prefill_tensor=reads, decode_tensor=writes)

    return divides
