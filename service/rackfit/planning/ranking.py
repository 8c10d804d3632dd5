"""Which of two fitting plans is better, the same way every time."""

from collections.abc import Iterator, Mapping
from functools import total_ordering
from math import inf

import msgspec

from rackfit.catalog.entries import Accelerator
from rackfit.engines.launch import Phase
from rackfit.memory.question import Workload
from rackfit.memory.stages import sequences_per_rank
from rackfit.performance.estimate import Speeds
from rackfit.performance.run import Estimate, Run
from rackfit.performance.serving import Serving
from rackfit.performance.tabled import TabledSpeeds
from rackfit.planning.outcomes import Fit
from rackfit.planning.question import Objective

Parts = tuple[float | str, ...]


@total_ordering
class Key:
    """A plan's place in an order: its `outline` and, where plans are alike in that, its ties.

    Ties take an estimate of speed, so that they are looked up only where they decide.
    """

    __slots__ = ("_fit", "_order", "_ties", "outline")

    def __init__(self, outline: Parts, fit: Fit, order: "Order") -> None:
        self.outline = outline
        self._fit = fit
        self._order = order
        self._ties: Parts | None = None

    @property
    def ties(self) -> Parts:
        """What decides between plans of one outline."""
        if self._ties is None:
            self._ties = self._order.ties(self._fit)
        return self._ties

    def __eq__(self, other: object) -> bool:
        """Tell whether two plans stand in the same place."""
        same = isinstance(other, Key) and self.outline == other.outline
        return same and isinstance(other, Key) and self.ties == other.ties

    def __lt__(self, other: "Key") -> bool:
        """Tell whether a plan comes first."""
        if self.outline != other.outline:
            return self.outline < other.outline
        return self.ties < other.ties

    __hash__ = None  # type: ignore[assignment]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """The order an objective puts plans in, for a deployment that serves `workload`.

    A `second` objective makes it a choice: plans that none beats in one without losing in the
    other, in the order of the first. `speeds` are the model's; `prices` the caller's, by
    accelerator id; what has none costs 1 an hour. `speculative_tokens` are drafted a step. Plans
    are of replicas that serve one `phase` or both.
    """

    objective: Objective
    second: Objective | None = None
    speeds: Speeds | TabledSpeeds
    workload: Workload
    speculative_tokens: int = 0
    prices: Mapping[str, float] = {}
    phase: Phase = "both"

    def key(self, fit: Fit) -> "Key":
        """What a plan is sorted by, best first.

        The objective; then fewest accelerators, the shortest pipeline (no bubbles), most
        headroom, least time a token and last a fixed order of degrees and names, so that ties
        always break alike.
        """
        split = fit.split
        aim = self._aim(self.objective, fit)
        outline = (aim, split.devices, split.pipeline, -self.headroom(fit))
        return Key(outline, fit, self)

    def ties(self, fit: Fit) -> Parts:
        """The end of a plan's key, for plans that are alike in the rest."""
        split = fit.split
        degrees = (-split.tensor, split.data, -split.expert, split.decode_context, split.context)
        return (self._slowness("lowest-latency", fit), *degrees, fit.pool.accelerator.id)

    def aims(self, fit: Fit) -> tuple[float, ...]:
        """What a plan comes to in each objective; less is better."""
        objectives = (self.objective, self.second) if self.second else (self.objective,)
        return tuple(self._aim(objective, fit) for objective in objectives)

    def settled(self, worst: Key, devices: int) -> bool:
        """Tell whether no plan of `devices` or more a replica comes before `worst`.

        Only where the objective itself grows with devices; speed and room may gain from more.
        """
        if self.second is not None:
            return False
        if self.objective == "fewest-accelerators":
            return (devices,) > worst.outline[:1]
        cheapest = min([1.0, *self.prices.values()])
        return self.objective == "lowest-cost" and (devices * cheapest,) > worst.outline[:1]

    def estimate(self, fit: Fit) -> Estimate | None:
        """How fast a plan serves the workload, with bands."""
        runs = self._runs(fit)
        if not runs:
            return None
        first = max(runs, key=_first).estimate().seconds_to_first_token
        return msgspec.structs.replace(
            max(runs, key=_each).estimate(), seconds_to_first_token=first
        )

    def _serving(self, fit: Fit) -> Serving:
        sequences = sequences_per_rank(fit.split, self.workload.sequences)
        return Serving.of(self.workload, sequences, self.speculative_tokens, self.phase)

    def _aim(self, objective: Objective, fit: Fit) -> float:
        match objective:
            case "fewest-accelerators":
                return fit.split.devices
            case "lowest-cost":
                return self.price(fit)
            case "most-headroom":
                return -self.headroom(fit)
            case "lowest-latency" | "highest-throughput":
                return self._slowness(objective, fit)

    def headroom(self, fit: Fit) -> int:
        """What is left on the fullest rank, in bytes."""
        return fit.headroom_bytes(sequences_per_rank(fit.split, self.workload.sequences))

    def price(self, fit: Fit) -> float:
        """What a plan's accelerators cost an hour."""
        split = fit.split
        if not fit.shares:
            return split.devices * self.prices.get(fit.pool.accelerator.id, 1.0)
        each = split.devices // split.pipeline
        return sum(
            share.stages * each * self.prices.get(share.pool.accelerator.id, 1.0)
            for share in fit.shares
        )

    def run(self, fit: Fit) -> Run | None:
        """How a plan serves the workload: of several types the slowest sets the pace."""
        return max(self._runs(fit), key=_each, default=None)

    def seconds_to_first_token(self, fit: Fit) -> float | None:
        """Seconds to read a prompt."""
        return max(map(_first, self._runs(fit)), default=None)

    def _runs(self, fit: Fit) -> list[Run]:
        """One for each accelerator type of a plan; none where a bandwidth is not known."""
        serving, split = self._serving(fit), fit.split
        runs = [self.speeds.run(split, part, serving, own) for part, own in _sides(fit)]
        known = [run for run in runs if run is not None]
        return known if len(known) == len(runs) else []

    def _slowness(self, objective: Objective, fit: Fit) -> float:
        run = self.run(fit)
        if run is None:
            return inf
        if objective == "lowest-latency":
            return run.seconds_per_output_token
        return -run.tokens_per_second


def _each(run: Run) -> float:
    return run.seconds_per_output_token


def _first(run: Run) -> float:
    return run.seconds_to_first_token


def _sides(fit: Fit) -> Iterator[tuple[Accelerator, tuple[int, ...] | None]]:
    """Each accelerator type of a plan, and its layers with hardly any on stages of another."""
    if not fit.shares or fit.partition is None:
        yield fit.pool.accelerator, fit.partition
        return
    first = 0
    for share in fit.shares:
        own = range(first, first + share.stages)
        yield (
            share.pool.accelerator,
            tuple(layers if stage in own else 1 for stage, layers in enumerate(fit.partition)),
        )
        first += share.stages
