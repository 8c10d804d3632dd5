"""How fast the plans that are told serve, by tables of measured kernels where those cover them.

The search compares many splits by the roofline; the best of them are looked up in the tables, if
there are any, and put in order anew where speed is wanted.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Self

import msgspec

from rackfit.errors import NotCovered
from rackfit.performance.layers import Measured
from rackfit.performance.run import Estimate
from rackfit.performance.tabled import TabledSpeeds, Tables
from rackfit.planning.asked import Question
from rackfit.planning.outcomes import Fit
from rackfit.planning.question import (
    ROOFLINE,
    Constraints,
    Disaggregated,
    Objective,
    Performance,
    PlanAnswer,
    performance,
)
from rackfit.planning.ranking import Order

SPEEDS: tuple[Objective, ...] = ("lowest-latency", "highest-throughput")
"""What is wanted where tables have a say in the order."""

LOOKED_UP = 4
"""Plans that are looked up for each that is told, where speed is wanted."""


class Timing:
    """The speeds of an answer's plans; `speeds` are those of the tables, if there are any."""

    def __init__(
        self, order: Order, tabled: TabledSpeeds | None, expired: Callable[[], bool]
    ) -> None:
        self._order = order
        self.speeds = tabled
        self._tabled = None if tabled is None else msgspec.structs.replace(order, speeds=tabled)
        self._expired = expired
        self._known: dict[int, Estimate | None] = {}

    @classmethod
    def of(
        cls,
        order: Order,
        question: Question,
        tables: Tables | None,
        measured: Measured | None,
        expired: Callable[[], bool],
    ) -> Self:
        """The speeds of plans in an order; `measured` loads say how even expert ranks are."""
        if tables is None:
            return cls(order, None, expired)
        tokens = order.workload.context_tokens
        tabled = TabledSpeeds(question.model, question.engine, tables, tokens, measured)
        return cls(order, tabled, expired)

    def performance(self, fit: Fit) -> Performance | None:
        """How fast a plan serves the workload; None where nothing is known of its accelerator."""
        tabled = self._estimate(fit)
        if tabled is not None and self.speeds is not None:
            return performance(tabled, method=self.speeds.source)
        estimate = self._order.estimate(fit)
        return None if estimate is None else performance(estimate)

    def ordered(self, fits: Sequence[Fit]) -> list[Fit]:
        """Plans by the tables' times, where speed is what is wanted; else as they are.

        What the tables do not cover stands where the roofline puts it.
        """
        wanted = self._order.objective in SPEEDS and self._order.second is None
        if self._tabled is None or not wanted:
            return list(fits)
        tabled, plain = self._tabled, self._order
        return sorted(
            fits, key=lambda fit: (plain if self._estimate(fit) is None else tabled).key(fit)
        )

    def _estimate(self, fit: Fit) -> Estimate | None:
        """What the tables say of a plan, None where they do not cover it or time is up."""
        if self._tabled is None or fit.shares:
            return None
        if id(fit) not in self._known:
            self._known[id(fit)] = None if self._expired() else _looked_up(self._tabled, fit)
        return self._known[id(fit)]


def _looked_up(order: Order, fit: Fit) -> Estimate | None:
    try:
        return order.estimate(fit)
    except NotCovered:
        return None


def of_two_kinds(
    what: str, told: Iterable[Performance | None], objective: Objective | Sequence[Objective]
) -> Iterator[str]:
    """Tell that speeds are compared which do not rest on the same, of `what` an answer tells."""
    kinds = {speed is None or speed.method == ROOFLINE for speed in told}
    if objective in SPEEDS and len(kinds) > 1:
        yield (
            f"Tables of measured kernels cover some of the {what}, and the roofline tells how "
            "fast the others are: near each other, two kinds of estimate do not compare."
        )


def of_two_kinds_told(
    answer: PlanAnswer, objective: Objective | Sequence[Objective]
) -> Iterator[str]:
    """The same of an answer's plans, and of its pairs."""
    plans = (plan.performance for plan in answer.plans)
    yield from of_two_kinds("plans", plans, objective)
    pairs = (pair.decode.performance for pair in answer.disaggregated)
    yield from of_two_kinds("plans of two kinds of replicas", pairs, objective)


def overruns(answer: PlanAnswer, asked: Constraints) -> Iterator[str]:
    """Tell which plans take longer by the tables than the caller allows."""
    for number, plan in enumerate(answer.plans, 1):
        if plan.performance is not None:
            yield from overrun(f"Plan {number}", plan.performance, plan.performance.method, asked)
    for number, pair in enumerate(answer.disaggregated, 1):
        if pair.decode.performance is not None:
            name, method = f"Disaggregated plan {number}", pair.decode.performance.method
            yield from overrun(name, pair, method, asked)


def overrun(
    name: str, times: Performance | Disaggregated, method: str, asked: Constraints
) -> Iterator[str]:
    """Tell which times that are allowed the roofline keeps, but not a plan's own `method`."""
    for what in ("seconds_to_first_token", "seconds_per_output_token"):
        value, most = getattr(times, what), getattr(asked, f"max_{what}")
        if method != ROOFLINE and most is not None and value > most:
            yield (
                f"{name}: max_{what} = {most:g} is kept by the roofline that plans are searched "
                f"by, but by {method} it takes {value:.3g} s."
            )
