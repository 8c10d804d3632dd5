"""Plan requests and answers, as they stand on the wire."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from rackfit.balancing.question import Balance, Layers
from rackfit.catalog.entries import Name
from rackfit.engines.choice import EngineChoice
from rackfit.engines.rejection import Rejection
from rackfit.engines.split import Degree, Split
from rackfit.inventory.model import Inventory
from rackfit.memory.question import Capacity, ModelRef, RankMemory, Workload
from rackfit.performance.run import Estimate
from rackfit.planning.launches import Launch, LaunchOptions, Router
from rackfit.planning.reserving import Reserved
from rackfit.planning.seating import NodeLoss

Objective = Literal[
    "fewest-accelerators", "highest-throughput", "lowest-latency", "lowest-cost", "most-headroom"
]

Pair = Annotated[list[Objective], Meta(min_length=2, max_length=2)]
"""Two objectives: the plans that no other beats in both, best in the first one first."""

MAX_PRICE = 1e6

Price = Annotated[float, Meta(extra_json_schema={"exclusiveMinimum": 0, "maximum": MAX_PRICE})]
"""What an accelerator costs an hour, in the caller's currency.

Its bounds are told here and checked in `plan`, which can say which price is wrong.
"""


Seconds = Annotated[float, Meta(gt=0, le=1e6)]


class Constraints(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the caller insists on; no split outside it is tried.

    Where that leaves none, or one that needs more than is allowed, the code is `constraint`.
    Times are held by the estimates of `performance`: as many replicas as it takes share the
    sequences, and a split that serves not even one of them in time is `too-slow`. What is
    `reserved` is taken from the inventory before the search. `context` ranks are asked of replicas
    of the phases that the engine has them in: with `disaggregate` of one side alone, if it is so.

    Any one node may be lost: with `node_loss` "serve" the replicas that have no rank on it hold
    all sequences, with "replan" the same plan finds room without it. `placement` "pack" takes as
    few nodes as it can; "spread" puts as few replicas on a node as it can, and takes racks by
    turns. With `mix_accelerators` the stages of a pipeline may be on two accelerator types too.
    """

    max_accelerators: Annotated[int, Meta(ge=1, le=1 << 24)] | None = None
    accelerators: Annotated[list[Name], Meta(min_length=1, max_length=100)] | None = None
    tensor: Degree | None = None
    pipeline: Degree | None = None
    data: Degree | None = None
    context: Degree | None = None
    expert: Degree | None = None
    decode_context: Degree | None = None
    replicas: Degree | None = None
    max_seconds_to_first_token: Seconds | None = None
    max_seconds_per_output_token: Seconds | None = None
    reserved: Reserved | None = None
    node_loss: NodeLoss | None = None
    placement: Literal["pack", "spread"] = "pack"
    mix_accelerators: bool = False

    def __post_init__(self) -> None:
        if self.node_loss == "serve" and self.replicas == 1:
            msg = '`node_loss` "serve" needs `replicas` of 2 or more: one alone may be lost'
            raise ValueError(msg)


class PlanRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fit a model on an inventory: which split, and which rank on which device.

    `objective` is what the first plan is best at. Given two, the plans are those that no other
    beats in one without losing in the other, at most `limit` of them. `prices` an
    accelerator-hour, by any name of the accelerator, are for `lowest-cost`; types without one
    cost 1. With `disaggregate` there are also plans whose prompts are read on other replicas than
    tokens are written on, by the (first) objective. `expert_loads`, how much each expert was used
    by layer and expert, say how even expert ranks can be made; without them it is assumed.
    """

    model: ModelRef
    workload: Workload
    inventory: Inventory
    quantization: Name | None = None
    kv_cache_dtype: Name | None = None
    engine: EngineChoice | None = None
    constraints: Constraints = Constraints()
    objective: Objective | Pair = "fewest-accelerators"
    prices: Annotated[dict[Name, Price], Meta(max_length=1000)] = {}
    launch: LaunchOptions | None = None
    disaggregate: bool = False
    expert_loads: Layers | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 5
    rejection_limit: Annotated[int, Meta(ge=0, le=10_000)] = 20


class PlannedRank(msgspec.Struct, frozen=True, kw_only=True):
    """One rank on one device; `experts` is a range list (`0-7,40`), null for dense models."""

    rank: int
    node: str
    device: int
    stage: int
    experts: str | None
    memory: RankMemory


ROOFLINE = "roofline by operator, with an efficiency fitted on measured kernels"


class Performance(msgspec.Struct, frozen=True, kw_only=True):
    """How fast a plan serves the workload, estimated; `method` and `basis` say from what.

    With `input_tokens` and `output_tokens` in the workload, requests of that size follow each
    other; else sequences are written at the asked context, and a prompt is all of it but the
    output. `_low` and `_high` bound what eight of ten measured points kept within.
    """

    seconds_per_output_token: float
    seconds_per_output_token_low: float
    seconds_per_output_token_high: float
    seconds_to_first_token: float
    seconds_to_first_token_low: float
    seconds_to_first_token_high: float
    tokens_per_second: float
    tokens_per_second_low: float
    tokens_per_second_high: float
    tokens_per_second_per_user: float
    tokens_per_second_per_replica: float
    tokens_per_second_per_accelerator: float
    method: str = ROOFLINE
    basis: str


def performance(estimate: Estimate, method: str = ROOFLINE) -> Performance:
    """An estimate as it stands on the wire."""
    token, first = estimate.seconds_per_output_token, estimate.seconds_to_first_token
    rate = estimate.tokens_per_second
    return Performance(
        seconds_per_output_token=token.value,
        seconds_per_output_token_low=token.low,
        seconds_per_output_token_high=token.high,
        seconds_to_first_token=first.value,
        seconds_to_first_token_low=first.low,
        seconds_to_first_token_high=first.high,
        tokens_per_second=rate.value,
        tokens_per_second_low=rate.low,
        tokens_per_second_high=rate.high,
        tokens_per_second_per_user=estimate.tokens_per_second_per_user,
        tokens_per_second_per_replica=estimate.tokens_per_second_per_replica,
        tokens_per_second_per_accelerator=estimate.tokens_per_second_per_accelerator,
        method=method,
        basis=estimate.basis,
    )


class StageShare(msgspec.Struct, frozen=True, kw_only=True):
    """Consecutive `stages` on one type of accelerator, so many `accelerators` in all replicas."""

    accelerator: str
    stages: int
    accelerators: int


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One split on named nodes.

    `headroom_bytes` is the least over ranks of what the engine may use less the rank's
    total; `capacity` is for the whole plan. Replicas are alike: of a plan with thousands of
    ranks, those of the first `replicas_listed` replicas are listed. Where replicas are kept
    apart, as many as `replicas_lost_with_a_node` share one at most. With `expert_loads`,
    `expert_balancedness` is what `/v1/expert-placements` reaches on the plan's expert ranks.
    `layers_by_stage` is there where the engine is told to divide the layers otherwise than it
    would, to leave the fullest rank more room or to suit the speed of `mixed` accelerators;
    `accelerator` is then that of the first stage.
    """

    split: Split
    accelerator: str
    accelerators: int
    nodes: tuple[str, ...]
    ranks: tuple[PlannedRank, ...]
    replicas_listed: int
    replicas_lost_with_a_node: int | None
    expert_balancedness: Balance | None
    layers_by_stage: tuple[int, ...] | None
    mixed: tuple[StageShare, ...] | None
    headroom_bytes: int
    capacity: Capacity
    performance: Performance | None
    launch: Launch | None


class Disaggregated(msgspec.Struct, frozen=True, kw_only=True):
    """Prompts read on some replicas, tokens written on others (xPyD), no device used by both.

    The `decode` replicas hold the workload's sequences and finish `requests_per_second`; the
    `prefill` replicas are as many as read the prompts of these, `prefill_busy` of the time. The
    time to the first token includes `seconds_to_transfer`, what a prompt's cache takes over the
    network. Estimates, with bounds as those of `performance`; the `method` and `basis` of the
    `decode` plan's are those of both sides. Where both sides have commands, `router` says how what
    sends them requests is started.
    """

    prefill: Plan
    decode: Plan
    router: Router | None
    accelerators: int
    requests_per_second: float
    prefill_busy: float
    seconds_to_transfer: float
    seconds_to_first_token: float
    seconds_to_first_token_low: float
    seconds_to_first_token_high: float
    seconds_per_output_token: float
    seconds_per_output_token_low: float
    seconds_per_output_token_high: float


class Shortfall(msgspec.Struct, frozen=True, kw_only=True):
    """What an infeasible inventory lacks under the request's constraints.

    `bytes` is what the devices of the nearest split lack together to serve the whole workload:
    what its ranks need beyond their devices, and what devices that are missing would hold; 0 where
    it is time that lacks.
    `accelerators` says for each type how many more would do on their own, in whole nodes, all
    free and as large as the largest of that type (a type that no number helps is left out).
    """

    bytes: int
    accelerators: dict[str, int]


class PlanAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Plans, best first, and why not for the splits that were rejected.

    `complete` is false when a deadline cut the search short. `rejections_total` counts the
    splits rejected; a tensor degree that no split may have counts as one. `rejections` are the
    nearest misses, by what they lack to serve the whole workload, and broken rules by turns.
    Splits of one accelerator that break a rule alike are one entry: over all entries, `alike`
    sums up to `rejections_total`. `disaggregated` plans are there if asked for and if any fits;
    nothing else speaks of them.
    """

    feasible: bool
    complete: bool
    plans: tuple[Plan, ...]
    disaggregated: tuple[Disaggregated, ...]
    rejections: tuple[Rejection, ...]
    rejections_total: int
    splits_evaluated: int
    shortfall: Shortfall | None
    warnings: tuple[str, ...]
