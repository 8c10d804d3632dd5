"""Which of two fitting plans is better, the same way every time."""

from collections.abc import Mapping
from math import inf

import msgspec

from rackfit.engines.served import ServedModel
from rackfit.memory.stages import sequences_per_rank
from rackfit.performance.roofline import DecodeStep, decode_step
from rackfit.planning.evaluation import Fit
from rackfit.planning.question import Objective

Key = tuple[float | str, ...]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """The order an objective puts plans in, for a deployment of `sequences` of `model`.

    `prices` are the caller's, by accelerator id; what has none costs 1 an hour.
    """

    objective: Objective
    model: ServedModel
    sequences: int
    prices: Mapping[str, float] = {}

    def key(self, fit: Fit) -> Key:
        """Sort key of a plan, best first.

        The objective; then fewest accelerators, the shortest pipeline (no bubbles), most
        headroom and last a fixed order of degrees and names, so that ties always break alike.
        """
        split = fit.split
        headroom = fit.headroom_bytes(sequences_per_rank(split, self.sequences))
        degrees = (split.pipeline, -headroom, -split.tensor, split.data, -split.expert)
        return (self._aim(fit), split.devices, *degrees, fit.pool.accelerator.id)

    def settled(self, worst: Key, devices: int) -> bool:
        """Tell whether no plan of `devices` or more a replica comes before `worst`.

        Only where the objective itself grows with devices; speed may still gain from more.
        """
        if self.objective == "fewest-accelerators":
            return (devices,) > worst[:1]
        cheapest = min([1.0, *self.prices.values()])
        return self.objective == "lowest-cost" and (devices * cheapest,) > worst[:1]

    def step(self, fit: Fit) -> DecodeStep | None:
        """The bound on a plan's decode step."""
        held = sequences_per_rank(fit.split, self.sequences)
        return decode_step(self.model, fit.split, fit.stages, fit.pool.accelerator, sequences=held)

    def _aim(self, fit: Fit) -> float:
        match self.objective:
            case "fewest-accelerators":
                return fit.split.devices
            case "lowest-cost":
                return fit.split.devices * self.prices.get(fit.pool.accelerator.id, 1.0)
            case "lowest-latency":
                step = self.step(fit)
                return inf if step is None else step.seconds_per_output_token
            case "highest-throughput":
                step = self.step(fit)
                return inf if step is None else -step.tokens_per_second
