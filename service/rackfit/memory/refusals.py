"""What is asked of memory that cannot be had: wrong options, too many ranks, too little room."""

from rackfit.engines.interface import Engine
from rackfit.engines.rejection import Rejection, RejectionCode
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split
from rackfit.errors import InvalidInput
from rackfit.memory.question import RankMemory, gib

MAX_RANKS = 16_384


def check_options(model: ServedModel, engine: Engine) -> None:
    """Refuse options that need what the model does not have.

    Raises:
        InvalidInput: at `/engine/speculative_tokens` or `/engine/redundant_experts`.
    """
    if engine.choice.redundant_experts and model.architecture.experts is None:
        detail = "This model has no experts to hold twice; leave it out."
        raise InvalidInput.at("/engine/redundant_experts", detail)
    if engine.choice.speculative_tokens and not model.architecture.draft_layers:
        detail = "This model has no multi-token-prediction layers to draft with; leave it out."
        raise InvalidInput.at("/engine/speculative_tokens", detail)


def check_ranks(split: Split) -> None:
    """Refuse a split of more ranks than are listed.

    Raises:
        InvalidInput: at `/split`.
    """
    if split.devices > MAX_RANKS:
        detail = f"A split has at most {MAX_RANKS:,} ranks here, this one {split.devices:,}."
        raise InvalidInput.at("/split", detail)


def partition_asked(
    layers: tuple[int, ...] | None, model: ServedModel, engine: Engine, split: Split
) -> tuple[int, ...]:
    """Return the layers of each stage: the engine's own division, or another it can be told.

    Raises:
        InvalidInput: at `/layers_by_stage`.
    """
    if layers is None:
        return engine.partition(len(model.order), split.pipeline)
    if not engine.takes_layers:
        detail = f"{engine.name} divides the layers itself: leave this out."
        raise InvalidInput.at("/layers_by_stage", detail)
    if (len(layers), sum(layers)) != (split.pipeline, len(model.order)):
        detail = (
            f"These are {len(layers):,} stages of {sum(layers):,} layers in all; the split has "
            f"{split.pipeline:,} stages and the model {len(model.order):,} layers."
        )
        raise InvalidInput.at("/layers_by_stage", detail)
    return layers


def sequence_limit(split: Split, sequences: int, most: int) -> Rejection:
    """Reject a split whose data ranks must hold more sequences than the engine is started for."""
    return Rejection(
        split=split,
        code="sequence-limit",
        detail=(
            f"Each data rank would hold {sequences:,} sequences at once; the engine is "
            f"started for {most:,} (max_sequences)."
        ),
        numbers={"sequences": sequences, "max_sequences": most},
        source="the request's own engine.max_sequences",
    )


def memory_rejection(split: Split, rank: RankMemory) -> Rejection | None:
    """Reject a split whose fullest rank exceeds its budget; None where it fits."""
    budget = rank.budget_bytes or 0
    fixed = rank.total_bytes - rank.kv_cache_bytes
    if rank.total_bytes <= budget:
        return None
    code: RejectionCode = "weights-exceed-memory" if fixed > budget else "memory-exceeded"
    needed, what = (
        (fixed, "weights and the engine alone take")
        if fixed > budget
        else (rank.total_bytes, "weights, KV cache and the engine take")
    )
    return Rejection(
        split=split,
        code=code,
        detail=(
            f"On the fullest rank {what} {gib(needed)} GiB; the engine may use "
            f"{gib(budget)} GiB of the device."
        ),
        numbers={
            "rank": rank.rank,
            "stage": rank.stage,
            "weights_bytes": rank.weights_bytes,
            "kv_cache_bytes": rank.kv_cache_bytes,
            "activation_bytes": rank.activation_bytes,
            "overhead_bytes": rank.overhead_bytes,
            "total_bytes": rank.total_bytes,
            "budget_bytes": budget,
            "short_bytes": rank.total_bytes - budget,
        },
        source="the memory of this device and what the engine may use of it",
    )
