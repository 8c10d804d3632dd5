"""Pipelines over two accelerator types: the first stages on one, the rest on the other.

Layers are divided by memory and speed: no stage is too full, and the slowest is as fast as can be.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import permutations

import msgspec

from rackfit.engines.split import Split
from rackfit.memory.stages import UNBOUNDED, StageMemory, sequences_held
from rackfit.planning.degrees import MAX_REPLICA_DEVICES, divisors, expert_degrees
from rackfit.planning.evaluation import MAX_REPLICAS, Evaluator
from rackfit.planning.outcomes import Fit, Share, Stages
from rackfit.planning.partitions import Partition, paced
from rackfit.planning.pools import Pool
from rackfit.planning.question import Constraints
from rackfit.planning.search import Findings, legal_tensors

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
    """Try pipelines over every two types, smallest first; only what fits is kept."""
    if not evaluator.question.engine.mixes_accelerators or constraints.pipeline == 1:
        return
    tried = (
        (split, pair, stages)
        for pair in permutations(pools, 2)
        for split, stages in _splits(evaluator, pair, constraints, findings)
    )
    for split, pair, stages in sorted(tried, key=lambda each: each[0].devices_per_replica):
        if findings.settled(split.devices_per_replica):
            return
        if expired():
            findings.complete = False
            return
        fit = _fit(evaluator, split, pair, stages)
        if fit is not None and _in_time(fit, constraints, findings):
            findings.add(fit)


def _splits(
    evaluator: Evaluator,
    pair: tuple[Pool, Pool],
    constraints: Constraints,
    findings: Findings,
) -> Iterator[tuple[Split, tuple[int, int]]]:
    """Legal splits, and how many of their stages are on either type."""
    scratch = Findings(limit=1, order=findings.order)
    one, other = (set(legal_tensors(evaluator, pool, constraints, scratch)) for pool in pair)
    for tensor in sorted(one & other):
        cells = [pool.offers(tensor).cells[-1] for pool in pair]
        for data, expert in _degrees(evaluator, tensor, min(cells), constraints):
            most = [number // data for number in cells]
            for stages in _stages(most, len(evaluator.question.model.order), constraints):
                split = Split(tensor=tensor, pipeline=sum(stages), data=data, expert=expert)
                small = split.devices_per_replica <= MAX_REPLICA_DEVICES
                if small and evaluator.illegal(split) is None:
                    yield split, stages


def _degrees(
    evaluator: Evaluator, tensor: int, cells: int, constraints: Constraints
) -> Iterator[tuple[int, int]]:
    """Data and expert degrees; dense models are multiplied by replicas instead of data ranks."""
    mixture = evaluator.question.model.architecture.experts
    experts = mixture.experts if mixture else 0
    datas = [constraints.data] if constraints.data else divisors(MOST_STAGES) if experts else (1,)
    for data in datas:
        if data <= cells:
            for expert in expert_degrees(tensor * data, constraints, experts):
                yield data, expert


def _stages(
    most: Sequence[int], layers: int, constraints: Constraints
) -> Iterator[tuple[int, int]]:
    for first in range(1, most[0] + 1):
        for second in range(1, most[1] + 1):
            total = first + second
            wanted = constraints.pipeline in {None, total}
            if wanted and total <= min(layers, constraints.pipeline or MOST_STAGES):
                yield first, second


def _fit(
    evaluator: Evaluator, split: Split, pair: tuple[Pool, Pool], stages: tuple[int, int]
) -> Fit | None:
    """The fit on the freest devices of both types that are as many as it takes."""
    question, replicas = evaluator.question, 1
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
        offers = pool.offers(split.tensor)
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
    engine = evaluator.question.engine
    given = {engine.utilization(s.pool.accelerator.usable_bytes, s.level, split) for s in sides}
    if engine.takes_utilization and len(given) > 1:
        engine = engine.given(min(given))
    budgets = []
    for number, side in _each(sides):
        part, tokens = side.pool.accelerator, evaluator.question.tokens
        stage = evaluator.sizing.stages(split, part, tokens).all[number]
        budgets.append(stage.budget_bytes(engine, split, part.usable_bytes, side.level))
    return tuple(budgets)


def _partition(
    evaluator: Evaluator, split: Split, sides: Sequence[Side], budgets: Sequence[int]
) -> Partition | None:
    """Layers on each stage, by what devices hold and how fast they read."""
    tokens, held = evaluator.question.tokens, evaluator.least_held(split)
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
    rooms, seconds = [], []
    for number, side in _each(sides):
        part = side.pool.accelerator
        rooms.append(budgets[number] - prepared[part.id].rests(split, tokens)[number])
        seconds.append(1 / (part.memory_bandwidth or 1))
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
    rates, seconds = findings.order.rates(fit), findings.order.seconds_to_first_token(fit)
    if rates is None or seconds is None:
        return False
    slow = each is not None and rates.seconds_per_output_token > each
    return not slow and (first is None or seconds <= first)
