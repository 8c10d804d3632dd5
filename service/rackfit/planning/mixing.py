"""Pipelines over two accelerator types: the first stages on one, the rest on the other.

Layers are divided by memory and speed: no stage is too full, and the slowest is as fast as can be.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import permutations

import msgspec

from rackfit.engines.split import Split
from rackfit.memory.stages import UNBOUNDED, StageMemory, sequences_held
from rackfit.planning.degrees import MAX_REPLICA_DEVICES
from rackfit.planning.evaluation import MAX_REPLICAS, Evaluator
from rackfit.planning.outcomes import Fit, Share, Stages
from rackfit.planning.partitions import Partition, paced
from rackfit.planning.pools import Pool
from rackfit.planning.question import Constraints
from rackfit.planning.search import Findings, legal_tensors, splits_of_size

MOST_STAGES = 16
"""Stages tried; a pipeline of more is slower than what people wait for."""

ROUNDS = 3
"""Times that fuller devices are looked for, as these hold fewer sequences."""


class Side(msgspec.Struct, frozen=True):
    """The stages of one type, on devices of at least so many free bytes."""

    pool: Pool
    stages: int
    level: int


def search_mixed(
    evaluator: Evaluator,
    pools: Sequence[Pool],
    constraints: Constraints,
    findings: Findings,
    expired: Callable[[], bool],
) -> None:
    """Try pipelines over every two types, smallest first; only what fits is kept.

    None where the engine does not mix types, or replicas are to be kept apart.
    """
    packed = constraints.placement == "pack" and constraints.node_loss is None
    if not packed or not evaluator.question.engine.mixes_accelerators:
        return
    scratch = Findings(limit=1, order=findings.order)
    tensors = {
        pool.accelerator.id: set(legal_tensors(evaluator, pool, constraints, scratch))
        for pool in pools
    }
    most = min(constraints.max_accelerators or MAX_REPLICA_DEVICES, MAX_REPLICA_DEVICES)
    for size in range(2, min(most, sum(pool.devices(0) for pool in pools)) + 1):
        for one, other in permutations(pools, 2):
            if findings.settled(size):
                return
            if expired():
                findings.complete = False
                return
            both = tensors[one.accelerator.id] & tensors[other.accelerator.id]
            for split, stages in _splits(evaluator, size, sorted(both), (one, other), constraints):
                fit = _fit(evaluator, split, (one, other), stages)
                if fit is not None and _in_time(fit, constraints, findings):
                    findings.add(fit)


def _splits(
    evaluator: Evaluator,
    size: int,
    tensors: Sequence[int],
    pair: tuple[Pool, Pool],
    constraints: Constraints,
) -> Iterator[tuple[Split, tuple[int, int]]]:
    """Legal splits of `size` devices, and how many of their stages are on either type."""
    layers = len(evaluator.question.model.order)
    for split in splits_of_size(evaluator, size, tensors, constraints):
        if not 1 < split.pipeline <= min(layers, constraints.pipeline or MOST_STAGES):
            continue
        if evaluator.illegal(split) is not None:
            continue
        one, other = (pool.offers(split.cell).cells[-1] // split.data for pool in pair)
        for first in range(max(split.pipeline - other, 1), min(one, split.pipeline - 1) + 1):
            yield split, (first, split.pipeline - first)


def _fit(
    evaluator: Evaluator, split: Split, pair: tuple[Pool, Pool], stages: tuple[int, int]
) -> Fit | None:
    """The fit on the freest devices of both types that are as many as it takes."""
    question, replicas = evaluator.question, 1
    each = split.devices_per_replica // split.pipeline
    room = (
        n * evaluator.bounds.most_held(split, pool) for n, pool in zip(stages, pair, strict=True)
    )
    if evaluator.bounds.least_bytes(split) > each * sum(room):
        return None
    for _ in range(ROUNDS):
        sides = _sides(split, pair, stages, replicas)
        fit = None if sides is None else _on(evaluator, split, sides)
        if fit is None or sides is None:
            return None
        needed = question.replicas or -(-question.sequences // (fit.held * split.data))
        if needed <= replicas:
            return fit
        replicas = needed
    return None


def _sides(
    split: Split, pair: tuple[Pool, Pool], stages: tuple[int, int], replicas: int
) -> tuple[Side, ...] | None:
    """Devices for so many replicas; None where either type has too few."""
    sides = []
    for pool, number in zip(pair, stages, strict=True):
        offers = pool.offers(split.cell)
        place = offers.first(number * split.data * replicas, 0)
        if place is None or pool.devices(0) == 0:
            return None
        sides.append(Side(pool, number, offers.levels[place]))
    return tuple(sides)


def _on(evaluator: Evaluator, split: Split, sides: tuple[Side, ...]) -> Fit | None:
    """The fit on just these devices, as many replicas as it takes."""
    question = evaluator.question
    evaluator.evaluated += 1
    budgets = _budgets(evaluator, split, sides)
    partition = _partition(evaluator, split, sides, budgets)
    if partition is None:
        return None
    stages = _memories(evaluator, split, sides, partition)
    held = sequences_held(stages, budgets)
    held = min(held, question.engine.choice.max_sequences or UNBOUNDED)
    if held < 1:
        return None
    replicas = question.replicas or -(-question.sequences // (held * split.data))
    if held * split.data * replicas < question.sequences or replicas > MAX_REPLICAS:
        return None
    whole = msgspec.structs.replace(split, replicas=replicas)
    if question.most is not None and whole.devices > question.most:
        return None
    distinct = {id(stage): (stage, budget) for stage, budget in zip(stages, budgets, strict=True)}
    counts = tuple(sum(other is stage for other in stages) for stage, _ in distinct.values())
    return Fit(
        split=whole,
        pool=sides[0].pool,
        stages=Stages(stages, tuple(stage for stage, _ in distinct.values()), counts),
        budgets=tuple(budget for _, budget in distinct.values()),
        least_free=sides[0].level,
        held=held,
        partition=partition,
        shares=tuple(Share(side.pool, side.stages, side.level) for side in sides),
    )


def _each(sides: Sequence[Side]) -> Iterator[tuple[int, Side]]:
    """The side of each stage, by its number."""
    yield from enumerate(side for side in sides for _ in range(side.stages))


def _budgets(evaluator: Evaluator, split: Split, sides: Sequence[Side]) -> tuple[int, ...]:
    """What a rank of each stage may take; the engine is given the same share of every device."""
    question = evaluator.question
    engine = question.engine
    given = {engine.utilization(question.start(split, s.pool), s.level) for s in sides}
    if engine.takes_utilization and len(given) > 1:
        engine = engine.given(min(given))
    budgets = []
    for number, side in _each(sides):
        stage = evaluator.sizing.stages(split, side.pool.accelerator, question.tokens).all[number]
        start = question.start(split, side.pool)
        budgets.append(stage.budget_bytes(engine, start, side.level))
    return tuple(budgets)


def _partition(
    evaluator: Evaluator, split: Split, sides: Sequence[Side], budgets: Sequence[int]
) -> Partition | None:
    """Layers on each stage, by what devices hold and how fast they read."""
    tokens, held = evaluator.question.tokens, evaluator.question.least_held(split)
    prepared = {
        side.pool.accelerator.id: evaluator.sizing.prepared(side.pool.accelerator, tokens)
        for side in sides
    }
    loads = [
        max(both)
        for both in zip(
            *(sizes.layer_loads(split, tokens, held) for sizes in prepared.values()), strict=True
        )
    ]
    are_known = all(side.pool.accelerator.memory_bandwidth for side in sides)
    rooms, seconds = [], []
    for number, side in _each(sides):
        part = side.pool.accelerator
        rooms.append(budgets[number] - prepared[part.id].rests(split, tokens)[number])
        seconds.append(1 / part.memory_bandwidth if are_known else 1.0)
    return paced(loads, rooms, seconds)


def _memories(
    evaluator: Evaluator, split: Split, sides: Sequence[Side], partition: Partition
) -> tuple[StageMemory, ...]:
    """Memory of every stage on its own type."""
    tokens = evaluator.question.tokens
    divided = {
        side.pool.accelerator.id: evaluator.sizing.prepared(side.pool.accelerator, tokens)
        .divided(split, tokens, partition)
        .all
        for side in sides
    }
    return tuple(divided[side.pool.accelerator.id][number] for number, side in _each(sides))


def _in_time(fit: Fit, constraints: Constraints, findings: Findings) -> bool:
    """Tell whether a plan keeps within the times that are asked for."""
    first, each = constraints.max_seconds_to_first_token, constraints.max_seconds_per_output_token
    if first is None and each is None:
        return True
    run, seconds = findings.order.run(fit), findings.order.seconds_to_first_token(fit)
    if run is None or seconds is None:
        return False
    slow = each is not None and run.seconds_per_output_token > each
    return not slow and (first is None or seconds <= first)
