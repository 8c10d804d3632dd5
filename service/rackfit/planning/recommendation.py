"""`POST /v1/recommendations`: which accelerators, how many, in which split, at what cost.

Every accelerator of the catalog is planned on its own usual nodes; the objective orders them.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from rackfit.catalog import Catalog
from rackfit.catalog.entries import Accelerator, Name
from rackfit.engines.choice import EngineChoice
from rackfit.engines.rejection import Rejection
from rackfit.engines.split import Split
from rackfit.inventory.model import Inventory, Node
from rackfit.memory.question import Capacity, ModelRef, Workload
from rackfit.planning.plan import Subject, plan_subject, subject
from rackfit.planning.prices import read_prices
from rackfit.planning.question import (
    Constraints,
    Objective,
    Performance,
    PlanAnswer,
    PlanRequest,
    Price,
    Seconds,
)

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
    `complete` is false when a deadline left parts untried.
    """

    feasible: bool
    complete: bool
    recommendations: tuple[Recommendation, ...]
    unsuitable: tuple[Unsuitable, ...]
    warnings: tuple[str, ...]


def recommend(
    request: RecommendationRequest,
    catalog: Catalog,
    *,
    device_reserve: float,
    expired: Callable[[], bool],
) -> RecommendationAnswer:
    """Plan the workload on every accelerator that comes into question.

    Raises:
        InvalidInput: the request contradicts the catalog or itself.
    """
    prices = read_prices(request.prices, catalog)
    found: list[Recommendation] = []
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
        answer = plan_subject(asked, about, catalog, expired)
        complete = complete and answer.complete
        warnings |= dict.fromkeys(answer.warnings)
        if answer.feasible:
            found.append(_recommendation(answer, accelerator, prices.get(accelerator.id)))
        else:
            reason = next(iter(answer.rejections), None)
            unsuitable.append(Unsuitable(accelerator=accelerator.id, rejection=reason))
    return RecommendationAnswer(
        feasible=bool(found),
        complete=complete,
        recommendations=tuple(
            sorted(found, key=partial(_order, request.objective))[: request.limit]
        ),
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
        constraints=Constraints(
            max_accelerators=request.max_accelerators,
            max_seconds_to_first_token=request.max_seconds_to_first_token,
            max_seconds_per_output_token=request.max_seconds_per_output_token,
        ),
        objective=request.objective,
        limit=1,
        rejection_limit=1,
    )


def _recommendation(
    answer: PlanAnswer, accelerator: Accelerator, price: float | None
) -> Recommendation:
    best = answer.plans[0]
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


def _order(objective: Objective, found: Recommendation) -> tuple[bool, float, int, int, str]:
    aim = _aim(objective, found)
    ties = found.memory_bytes, found.accelerators, found.accelerator
    return aim is None, aim or 0, *ties


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
