"""Does one split fit one pool? Memory per stage, replicas for the sequences, room for both."""

from collections.abc import Sequence

import msgspec

from rackfit.engines.rejection import Rejection
from rackfit.engines.split import Split
from rackfit.engines.terms import kernels
from rackfit.memory.stages import UNBOUNDED, sequences_held
from rackfit.planning.asked import Question
from rackfit.planning.bounds import Bounds
from rackfit.planning.outcomes import Fit, Lack, Miss, Room, Stages, lacking_bytes, nearer
from rackfit.planning.pools import Offers, Pool
from rackfit.planning.seating import Demand, Ground, Seating, seat
from rackfit.planning.sizing import Sizing
from rackfit.planning.times import Pace

MAX_REPLICAS = 65_536
"""Largest number of replicas there is."""


class Evaluator:
    """Evaluates splits of one question.

    Args:
        question: what every split is asked.
        sizing: sizes of the question's model that are known already.
    """

    def __init__(self, question: Question, sizing: Sizing | None = None) -> None:
        self.question = question
        self.evaluated = 0
        self.sizing = sizing or Sizing(question.model, question.engine)
        self.bounds = Bounds(question, self.sizing)
        self._rejections: dict[tuple[int, ...], Rejection | None] = {}
        self._unsupported: dict[tuple[str, int], Rejection | None] = {}
        self._loads = False
        self._contexts: dict[int, Sequence[int]] = {}
        self._outcomes: dict[tuple[int, ...], Fit | Miss] = {}
        self._pace = (
            None
            if question.times is None
            else Pace(question.model, question.engine, question.times, question.tokens)
        )

    def asking(self, question: Question) -> "Evaluator":
        """The same model with another demand; what was worked out about it is shared."""
        other = Evaluator(question, self.sizing)
        other._rejections = self._rejections
        if question.phase == self.question.phase:
            other._unsupported = self._unsupported
        return other

    def caching(self, kv_cache_dtype: str) -> "Evaluator":
        """The same demand with a KV cache of another type; the weights' sizes are shared."""
        sizing = self.sizing.caching(kv_cache_dtype)
        return Evaluator(msgspec.structs.replace(self.question, model=sizing.model), sizing)

    def illegal(self, split: Split) -> Rejection | None:
        """The first rule a split's degrees break, pipeline aside."""
        key = (split.tensor, split.data, split.context, split.expert, split.decode_context)
        if key not in self._rejections:
            stage = msgspec.structs.replace(split, pipeline=1, replicas=1)
            engine, model = self.question.engine, self.question.model
            unloadable = None if self._loads else next(engine.unloadable(model, stage), None)
            self._loads = unloadable is None
            self._rejections[key] = unloadable or next(engine.broken_rules(model, stage), None)
        return self._rejections[key]

    def decode_contexts(self, tensor: int) -> Sequence[int]:
        """Degrees in which the engine divides what so many tensor ranks repeat of the cache."""
        if tensor not in self._contexts:
            engine, model = self.question.engine, self.question.model
            self._contexts[tensor] = engine.decode_contexts(model, tensor)
        return self._contexts[tensor]

    def contexts(self, tensor: int, pool: Pool) -> Sequence[int]:
        """Degrees in which so many tensor ranks may be context ranks instead, in this phase."""
        question = self.question
        generation = kernels(pool.accelerator)
        return question.engine.contexts(question.model, tensor, question.phase, generation)

    def unsupported(self, pool: Pool, context: int = 1) -> Rejection | None:
        """Why the engine cannot serve the model on a pool's devices at all.

        Or not with so many context ranks, on replicas of the question's phase.
        """
        key = pool.accelerator.id, context
        if key not in self._unsupported:
            engine, model = self.question.engine, self.question.model
            split = Split(context=context)
            found = next(engine.unsupported(model, split, pool.accelerator), None)
            phase = self.question.phase
            self._unsupported[key] = found or engine.undivided_phase(model, split, phase)
        return self._unsupported[key]

    def evaluate(self, split: Split, pool: Pool, nodes: int = 0) -> Fit | Miss:
        """Fit `split` on `pool` with as many replicas as the sequences need, each split once.

        Args:
            split: a legal split; its replicas are not looked at.
            pool: has a domain of at least as many devices as the split's cells take; it is
                known again by its identity, so that it must outlive this evaluator.
            nodes: so many more, all free and as large as the pool's largest, are counted in.
        """
        degrees = (split.tensor, split.pipeline, split.data, split.context, split.expert)
        key = (id(pool), *degrees, split.decode_context, nodes)
        outcome = self._outcomes.get(key)
        if outcome is None:
            self.evaluated += 1
            outcome = self._outcomes[key] = self._evaluated(split, pool, nodes)
        return outcome

    def _evaluated(self, split: Split, pool: Pool, nodes: int) -> Fit | Miss:
        offers, each = pool.offers(split.cell), 0
        if nodes:
            devices, free = pool.new_node
            each = devices // split.cell
            offers = offers.with_more(free, nodes * each)
        bare = Ground(split=split, pool=pool, level=0, cells=0, each=each, new=nodes)
        return self._first_fit(bare, offers)

    def _first_fit(self, bare: Ground, offers: Offers) -> Fit | Miss:
        """The fit on the freest devices.

        Fuller devices hold fewer sequences a rank, so more groups are needed the more there
        are to choose from: levels with fewer groups than are needed already are passed over.
        """
        place: int | None = 0
        nearest: Miss | None = None
        while place is not None:
            level, cells = offers.levels[place], offers.cells[place]
            outcome = self._on(msgspec.structs.replace(bare, level=level, cells=cells))
            if isinstance(outcome, Fit):
                return outcome
            nearest = nearer(nearest, outcome)
            if outcome.lacks != "devices":
                break
            place = offers.first(outcome.needed, place + 1)
        if nearest is None:
            msg = f"no place for tensor groups of {bare.split.cell}"
            raise AssertionError(msg)
        return nearest

    def _on(self, ground: Ground) -> Fit | Miss:
        """The outcome on devices with as many bytes free as a ground has.

        Where a stage is too full the engine may be told to divide the layers otherwise.
        """
        split, tokens = ground.split, self.question.tokens
        sizes = self.sizing.prepared(ground.pool.accelerator, tokens)
        stages = sizes.stages(split, tokens)
        outcome = self._with(stages, ground)
        if isinstance(outcome, Fit) or outcome.lacks != "memory" or split.pipeline == 1:
            return outcome
        if not self.question.engine.layer_list:
            return outcome
        budgets = stages.each(outcome.budgets)
        evened = sizes.evened(split, tokens, budgets, outcome.sequences)
        other = None if evened is None else self._with(evened[1], ground)
        if evened is None or not isinstance(other, Fit):
            return outcome
        return msgspec.structs.replace(other, partition=evened[0])

    def _with(self, stages: Stages, ground: Ground) -> Fit | Miss:
        """The outcome of stages, however the layers are divided."""
        split, pool = ground.split, ground.pool
        budgets = self._budgets(stages, ground)
        room = sequences_held(stages.distinct, budgets)
        wanted = self.question.least_held(split)
        most = self._most_held(split, pool) if room >= wanted else UNBOUNDED
        held = min(room, most)
        seating = self._seated(ground, held) if held >= wanted else Seating(0, 0, ground.cells)
        needed = seating.replicas * ground.replica_cells
        allowed = self._allowed(split)
        available = min(allowed, seating.available)
        whole = msgspec.structs.replace(split, replicas=max(min(seating.replicas, MAX_REPLICAS), 1))
        if 0 < needed <= available:
            return Fit(whole, pool, stages, budgets, ground.level, held, seating.most_a_node)
        lacks = self._lacking(needed, allowed, wanted, fits=room >= wanted)
        short = self._short_bytes(split, Room(stages, budgets, available), most)
        return Miss(
            split=whole,
            pool=pool,
            stages=stages,
            budgets=budgets,
            lacks=lacks,
            short_bytes=0 if lacks == "time" else short,
            sequences=wanted,
            held=held,
            needed=needed,
            available=available,
            least_free=ground.level,
            pace=self._pace,
            node_loss=self.question.node_loss,
        )

    def _budgets(self, stages: Stages, ground: Ground) -> tuple[int, ...]:
        """What ranks of each distinct stage may take of their devices."""
        engine, start = self.question.engine, self.question.start(ground.split, ground.pool)
        return tuple(stage.budget_bytes(engine, start, ground.level) for stage in stages.distinct)

    def _seated(self, ground: Ground, held: int) -> Seating:
        """Replicas for the sequences, of which a data rank holds `held`."""
        question = self.question
        needed = -(-question.sequences // (held * ground.split.data))
        if question.node_loss is None and not question.apart:
            return Seating(question.replicas or needed, 0, ground.cells)
        demand = Demand(needed, question.replicas)
        return seat(ground, demand, question.node_loss, apart=question.apart)

    def _most_held(self, split: Split, pool: Pool) -> int:
        """Sequences a data rank may hold at once: the engine's limit, or what it does in time."""
        most = self.question.engine.choice.max_sequences or UNBOUNDED
        return most if self._pace is None else min(most, self._pace.most(split, pool.accelerator))

    def _allowed(self, split: Split) -> int:
        """Tensor groups that the caller and the largest number of replicas allow."""
        most = MAX_REPLICAS * split.pipeline * split.data
        return most if self.question.most is None else min(self.question.most // split.cell, most)

    def _short_bytes(self, split: Split, room: Room, most: int) -> int:
        """What lacks with the replicas asked for, else with the fewest or all there is room for."""
        sequences, given = self.question.sequences, self.question.replicas
        fewest = -(-sequences // (max(most, 1) * split.data))
        useful = -(-sequences // split.data)
        spare = self.question.spare
        there = max(min(room.cells // (split.pipeline * split.data) - spare, useful), fewest)
        tried = {max(given - spare, 1)} if given else {fewest, there}
        return min(lacking_bytes(split, room, (each, spare), sequences) for each in tried)

    def _lacking(self, needed: int, allowed: int, wanted: int, *, fits: bool) -> Lack:
        if needed:
            return "allowance" if needed > allowed else "devices"
        if not fits:
            return "memory"
        started = self.question.engine.choice.max_sequences
        return "sequences" if started and started < wanted else "time"
