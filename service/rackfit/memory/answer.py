"""`POST /v1/memory`: one device, or every rank of a split, and whether an accelerator holds it."""

from collections.abc import Iterator, Sequence

import msgspec

from rackfit.catalog import Catalog
from rackfit.catalog.entries import Accelerator
from rackfit.engines.interface import Engine
from rackfit.engines.rejection import Rejection
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split
from rackfit.engines.start import Start
from rackfit.engines.terms import Fixed
from rackfit.errors import InvalidInput
from rackfit.memory.explanation import explain, unbudgeted
from rackfit.memory.question import (
    CARD_OVERHEAD,
    Fits,
    MemoryAnswer,
    MemoryRequest,
    Method,
    RankMemory,
    Reach,
)
from rackfit.memory.rank_order import positions
from rackfit.memory.ranks import RankSizes
from rackfit.memory.refusals import (
    check_options,
    check_ranks,
    memory_rejection,
    partition_asked,
    sequence_limit,
)
from rackfit.memory.resolve import Resolved, check_context, resolve_request, rule_scheme
from rackfit.memory.reverse import (
    PER_MILLE,
    Deployment,
    longest_context,
    smallest_utilization,
)
from rackfit.memory.rule_of_thumb import RuleOfThumb, rule_of_thumb, token_bytes
from rackfit.memory.stages import (
    RankLoad,
    StageMemory,
    capacity,
    sequences_per_rank,
    stage_memories,
)

CONSUMER_BYTES = 24 << 30
DATACENTER_BYTES = 80 << 30


def answer_memory(
    request: MemoryRequest, catalog: Catalog, *, device_reserve: float
) -> MemoryAnswer:
    """Answer how much memory a model takes.

    Raises:
        InvalidInput: the request contradicts the catalog or itself.
    """
    engine, resolved = resolve_request(request, catalog, device_reserve)
    check_context(request.workload, resolved.model.architecture)
    accelerator, notes = _accelerator(request, catalog)
    if request.method == "rule-of-thumb":
        return _by_rule(request, resolved, catalog, (engine, accelerator), notes)
    return _by_architecture(request, resolved, engine, accelerator, notes)


def _accelerator(
    request: MemoryRequest, catalog: Catalog
) -> tuple[Accelerator | None, tuple[str, ...]]:
    if request.accelerator is None or isinstance(request.accelerator, Accelerator):
        return request.accelerator, ()
    return catalog.accelerator(request.accelerator, "/accelerator")


def _by_rule(
    request: MemoryRequest,
    resolved: Resolved,
    catalog: Catalog,
    host: tuple[Engine, Accelerator | None],
    notes: tuple[str, ...],
) -> MemoryAnswer:
    engine, accelerator = host
    if request.split is not None and request.split.devices > 1:
        raise InvalidInput.at("/split", "The rule of thumb knows no splits: leave `split` out.")
    if request.layers_by_stage is not None:
        raise InvalidInput.at(
            "/layers_by_stage", "The rule of thumb knows no stages: leave it out."
        )
    scheme = rule_scheme(resolved, catalog)
    tokens = request.workload.context_tokens * request.workload.sequences
    parts = rule_of_thumb(resolved.model, scheme, overhead=request.overhead, tokens=tokens)
    fixed = Fixed(weights=parts.weights_bytes, activation=0, overhead=parts.overhead_bytes)
    budget = None
    if accelerator is not None:
        start = Start(resolved.model, accelerator, Split(), request.workload.context_tokens)
        budget = engine.budget_bytes(start, start.usable, fixed)
    rank = _rule_rank(parts, int(token_bytes(resolved.model)), budget)
    rejections = [] if budget is None else _shortages(Split(), [rank])
    answer = _summed([rank], "rule-of-thumb", (*resolved.warnings, *notes))
    return _judged(answer, rejections) if budget is not None else answer


def unused_overhead(method: Method, overhead: float) -> tuple[str, ...]:
    """Warn of an overhead that the method asked for has no use for."""
    if method == "rule-of-thumb" or overhead == CARD_OVERHEAD:
        return ()
    return ("`overhead` is the rule of thumb's: counted by architecture it changes nothing.",)


def _rule_rank(parts: RuleOfThumb, per_token: int, budget: int | None) -> RankMemory:
    return RankMemory(
        rank=0,
        stage=0,
        weights_bytes=parts.weights_bytes,
        kv_cache_bytes=parts.kv_cache_bytes,
        activation_bytes=0,
        overhead_bytes=parts.overhead_bytes,
        total_bytes=parts.total_bytes,
        kv_cache_bytes_per_token=per_token,
        budget_bytes=budget,
    )


