"""Does one split fit one pool? Memory per stage, replicas for the sequences, room for both."""

from collections.abc import Sequence

import msgspec

from rackfit.catalog.entries import Accelerator
from rackfit.engines.interface import Engine
from rackfit.engines.rejection import Rejection
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split
from rackfit.engines.terms import Limits
from rackfit.memory.ranks import RankSizes
from rackfit.memory.stages import StageMemory, sequences_held, stage_memories
from rackfit.planning.pools import Pool

MAX_LEVELS = 32
"""Distinct amounts of free memory tried; more are thinned out evenly."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What every split is asked: hold `sequences` of `tokens` each; `replicas` if insisted on."""

    model: ServedModel
    engine: Engine
    tokens: int
    sequences: int
    replicas: int | None = None


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """A split that fits: its stages, each stage's budget, and the devices it may take.

    Devices need at least `least_free` bytes; `held` sequences fit a data rank.
    """

    split: Split
    pool: Pool
    stages: tuple[StageMemory, ...]
    budgets: tuple[int, ...]
    least_free: int
    held: int

    def headroom_bytes(self, sequences: int) -> int:
        """What is left on the fullest rank when each data rank holds `sequences`."""
        rooms = zip(self.stages, self.budgets, strict=True)
        return min(
            budget - stage.largest_fixed_bytes - sequences * stage.sequence_bytes
            for stage, budget in rooms
        )


class Miss(msgspec.Struct, frozen=True, kw_only=True):
    """A split that does not fit: memory lacks when each data rank holds `sequences`, or devices.

    `needed` and `available` count groups of tensor ranks (0 where memory is what lacks);
    `short_bytes` is what all devices lack together, or what the missing ones would hold.
    """

    split: Split
    pool: Pool
    stages: tuple[StageMemory, ...]
    budgets: tuple[int, ...]
    short_bytes: int
    sequences: int = 1
    held: int = 0
    needed: int = 0
    available: int = 0


