"""Why the fullest rank is the fullest, and how far each of its terms is known."""

from collections.abc import Sequence

from rackfit.architecture.model import ExpertFeedForward
from rackfit.engines.terms import Term
from rackfit.memory.question import LargestRank, MemoryTerm
from rackfit.memory.rank_order import positions
from rackfit.memory.ranks import RankSizes
from rackfit.memory.reverse import largest_stage
from rackfit.memory.stages import StageMemory

ARITHMETIC = "tensor shapes, their stored format and the split"
LAYOUT = "the engine's cache layout"


def explain(
    sizes: RankSizes, partition: Sequence[int], stages: tuple[StageMemory, ...], sequences: int
) -> tuple[LargestRank, tuple[MemoryTerm, ...]]:
    """Name the fullest rank with its reason, and list its terms; they sum to its total.

    Args:
        sizes: of the split's degrees.
        partition: layers of each stage.
        stages: of the split.
        sequences: those of one data rank.
    """
    number = largest_stage(stages, sequences)
    stage = stages[number]
    at = next(p for p in positions(sizes.split) if p.stage == number)
    largest = LargestRank(
        rank=at.rank, stage=number, reason=_reason(sizes, partition, stages, number)
    )
    return largest, tuple(_terms(sizes, stage, number, sequences))


def _terms(sizes: RankSizes, stage: StageMemory, number: int, sequences: int) -> list[MemoryTerm]:
    split, last = sizes.split, sizes.split.pipeline - 1
    terms = [
        Term("weights", stage.largest_weights_bytes, 0, ARITHMETIC),
        Term("KV cache", sequences * stage.sequence_bytes, 0, LAYOUT),
        *sizes.engine.activation_terms(
            sizes.model, split, sizes.limits, first=number == 0, last=number == last
        ),
        *sizes.engine.overhead_terms(sizes.model, split, sizes.limits),
    ]
    return [_shown(term) for term in terms if term.bytes]


def unbudgeted(sizes: RankSizes) -> tuple[MemoryTerm, ...]:
    """What the engine takes after it has sized its cache."""
    terms = sizes.engine.unbudgeted_terms(sizes.model, sizes.split, sizes.limits)
    return tuple(map(_shown, terms))


def _shown(term: Term) -> MemoryTerm:
    off = int(term.bytes * term.band)
    return MemoryTerm(
        name=term.name,
        bytes=term.bytes,
        known="modelled" if term.band else "exact",
        low_bytes=term.bytes - off,
        high_bytes=term.bytes + off,
        source=term.source,
    )


def _reason(
    sizes: RankSizes, partition: Sequence[int], stages: tuple[StageMemory, ...], number: int
) -> str:
    """What a rank of this stage holds that others do not."""
    split, layers = sizes.split, len(sizes.model.order)
    if split.devices == 1:
        return "It is the only rank."
    parts = [f"{partition[number]} of {layers} layers"]
    if number == 0:
        parts.append("the embedding")
    if number == split.pipeline - 1:
        parts.append("the head")
    if stages[number].extra_expert_bytes:
        parts.append("one expert more than others")
    if split.pipeline == 1 and not stages[number].extra_expert_bytes:
        return "All ranks hold the same."
    experts = sizes.model.architecture.experts
    alike = " and its share of the experts" if isinstance(experts, ExpertFeedForward) else ""
    return f"It holds {', '.join(parts)}{alike}."
