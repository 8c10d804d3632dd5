"""Times a caller insists on: how many sequences a data rank may serve within them."""

from collections.abc import Sequence
from math import ceil, floor, log10
from typing import Self

import msgspec

from rackfit.catalog.entries import Accelerator, Efficiency
from rackfit.engines.interface import Engine
from rackfit.engines.launch import Phase
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split
from rackfit.memory.question import Workload
from rackfit.performance.estimate import Speeds
from rackfit.performance.layers import Measured
from rackfit.performance.run import Estimate
from rackfit.performance.serving import Serving
from rackfit.planning.question import PlanRequest


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """At most so many seconds to the first token and between tokens, None for any.

    `workload` says what requests are like, `efficiencies` what engines reach of the roofline;
    a `phase` served alone is not held up by the other, and `measured` loads say how even experts
    are.
    """

    first: float | None
    each: float | None
    workload: Workload
    efficiencies: Sequence[Efficiency]
    phase: Phase = "both"
    measured: Measured | None = None

    @classmethod
    def of(
        cls, request: PlanRequest, efficiencies: Sequence[Efficiency], measured: Measured | None
    ) -> Self | None:
        """The times that a request insists on; None where there are none."""
        first = request.constraints.max_seconds_to_first_token
        each = request.constraints.max_seconds_per_output_token
        if first is None and each is None:
            return None
        return cls(
            first=first,
            each=each,
            workload=request.workload,
            efficiencies=efficiencies,
            measured=measured,
        )

    @property
    def asked(self) -> dict[str, float]:
        """The times that are given, by the names of the constraints."""
        named = {"max_seconds_to_first_token": self.first}
        named["max_seconds_per_output_token"] = self.each
        return {name: most for name, most in named.items() if most is not None}

    def stretched(self, estimate: Estimate) -> "Times":
        """These times or, where they are shorter, those of an estimate in two digits."""
        first, each = estimate.seconds_to_first_token, estimate.seconds_per_output_token
        return msgspec.structs.replace(
            self,
            first=self.first and max(self.first, _rounded_up(first.value)),
            each=self.each and max(self.each, _rounded_up(each.value)),
        )


def _rounded_up(seconds: float) -> float:
    """Two digits of a time, none too few."""
    unit = 10.0 ** (floor(log10(seconds)) - 1)
    return float(f"{ceil(seconds / unit * (1 - 1e-12)) * unit:.6g}")


class Pace:
    """What one model under one engine can serve within `times`."""

    def __init__(self, model: ServedModel, engine: Engine, times: Times, tokens: int) -> None:
        self.times = times
        self._speeds = Speeds(model, engine, times.efficiencies, tokens, times.measured)
        self._drafted = engine.choice.speculative_tokens
        self._workload = msgspec.structs.replace(times.workload, context_tokens=tokens)
        self._most: dict[tuple[str, Split], int] = {}

    def estimate(self, split: Split, accelerator: Accelerator, sequences: int) -> Estimate | None:
        """How fast data ranks of `split` serve so many sequences each; None if not known."""
        run = self._speeds.run(split, accelerator, self._serving(sequences))
        return None if run is None else run.estimate()

    def _serving(self, sequences: int) -> Serving:
        return Serving.of(self._workload, sequences, self._drafted, self.times.phase)

    def _in_time(self, split: Split, accelerator: Accelerator, sequences: int) -> bool:
        """Tell whether so many sequences keep within the times that are asked for."""
        times, run = self.times, self._speeds.run(split, accelerator, self._serving(sequences))
        if run is None:
            return False
        slow = times.each is not None and run.seconds_per_output_token > times.each
        return not slow and (times.first is None or run.seconds_to_first_token <= times.first)

    def most(self, split: Split, accelerator: Accelerator) -> int:
        """Most sequences a data rank serves in time, no more than there are; 0 if not even one.

        More sequences at once are never faster, so the number is found by halves. Where the
        accelerator's speed is not known, nothing is known to be in time.
        """
        one = msgspec.structs.replace(split, replicas=1)
        key = (accelerator.id, one)
        if key not in self._most:
            self._most[key] = self._found(one, accelerator)
        return self._most[key]

    def _found(self, split: Split, accelerator: Accelerator) -> int:
        low, high = 0, -(-self.times.workload.sequences // split.data) + 1
        middle = high - 1  # all of them, which is what most callers have room for
        while high - low > 1:
            in_time = self._in_time(split, accelerator, middle)
            low, high = (middle, high) if in_time else (low, middle)
            middle = (low + high) // 2
        return low