def _by_architecture(
    request: MemoryRequest,
    resolved: Resolved,
    engine: Engine,
    accelerator: Accelerator | None,
    notes: tuple[str, ...],
) -> MemoryAnswer:
    split = request.split or Split()
    check_ranks(split)
    check_options(resolved.model, engine)
    partition = partition_asked(request.layers_by_stage, resolved.model, engine, split)
    tokens = request.workload.context_tokens
    sizes = RankSizes(resolved.model, engine, split, engine.limits(accelerator, tokens))
    stages = stage_memories(sizes, split, tokens, partition)
    held = sequences_per_rank(split, request.workload.sequences)
    largest, terms = explain(sizes, partition, stages, held)
    answer = msgspec.structs.replace(
        _summed(
            rank_memories(sizes, stages, held, accelerator),
            "architecture",
            (
                *resolved.warnings,
                *engine.warnings(),
                *engine.notes(split),
                *unused_overhead(request.method, request.overhead),
                *notes,
            ),
        ),
        largest_rank=largest,
        terms=terms,
        unbudgeted_terms=unbudgeted(sizes),
    )
    refused = [*engine.rejections(resolved.model, split)]
    if accelerator is not None:
        refused += engine.unsupported(resolved.model, split, accelerator)
    rejections = [*refused, *_too_many(engine, split, held)]
    if accelerator is None:
        return _judged(answer, rejections) if rejections else answer
    deployment = Deployment(
        sizes=sizes,
        split=split,
        partition=partition,
        stages=stages,
        accelerator=accelerator,
        sequences=held,
        context_tokens=tokens,
    )
    room = capacity(engine, split, stages, deployment.budgets, tokens)
    return msgspec.structs.replace(
        _judged(answer, rejections + _shortages(split, answer.ranks)),
        capacity=room,
        reach=_reach(
            deployment,
            resolved.model,
            most_sequences=0 if refused else room.sequences,
            refused=bool(rejections),
        ),
    )


def _reach(
    deployment: Deployment, model: ServedModel, *, most_sequences: int, refused: bool
) -> Reach:
    """The questions turned round; of what the engine does not start there is no answer."""
    if refused:
        return Reach(
            longest_context_tokens=0,
            most_sequences=most_sequences,
            smallest_gpu_memory_utilization=None,
        )
    share = smallest_utilization(deployment)
    return Reach(
        longest_context_tokens=longest_context(deployment, model.architecture.context_tokens),
        most_sequences=most_sequences,
        smallest_gpu_memory_utilization=None if share is None else share / PER_MILLE,
    )


def _too_many(engine: Engine, split: Split, sequences: int) -> Iterator[Rejection]:
    """Refuse more sequences on a data rank than the engine is started for."""
    most = engine.choice.max_sequences
    if most is not None and sequences > most:
        yield sequence_limit(split, sequences, most)


def rank_memories(
    sizes: RankSizes,
    stages: Sequence[StageMemory],
    sequences: int,
    accelerator: Accelerator | None,
) -> list[RankMemory]:
    """Every rank's memory, `sequences` being those of one data rank."""
    split, experts = sizes.split, sizes.model.architecture.experts
    slots = experts.experts + sizes.engine.choice.redundant_experts if experts else 0
    budgets: list[int | None] = [None] * len(stages)
    if accelerator is not None:
        starts = (Start(sizes.model, accelerator, split, stage.tokens) for stage in stages)
        pairs = zip(stages, starts, strict=True)
        budgets = [stage.budget_bytes(sizes.engine, s, s.usable) for stage, s in pairs]
    return [
        stages[at.stage].rank_memory(
            RankLoad(
                rank=at.rank,
                stage=at.stage,
                sequences=sequences,
                extra_expert=at.expert < slots % split.expert,
                budget_bytes=budgets[at.stage],
            )
        )
        for at in positions(split)
    ]


def _shortages(split: Split, ranks: Sequence[RankMemory]) -> list[Rejection]:
    worst = max(ranks, key=lambda rank: rank.total_bytes - (rank.budget_bytes or 0))
    rejection = memory_rejection(split, worst)
    return [] if rejection is None else [rejection]


def _summed(ranks: Sequence[RankMemory], method: str, warnings: tuple[str, ...]) -> MemoryAnswer:
    total = sum(rank.total_bytes for rank in ranks)
    return MemoryAnswer(
        total_bytes=total,
        weights_bytes=sum(rank.weights_bytes for rank in ranks),
        kv_cache_bytes=sum(rank.kv_cache_bytes for rank in ranks),
        activation_bytes=sum(rank.activation_bytes for rank in ranks),
        overhead_bytes=sum(rank.overhead_bytes for rank in ranks),
        fits=fits(total),
        ranks=tuple(ranks),
        method="rule-of-thumb" if method == "rule-of-thumb" else "architecture",
        warnings=warnings,
    )


def _judged(answer: MemoryAnswer, rejections: list[Rejection]) -> MemoryAnswer:
    return msgspec.structs.replace(answer, feasible=not rejections, rejections=tuple(rejections))


def fits(total: int) -> Fits:
    """The smallest class of hardware that holds `total` bytes."""
    consumer = total <= CONSUMER_BYTES
    datacenter = not consumer and total <= DATACENTER_BYTES
    return Fits(consumer, datacenter, not consumer and not datacenter)
