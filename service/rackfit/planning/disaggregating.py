"""Prefill and decode on replicas of their own: which splits, and how many of each (xPyD).

Decode replicas are as many as hold the sequences; what they finish a second is what prefill
replicas must read, so these are as many as keep up with them (`matching.py`).

The search goes by the roofline. Where there are tables of measured kernels the best pairs are
matched anew by them, as far as they cover both sides.
"""

from collections.abc import Callable, Mapping
from itertools import product
from typing import NamedTuple

import msgspec

from rackfit.engines.launch import Phase
from rackfit.memory.question import Workload
from rackfit.memory.stages import UNBOUNDED, sequences_held
from rackfit.performance.run import Estimate
from rackfit.performance.tabled import TabledSpeeds
from rackfit.planning.asked import Question
from rackfit.planning.cells import without
from rackfit.planning.evaluation import Evaluator
from rackfit.planning.expert_loads import ExpertLoads
from rackfit.planning.launching import router
from rackfit.planning.matching import Pair, Rates, Reading, aim, in_flight, of_first
from rackfit.planning.outcomes import Fit, Miss
from rackfit.planning.placement import chosen_cells, settled
from rackfit.planning.pools import Pool
from rackfit.planning.question import (
    Disaggregated,
    Objective,
    Performance,
    PlanRequest,
    performance,
)
from rackfit.planning.ranking import Order
from rackfit.planning.search import Findings, search_pool
from rackfit.planning.telling import Told, as_plan
from rackfit.planning.timing import LOOKED_UP
from rackfit.planning.unpaired import Unpaired

CANDIDATES, FEWEST = 48, 4
"""Splits of each phase that are put together with those of the other, and of each accelerator."""

TRIED = 64
"""Pairs tried on the inventory, best first, before it is given up."""


class Found(NamedTuple):
    """Pairs by the roofline, best first: all that were matched, and those on the inventory."""

    matched: list[Pair]
    placed: list[Pair]


