"""Prefill and decode on replicas of their own: which splits, and how many of each (xPyD).

Decode replicas are as many as hold the sequences; what they finish a second is what prefill
replicas must read, so these are as many as keep up with them.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from math import ceil

import msgspec

from rackfit.engines.interface import Engine
from rackfit.engines.launch import Phase
from rackfit.engines.split import Split
from rackfit.errors import InvalidInput
from rackfit.memory.question import Workload
from rackfit.performance.device import Device
from rackfit.performance.serving import Serving
from rackfit.planning.cells import without
from rackfit.planning.evaluation import MAX_REPLICAS, Evaluator, Question
from rackfit.planning.expert_loads import ExpertLoads
from rackfit.planning.outcomes import Fit
from rackfit.planning.placement import cells_of
from rackfit.planning.pools import Pool
from rackfit.planning.question import Disaggregated, Objective, PlanRequest, performance
from rackfit.planning.ranking import Order
from rackfit.planning.search import Findings, search_pool
from rackfit.planning.telling import Told, as_plan

CANDIDATES, FEWEST = 48, 4
"""Splits of each phase that are put together with those of the other, and of each accelerator."""

TRIED = 64
"""Pairs tried on the inventory, best first, before it is given up."""


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """Replicas that read prompts and replicas that write, and what they do together.

    - `requests_per_second` is what the decode replicas finish;
    - `busy` is the share of their time that the prefill replicas need for it;
    - `transfer_seconds` is what handing on one prompt's cache takes, which
      `seconds_to_first_token` is without.
    """

    prefill: Fit
    decode: Fit
    requests_per_second: float
    busy: float
    transfer_seconds: float
    seconds_to_first_token: float
    seconds_per_output_token: float

    @property
    def accelerators(self) -> int:
        """Accelerators of both."""
        return self.prefill.split.devices + self.decode.split.devices


def check_disaggregated(request: PlanRequest, engine: Engine) -> None:
    """See that a request says what plans of two kinds of replicas need, and nothing else.

    Raises:
        InvalidInput: no typical request, constraints on the replicas of a plan of one kind, or an
            engine whose replicas do all of it.
    """
    workload, constraints = request.workload, request.constraints
    if not engine.disaggregates:
        detail = f"{engine.name} has no replicas that only read prompts: leave this out."
        raise InvalidInput.at("/disaggregate", detail)
    for name in ("input_tokens", "output_tokens"):
        if getattr(workload, name) is None:
            detail = "With `disaggregate` a typical request is needed: how many tokens come and go."
            raise InvalidInput.at(f"/workload/{name}", detail)
    for name in ("replicas", "node_loss"):
        if getattr(constraints, name) is not None:
            detail = "With `disaggregate` there are two kinds of replicas: leave this out."
            raise InvalidInput.at(f"/constraints/{name}", detail)


class Disaggregator:
    """Searches one inventory for pairs.

    Args:
        request: the caller's.
        evaluator: for the question as it was asked.
        order: that of the search of plans of one kind.
        pools: what may be used, by accelerator id.
        expired: tells whether the time is over.
        loads: of experts, if they were measured.
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
    ) -> None:
        self.request = request
        self.loads = loads
        self.expired = expired
        self.complete = True
        self._pools = list(pools.values())
        self._devices = {name: pool.devices(0) for name, pool in pools.items()}
        workload = request.workload
        prompt = msgspec.structs.replace(workload, sequences=1)
        # What is best by speed or room alone would take all accelerators, and leave none to read.
        small: Objective = "fewest-accelerators"
        second = None if order.objective == small else small
        self._writing = msgspec.structs.replace(order, second=second, phase="decode")
        self._reading = msgspec.structs.replace(
            order, objective=small, second=None, workload=prompt, phase="prefill"
        )
        self._writer = evaluator.asking(self._question(evaluator, "decode", workload))
        self._reader = evaluator.asking(self._question(evaluator, "prefill", prompt))

    def best(self) -> list[Pair]:
        """Pairs that find room together, best first by the objective, at most `limit`."""
        readers = [
            (fit, rate)
            for fit in self._fits(self._reader, self._reading)
            if fit.held >= in_flight(fit.split) and (rate := self._prompts_per_second(fit))
        ]
        writers = self._fits(self._writer, self._writing)
        pairs = sorted(
            (
                pair
                for one, other in product(writers, readers)
                for pair in self._paired(one, *other)
            ),
            key=self._key,
        )
        found: list[Pair] = []
        for pair in pairs[:TRIED]:
            if len(found) == self.request.limit:
                break
            if self.expired():
                self.complete = False
                break
            found += self._placed(pair)
        return found

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
            times=times if times is not None and times.asked else None,
        )

    def _fits(self, evaluator: Evaluator, order: Order) -> list[Fit]:
        """The best splits of one phase on each pool, each on the whole of it."""
        fits = []
        each = max(CANDIDATES // len(self._pools), FEWEST) if self._pools else 0
        for pool in self._pools:
            findings = Findings(limit=each, order=order)
            constraints = self.request.constraints
            search_pool(evaluator, pool, constraints, findings, self.expired)
            self.complete = self.complete and findings.complete
            fits += findings.fits
        return fits

    def _prompts_per_second(self, fit: Fit) -> float | None:
        order, part = self._reading, fit.pool.accelerator
        serving = Serving.of(order.workload, 1, order.speculative_tokens, "prefill")
        run = order.speeds.run(fit.split, part, serving, fit.partition)
        return None if run is None else run.prompts_per_second

    def _paired(self, decode: Fit, prefill: Fit, prompts_per_second: float) -> Iterator[Pair]:
        """The pair with as many prefill replicas as keep up, if it is allowed and in time."""
        workload, order = self.request.workload, self._writing
        run = order.run(decode)
        first = self._reading.seconds_to_first_token(prefill)
        if run is None or first is None:
            return
        each = run.seconds_per_output_token * (workload.output_tokens or 1)
        requests = workload.sequences / each
        number = ceil(requests / prompts_per_second)
        pair = Pair(
            prefill=_with_replicas(prefill, number),
            decode=decode,
            requests_per_second=requests,
            busy=requests / (number * prompts_per_second),
            transfer_seconds=_transfer_seconds(prefill, decode, workload.input_tokens or 1),
            seconds_to_first_token=first,
            seconds_per_output_token=run.seconds_per_output_token,
        )
        if number <= MAX_REPLICAS and self._allowed(pair):
            yield pair

    def _allowed(self, pair: Pair) -> bool:
        constraints = self.request.constraints
        most, longest = constraints.max_accelerators, constraints.max_seconds_to_first_token
        if most is not None and pair.accelerators > most:
            return False
        pool, together = pair.prefill.pool, pair.prefill.pool is pair.decode.pool
        taken = pair.accelerators if together else pair.prefill.split.devices
        if taken > self._devices[pool.accelerator.id]:
            return False
        return longest is None or pair.seconds_to_first_token + pair.transfer_seconds <= longest

    def _key(self, pair: Pair) -> tuple[float, ...]:
        """What the objective makes of a pair; then fewer accelerators, then less time."""
        seconds = pair.seconds_per_output_token, pair.seconds_to_first_token
        spare = min(self._writing.headroom(pair.decode), self._reading.headroom(pair.prefill))
        return (self._aim(pair, spare), pair.accelerators, *seconds, -spare)

    def _aim(self, pair: Pair, spare: int) -> float:
        order = self._writing
        match order.objective:
            case "fewest-accelerators":
                return pair.accelerators
            case "lowest-cost":
                return order.price(pair.prefill) + order.price(pair.decode)
            case "most-headroom":
                return -spare
            case "lowest-latency":
                return pair.seconds_per_output_token
            case "highest-throughput":
                return -pair.requests_per_second

    def _placed(self, pair: Pair) -> list[Pair]:
        """The pair on devices of which none is used twice; nothing if there are too few."""
        pool, decode = pair.prefill.pool, pair.decode
        if pool is decode.pool:
            pool = without(pool, cells_of(decode))
        split = pair.prefill.split
        question = msgspec.structs.replace(
            self._reader.question,
            replicas=split.replicas,
            sequences=split.replicas * split.data * in_flight(split),
            times=None,
        )
        alone = msgspec.structs.replace(split, replicas=1)
        if pool.largest_domain < split.tensor:
            return []
        fit = self._reader.asking(question).evaluate(alone, pool)
        return [msgspec.structs.replace(pair, prefill=fit)] if isinstance(fit, Fit) else []

    def told(self, pair: Pair) -> Disaggregated:
        """Put a pair into words: two plans, and what they do together."""
        request, prefill, decode = self.request, pair.prefill, pair.decode
        reading, writing = self._reading.estimate(prefill), self._writing.estimate(decode)
        if reading is None or writing is None:
            msg = "a pair of accelerators whose speed is not known"
            raise AssertionError(msg)
        first, each = reading.seconds_to_first_token, writing.seconds_per_output_token
        nodes, options = request.inventory.nodes, request.launch
        split = prefill.split
        reader = Told(
            question=self._reader.question,
            nodes=nodes,
            sequences=split.replicas * split.data * in_flight(split),
            options=options,
            loads=self.loads,
            phase="prefill",
        )
        writer = Told(
            question=self._writer.question,
            nodes=nodes,
            sequences=request.workload.sequences,
            options=options,
            performance=performance(writing),
            loads=self.loads,
            phase="decode",
        )
        return Disaggregated(
            prefill=as_plan(prefill, reader),
            decode=as_plan(decode, writer),
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


def in_flight(split: Split) -> int:
    """Prompts a data rank of a prefill replica holds: one in each stage, and one handed on."""
    return split.pipeline + 1


def _with_replicas(fit: Fit, replicas: int) -> Fit:
    return msgspec.structs.replace(fit, split=msgspec.structs.replace(fit.split, replicas=replicas))


def _transfer_seconds(prefill: Fit, decode: Fit, tokens: int) -> float:
    """Seconds to hand on a prompt's cache over the network, each rank its own part at once."""
    return max(
        Device(fit.pool.accelerator).send_far(
            max(stage.cache.sequence_bytes(tokens) for stage in fit.stages.distinct)
        )
        for fit in (prefill, decode)
    )