class Evaluator:
    """Evaluates splits of one question; sizes are worked out once a tensor, data and expert."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.evaluated = 0
        self._sizes: dict[tuple[Limits, int, int, int], RankSizes] = {}
        self._stages: dict[tuple[Limits, int, int, int, int], tuple[StageMemory, ...]] = {}
        self._rejections: dict[tuple[int, int, int], Rejection | None] = {}
        self._limits: dict[str, Limits] = {}

    def asking(self, *, tokens: int | None = None, sequences: int | None = None) -> "Evaluator":
        """The same model with another demand; what was worked out about it is shared."""
        question = msgspec.structs.replace(
            self.question,
            tokens=tokens or self.question.tokens,
            sequences=sequences or self.question.sequences,
        )
        other = Evaluator(question)
        other._sizes, other._rejections = self._sizes, self._rejections
        return other

    def illegal(self, split: Split) -> Rejection | None:
        """The first rule a split's tensor, data and expert degrees break, pipeline aside."""
        key = (split.tensor, split.data, split.expert)
        if key not in self._rejections:
            stage = msgspec.structs.replace(split, pipeline=1, replicas=1)
            engine = self.question.engine
            self._rejections[key] = next(engine.rejections(self.question.model, stage), None)
        return self._rejections[key]

    def stages(self, split: Split, pool: Pool) -> tuple[StageMemory, ...]:
        """Memory of every stage of a split on a pool's devices."""
        limits = self._limits_on(pool.accelerator)
        key = (limits, split.tensor, split.data, split.expert, split.pipeline)
        stages = self._stages.get(key)
        if stages is None:
            stages = stage_memories(self._sizes_of(split, limits), split, self.question.tokens)
            self._stages[key] = stages
        return stages

    def _limits_on(self, accelerator: Accelerator) -> Limits:
        limits = self._limits.get(accelerator.id)
        if limits is None:
            limits = self.question.engine.limits(accelerator, self.question.tokens)
            self._limits[accelerator.id] = limits
        return limits

    def _sizes_of(self, split: Split, limits: Limits) -> RankSizes:
        key = (limits, split.tensor, split.data, split.expert)
        sizes = self._sizes.get(key)
        if sizes is None:
            sizes = RankSizes(self.question.model, self.question.engine, split, limits)
            self._sizes[key] = sizes
        return sizes

    def evaluate(self, split: Split, pool: Pool) -> Fit | Miss:
        """Fit `split` on `pool` with as many replicas as the sequences need."""
        self.evaluated += 1
        stages = self.stages(split, pool)
        first, *lower = thinned(pool.free_levels)
        outcome = self._at_level(split, pool, stages, first)
        for level in lower:
            if isinstance(outcome, Fit) or not outcome.needed:
                break  # devices with less free memory hold even less
            with_more = self._at_level(split, pool, stages, level)
            if isinstance(with_more, Miss) and not with_more.needed:
                break
            outcome = with_more
        return outcome

    def nodes_to_add(self, split: Split, pool: Pool) -> int | None:
        """Fewest whole nodes, all free, to add to a pool before `split` fits; None if none do."""
        cells_a_node = pool.largest_node // split.tensor
        if not cells_a_node:
            return None
        fewest = None
        for level in thinned((pool.accelerator.usable_bytes, *pool.free_levels)):
            outcome = self._at_level(split, pool, self.stages(split, pool), level)
            if isinstance(outcome, Fit):
                return 0
            if not outcome.needed:
                break  # devices with less free memory hold even less
            nodes = -(-(outcome.needed - outcome.available) // cells_a_node)
            fewest = nodes if fewest is None else min(fewest, nodes)
        return fewest

    def _at_level(
        self, split: Split, pool: Pool, stages: tuple[StageMemory, ...], level: int
    ) -> Fit | Miss:
        budgets = self._budgets(split, stages, pool.accelerator.usable_bytes, level)
        held = sequences_held(stages, budgets)
        wanted = self._least_held(split)
        if held < wanted:
            return Miss(
                split=split,
                pool=pool,
                stages=stages,
                budgets=budgets,
                short_bytes=short_bytes(split, stages, budgets, wanted),
                sequences=wanted,
            )
        whole = msgspec.structs.replace(split, replicas=self._replicas(split, held))
        needed = whole.pipeline * whole.data * whole.replicas
        available = pool.cells(whole.tensor, level)
        if needed > available:
            return too_few(
                Fit(
                    split=whole,
                    pool=pool,
                    stages=stages,
                    budgets=budgets,
                    least_free=level,
                    held=held,
                ),
                available,
            )
        return Fit(
            split=whole, pool=pool, stages=stages, budgets=budgets, least_free=level, held=held
        )

    def _least_held(self, split: Split) -> int:
        """Sequences a data rank must hold: one, or its share where replicas are given."""
        replicas = self.question.replicas
        return 1 if replicas is None else -(-self.question.sequences // (replicas * split.data))

    def _replicas(self, split: Split, held: int) -> int:
        if self.question.replicas is not None:
            return self.question.replicas
        return min(-(-self.question.sequences // (held * split.data)), MAX_REPLICAS)

    def _budgets(
        self, split: Split, stages: Sequence[StageMemory], usable: int, free: int
    ) -> tuple[int, ...]:
        engine = self.question.engine
        known = {id(stage): stage for stage in stages}
        budgets = {key: s.budget_bytes(engine, split, usable, free) for key, s in known.items()}
        return tuple(budgets[id(stage)] for stage in stages)


MAX_REPLICAS = 65_536


def short_bytes(
    split: Split, stages: Sequence[StageMemory], budgets: Sequence[int], sequences: int
) -> int:
    """What all devices of one replica lack to hold `sequences` on each data rank."""
    rooms = zip(stages, budgets, strict=True)
    lacking = (max(s.largest_fixed_bytes + sequences * s.sequence_bytes - b, 0) for s, b in rooms)
    return sum(lacking) * split.tensor * split.data


def too_few(fit: Fit, available: int) -> Miss:
    """The miss of a split that fits its devices but finds only `available` groups of them."""
    needed = fit.split.pipeline * fit.split.data * fit.split.replicas
    each = max(s.largest_fixed_bytes + s.sequence_bytes for s in fit.stages)
    return Miss(
        split=fit.split,
        pool=fit.pool,
        stages=fit.stages,
        budgets=fit.budgets,
        short_bytes=(needed - available) * fit.split.tensor * each,
        held=fit.held,
        needed=needed,
        available=available,
    )


def thinned(levels: tuple[int, ...]) -> tuple[int, ...]:
    """At most `MAX_LEVELS` of `levels`, the least always among them."""
    if len(levels) <= MAX_LEVELS:
        return levels
    step = -(-len(levels) // (MAX_LEVELS - 1))
    return (*levels[::step], levels[-1])