class Disaggregator:
    """Searches one inventory for pairs.

    Args:
        request: the caller's.
        evaluator: for the question as it was asked.
        order: that of the search of plans of one kind.
        pools: what may be used, by accelerator id.
        expired: tells whether the time is over.
        loads: of experts, if they were measured.
        tabled: speeds out of tables of measured kernels, if there are any.
    """

    def __init__(
        self,
        request: PlanRequest,
        evaluator: Evaluator,
        order: Order,
        pools: Mapping[str, Pool],
        expired: Callable[[], bool],
        *,
        loads: ExpertLoads | None,
        tabled: TabledSpeeds | None = None,
    ) -> None:
        self.request = request
        self.loads = loads
        self.expired = expired
        self.complete = True
        self._pools = list(pools.values())
        devices = {name: pool.devices(0) for name, pool in pools.items()}
        self.unpaired = Unpaired(evaluator.question, devices, request.constraints)
        workload = request.workload
        prompt = msgspec.structs.replace(workload, sequences=1)
        # What is best by speed or room alone would take all accelerators, and leave none to read.
        small: Objective = "fewest-accelerators"
        second = None if order.objective == small else small
        self._writing = msgspec.structs.replace(order, second=second, phase="decode")
        self._reading = msgspec.structs.replace(
            order, objective=small, second=None, workload=prompt, phase="prefill"
        )
        self._rates = Rates(self._reading, self._writing)
        self._tabled = None if tabled is None else self._rates.by(tabled)
        self._writer = evaluator.asking(self._question(evaluator, "decode", workload))
        self._reader = evaluator.asking(self._question(evaluator, "prefill", prompt))

    def search(self) -> "Found":
        """Look for pairs by the roofline, which takes little time whatever is looked up later."""
        matched = self._pairs()
        return Found(matched, self._with_room(matched))

    def best(self, found: "Found") -> list[Pair]:
        """Pairs that find room together, best first by the objective, at most `limit`.

        Where the tables take all the time there is, those that the roofline `found`.
        """
        if self._tabled is None:
            return found.placed
        timed = self._timed(found.matched, self._tabled)
        if self.expired():
            self.complete = False
            return found.placed
        return self._with_room(timed) or found.placed

    def _with_room(self, pairs: list[Pair]) -> list[Pair]:
        """Pairs placed on the inventory; the first is tried even where time is up."""
        found: list[Pair] = []
        for number, pair in enumerate(pairs[:TRIED]):
            if len(found) == self.request.limit:
                break
            if number and self.expired():
                self.complete = False
                break
            found += self._placed(pair)
        return found

    def _pairs(self) -> list[Pair]:
        """Pairs within what the caller insists on, by the roofline, best first."""
        readers = [fit for fit in self._fits(self._reader, self._reading) if self._reads(fit)]
        writers = self._fits(self._writer, self._writing)
        unpaired = self.unpaired
        matched = (
            self._rates.matched(writer, reader)
            for writer, reader in product(writers, readers)
            if unpaired.legal(reader, writer)
        )
        pairs = (pair for pair in matched if pair is not None)
        kept = (pair for pair in pairs if unpaired.has_room(pair) and unpaired.in_time(pair))
        return sorted(kept, key=self._key)

    def _reads(self, fit: Fit) -> bool:
        """Tell whether a data rank has room for the prompts in flight.

        That is not how many it `held` in time: those that follow a prompt do not hold it up.
        """
        most = self._reader.question.engine.choice.max_sequences or UNBOUNDED
        room = sequences_held(fit.stages.distinct, fit.budgets)
        return min(room, most) >= in_flight(fit.split)

    def _timed(self, pairs: list[Pair], tabled: Rates) -> list[Pair]:
        """Pairs of the best splits of either phase, matched anew by the tables, best first.

        Two kinds of estimate do not make a pair: where a side is not covered, or time is up, the
        roofline tells both.
        """
        timed = []
        for pair in of_first(pairs, LOOKED_UP * self.request.limit):
            told = self._by_tables(pair, tabled) or pair
            if self.unpaired.has_room(told):
                timed.append(told)
        return sorted(timed, key=self._key)

    def _by_tables(self, pair: Pair, tabled: Rates) -> Pair | None:
        """A pair matched anew; each side may have tables to load, which nothing can stop."""
        if self.expired() or tabled.writing(pair.decode) is None or self.expired():
            return None
        return tabled.matched(pair.decode, pair.prefill)

    def _question(self, evaluator: Evaluator, phase: Phase, workload: Workload) -> Question:
        """What replicas of one phase are asked: to hold its sequences within its own time."""
        asked = evaluator.question
        times = asked.times
        if times is not None:
            first, each = (times.first, None) if phase == "prefill" else (None, times.each)
            times = msgspec.structs.replace(
                times, first=first, each=each, workload=workload, phase=phase
            )
        return msgspec.structs.replace(
            asked,
            tokens=workload.context_tokens,
            sequences=workload.sequences,
            phase=phase,
            times=times if times is not None and times.asked else None,
        )

    def _fits(self, evaluator: Evaluator, order: Order) -> list[Fit]:
        """The best splits of one phase on each pool, each on the whole of it.

        Where an engine pairs not all stages with all, the best of one stage are among them.
        """
        engine, asked = evaluator.question.engine, self.request.constraints
        if engine.context_phases and evaluator.question.phase not in engine.context_phases:
            # Asked for are those of the other side.
            asked = msgspec.structs.replace(asked, context=None)
        constraints = [asked]
        if asked.pipeline is None and not engine.pairs_stages:
            constraints.append(msgspec.structs.replace(asked, pipeline=1))
        fits: dict[int, Fit] = {}
        each = max(CANDIDATES // len(self._pools), FEWEST) if self._pools else 0
        for pool, held in product(self._pools, constraints):
            findings = Findings(limit=each, order=order)
            search_pool(evaluator, pool, held, findings, self.expired)
            self.complete = self.complete and findings.complete
            fits |= {id(fit): fit for fit in findings.fits}
            self.unpaired.refused(evaluator.question.phase, findings)
        return list(fits.values())

    def _key(self, pair: Pair) -> tuple[float, ...]:
        """What the objective makes of a pair; then fewer accelerators, then less time."""
        seconds = pair.seconds_per_output_token, pair.seconds_to_first_token
        spare = min(self._writing.headroom(pair.decode), self._reading.headroom(pair.prefill))
        return (aim(pair, self._writing, spare), pair.accelerators, *seconds, -spare)

    def _placed(self, pair: Pair) -> list[Pair]:
        """The pair on devices of which none is used twice; nothing if there are too few."""
        pool, engine = pair.prefill.pool, self._reader.question.engine
        decode = settled(pair.decode, engine)
        if pool is decode.pool:
            pool = without(pool, chosen_cells(decode))
        split = pair.prefill.split
        question = msgspec.structs.replace(
            self._reader.question,
            replicas=split.replicas,
            sequences=split.replicas * split.data * in_flight(split),
            times=None,
        )
        alone = msgspec.structs.replace(split, replicas=1)
        if pool.largest_domain < split.cell:
            self.unpaired.lacks_room(pair)
            return []
        fit = self._reader.asking(question).evaluate(alone, pool)
        if isinstance(fit, Miss):
            self.unpaired.lacks_room(pair)
            return []
        return [msgspec.structs.replace(pair, prefill=settled(fit, engine), decode=decode)]

    def told(self, pair: Pair) -> Disaggregated:
        """Put a pair into words: two plans, and what they do together."""
        reading, writing = self._speeds(pair)
        first, each = reading.first, writing.seconds_per_output_token
        prefill = as_plan(pair.prefill, self._reader_told(pair.prefill))
        decode = as_plan(pair.decode, self._writer_told(performance(writing, pair.method)))
        engine, options = self._writer.question.engine, self.request.launch
        return Disaggregated(
            prefill=prefill,
            decode=decode,
            router=router(engine, prefill, decode, options),
            accelerators=pair.accelerators,
            requests_per_second=pair.requests_per_second,
            prefill_busy=pair.busy,
            seconds_to_transfer=pair.transfer_seconds,
            seconds_to_first_token=first.value + pair.transfer_seconds,
            seconds_to_first_token_low=first.low + pair.transfer_seconds,
            seconds_to_first_token_high=first.high + pair.transfer_seconds,
            seconds_per_output_token=each.value,
            seconds_per_output_token_low=each.low,
            seconds_per_output_token_high=each.high,
        )

    def _speeds(self, pair: Pair) -> tuple[Reading, Estimate]:
        """How fast both sides are, by what the pair was matched by."""
        rates = self._rates
        if self._tabled is not None and pair.method == self._tabled.method:
            rates = self._tabled
        reading, writing = rates.reading(pair.prefill), rates.writing(pair.decode)
        if reading is None or writing is None:
            msg = "a pair of accelerators whose speed is not known"
            raise AssertionError(msg)
        return reading, writing

    def _reader_told(self, prefill: Fit) -> Told:
        split = prefill.split
        return Told(
            question=self._reader.question,
            nodes=self.request.inventory.nodes,
            sequences=split.replicas * split.data * in_flight(split),
            options=self.request.launch,
            loads=self.loads,
            phase="prefill",
        )

    def _writer_told(self, speed: Performance) -> Told:
        return Told(
            question=self._writer.question,
            nodes=self.request.inventory.nodes,
            sequences=self.request.workload.sequences,
            options=self.request.launch,
            performance=speed,
            loads=self.loads,
            phase="decode",
        )
