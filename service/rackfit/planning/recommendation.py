"""`POST /v1/recommendations`: which accelerators, how many, in which split, at what cost.

Every accelerator of the catalog is planned on its own usual nodes; the objective orders them.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from rackfit.catalog import Catalog
from rackfit.catalog.entries import Accelerator, Name
from rackfit.engines.choice import EngineChoice
from rackfit.engines.rejection import Rejection
from rackfit.engines.split import Split
from rackfit.inventory.model import Inventory, Node
from rackfit.memory.question import Capacity, ModelRef, Workload
from rackfit.performance.tabled import Tables
from rackfit.planning.plan import PlanSearch, Subject, searched, subject
from rackfit.planning.prices import read_prices
from rackfit.planning.question import (
    Constraints,
    Objective,
    Performance,
    Plan,
    PlanRequest,
    Price,
    Seconds,
)
from rackfit.planning.timing import LOOKED_UP, SPEEDS, of_two_kinds, overrun

Kind = Literal["datacenter", "workstation", "consumer"]
MOST = 4096


class RecommendationRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be served, without any inventory.

    `accelerators` and `kinds` say which parts come into question (if neither, all of kind
    "datacenter"), `max_accelerators` how many at most, and the times are those of a plan's
    constraints. `prices` an accelerator-hour make costs;
    by cost, parts without one come after those with one.
    """

    model: ModelRef
    workload: Workload
    quantization: Name | None = None
    kv_cache_dtype: Name | None = None
    engine: EngineChoice | None = None
    accelerators: Annotated[list[Name], Meta(min_length=1, max_length=100)] | None = None
    kinds: Annotated[list[Kind], Meta(min_length=1, max_length=3)] | None = None
    max_accelerators: Annotated[int, Meta(ge=1, le=MOST)] = 128
    max_seconds_to_first_token: Seconds | None = None
    max_seconds_per_output_token: Seconds | None = None
    prices: Annotated[dict[Name, Price], Meta(max_length=1000)] = {}
    objective: Objective = "lowest-cost"
    limit: Annotated[int, Meta(ge=1, le=100)] = 10


class Recommendation(msgspec.Struct, frozen=True, kw_only=True):
    """One accelerator that serves the workload: how many, how they are split, what they cost.

    `nodes` are usual ones of `node_devices`; `memory_bytes` is all devices' usable memory and
    `price_per_hour` their price, null without one.
    """

    accelerator: str
    accelerators: int
    nodes: int
    node_devices: int
    split: Split
    memory_bytes: int
    price_per_hour: float | None
    headroom_bytes: int
    capacity: Capacity
    performance: Performance | None


class Unsuitable(msgspec.Struct, frozen=True, kw_only=True):
    """An accelerator that does not do, with the nearest reason."""

    accelerator: str
    rejection: Rejection | None


class RecommendationAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Accelerators that serve the workload, by the objective, and why not the others.

    What is equal there, and all without prices by cost, comes by memory bought, then by number.
    `complete` is false when a deadline left parts untried, or speeds to be looked up.
    """

    feasible: bool
    complete: bool
    recommendations: tuple[Recommendation, ...]
    unsuitable: tuple[Unsuitable, ...]
    warnings: tuple[str, ...]


class _Found(NamedTuple):
    """A recommendation, and the search it is from; kept, as it is large, only for tables."""

    told: Recommendation
    accelerator: Accelerator
    price: float | None
    search: PlanSearch | None

    def timed(self, tables: Tables) -> "_Found":
        """The same by the tables, where they cover it."""
        if self.search is None:
            return self
        best = self.search.plans(self.search.timing(tables))[0]
        return self._replace(told=_recommendation(best, self.accelerator, self.price))


def recommend(
    request: RecommendationRequest,
    catalog: Catalog,
    *,
    device_reserve: float,
    expired: Callable[[], bool],
    tables: Tables | None = None,
) -> RecommendationAnswer:
    """Plan the workload on every accelerator that comes into question.

    Every one is searched by the roofline before any is looked up in `tables`.

    Raises:
        InvalidInput: the request contradicts the catalog or itself.
    """
    prices = read_prices(request.prices, catalog)
    found: list[_Found] = []
    unsuitable: list[Unsuitable] = []
    warnings: dict[str, None] = {}
    complete = True
    about: Subject | None = None
    for accelerator in _candidates(request, catalog):
        if expired():
            complete = False
            break
        asked = _planned(request, accelerator)
        about = about or subject(asked, catalog, device_reserve)
        search = searched(asked, about, catalog, expired, tables)
        answer = search.answer(search.timing(None))
        complete = complete and answer.complete
        warnings |= dict.fromkeys(answer.warnings)
        if answer.feasible:
            price = prices.get(accelerator.id)
            one = _recommendation(answer.plans[0], accelerator, price)
            kept = None if tables is None else search
            found.append(_Found(one, accelerator, price, kept))
        else:
            reason = next(iter(answer.rejections), None)
            unsuitable.append(Unsuitable(accelerator=accelerator.id, rejection=reason))
    found.sort(key=partial(_order, request.objective))
    if tables is not None:
        found = _looked_up(found, request, tables)
        complete = complete and not expired()
    told = [each.told for each in found[: request.limit]]
    speeds = (one.told.performance for one in found)
    warnings |= dict.fromkeys(of_two_kinds("accelerators", speeds, request.objective))
    warnings |= dict.fromkeys(warning for one in told for warning in _overruns(one, request))
    return RecommendationAnswer(
        feasible=bool(found),
        complete=complete,
        recommendations=tuple(told),
        unsuitable=tuple(unsuitable),
        warnings=tuple(warnings),
    )


def _candidates(request: RecommendationRequest, catalog: Catalog) -> Iterator[Accelerator]:
    named = enumerate(request.accelerators or ())
    parts = [catalog.accelerator(name, f"/accelerators/{number}")[0] for number, name in named]
    kinds = request.kinds or (None if parts else ["datacenter"])
    yield from (
        part
        for part in parts or catalog.accelerators.values()
        if kinds is None or part.kind in kinds
    )


def _planned(request: RecommendationRequest, accelerator: Accelerator) -> PlanRequest:
    """The plan request on as many usual nodes of one accelerator as are allowed."""
    each = accelerator.node_size
    count = -(-request.max_accelerators // each)
    racks = max(accelerator.domain_size // each, 1)
    nodes = [
        Node(
            name=f"node-{number}",
            accelerator=accelerator,
            count=each,
            domain=f"domain-{number // racks}",
        )
        for number in range(count)
    ]
    return PlanRequest(
        model=request.model,
        workload=request.workload,
        inventory=Inventory(nodes=nodes),
        quantization=request.quantization,
        kv_cache_dtype=request.kv_cache_dtype,
        engine=request.engine,
        constraints=_constraints(request),
        objective=request.objective,
        limit=1,
        rejection_limit=1,
    )


def _constraints(request: RecommendationRequest) -> Constraints:
    return Constraints(
        max_accelerators=request.max_accelerators,
        max_seconds_to_first_token=request.max_seconds_to_first_token,
        max_seconds_per_output_token=request.max_seconds_per_output_token,
    )


def _looked_up(found: list[_Found], request: RecommendationRequest, tables: Tables) -> list[_Found]:
    """The best of what was found, by the tables where they cover it, in order again."""
    more = LOOKED_UP if request.objective in SPEEDS else 1
    timed = [one.timed(tables) for one in found[: more * request.limit]]
    return sorted(timed, key=partial(_order, request.objective))


def _overruns(told: Recommendation, request: RecommendationRequest) -> Iterator[str]:
    """Tell which times the caller allows are kept by the roofline, but not by the tables."""
    speed = told.performance
    if speed is not None:
        yield from overrun(told.accelerator, speed, speed.method, _constraints(request))


def _recommendation(best: Plan, accelerator: Accelerator, price: float | None) -> Recommendation:
    return Recommendation(
        accelerator=accelerator.id,
        accelerators=best.accelerators,
        nodes=-(-best.accelerators // accelerator.node_size),
        node_devices=accelerator.node_size,
        split=best.split,
        memory_bytes=best.accelerators * accelerator.usable_bytes,
        price_per_hour=None if price is None else price * best.accelerators,
        headroom_bytes=best.headroom_bytes,
        capacity=best.capacity,
        performance=best.performance,
    )


def _order(objective: Objective, found: _Found) -> tuple[bool, float, int, int, str]:
    told = found.told
    aim = _aim(objective, told)
    return aim is None, aim or 0, told.memory_bytes, told.accelerators, told.accelerator


def _aim(objective: Objective, found: Recommendation) -> float | None:
    """What is to be small; None where it is not known."""
    speed = found.performance
    match objective:
        case "fewest-accelerators":
            return found.accelerators
        case "lowest-cost":
            return found.price_per_hour
        case "most-headroom":
            return -found.headroom_bytes
        case "lowest-latency":
            return speed.seconds_per_output_token if speed else None
        case "highest-throughput":
            return -speed.tokens_per_second if speed else None
