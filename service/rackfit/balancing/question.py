"""Expert placement requests and answers, as they stand on the wire."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from rackfit.catalog.entries import Name

MOST_LAYERS, MOST_EXPERTS, MOST_RANKS = 256, 1024, 1024
MOST_SLOTS, MOST_WINDOWS, MOST_CELLS = 4096, 32, 600_000
MOST_LOAD = 1e18
LEAST_SPEED, MOST_SPEED = 1e-3, 1e3

Layers = list[list[float]]

Ranks = Annotated[int, Meta(ge=1, le=MOST_RANKS)]
Slots = Annotated[int, Meta(ge=1, le=MOST_SLOTS)]


class PlacementRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Put a model's experts on ranks by their measured load.

    Attributes:
        loads: how much each expert was used, by layer and expert; in any unit, 0 to 1e18. At
            most 256 layers of 1,024 experts.
        windows: several such measurements instead, at most 32: a placement is as good as it
            is in its worst window.
        ranks: expert-parallel ranks; rank r holds slots r x slots / ranks and the next ones.
        slots: expert slots on all ranks together.
        redundant_experts: slots beyond one for each expert, instead of `slots`.
        nodes: nodes the ranks are spread over evenly, in order.
        groups: groups the experts are divided into evenly, in order.
        hierarchical: keep each group's replicas on one node.
        speeds: how fast each rank is relative to the others, 0.001 to 1,000.
        current: the expert in each slot now, by layer.
        move_price: how much balancedness a layer must gain for moving as many slots as it has;
            a layer that gains less a slot stays as it is. 0.118 where left out; 0 moves for any
            gain.
        move_limit: most slots to move, over all layers; a layer whose groups are not yet on one
            node each, as they are to be, moves regardless.
        expert_bytes: bytes of one expert's weights in one layer.
        prove: look for a better bound than the simple one, for two or three slots a rank;
            that takes longer than the placement.
        formats: engines to write the placement for.
        first_layer: the model's layer that is the first of `loads`, for `formats`.
    """

    ranks: Ranks
    loads: Layers | None = None
    windows: list[Layers] | None = None
    slots: Slots | None = None
    redundant_experts: Annotated[int, Meta(ge=0, le=MOST_SLOTS)] | None = None
    nodes: Ranks = 1
    groups: Annotated[int, Meta(ge=1, le=MOST_EXPERTS)] = 1
    hierarchical: bool = False
    speeds: list[float] | None = None
    current: list[list[int]] | None = None
    move_price: Annotated[float, Meta(ge=0, le=1e6)] | None = None
    move_limit: Annotated[int, Meta(ge=0, le=1 << 32)] | None = None
    expert_bytes: Annotated[int, Meta(ge=0, le=1 << 50)] | None = None
    prove: bool = True
    formats: Annotated[list[Name], Meta(max_length=10)] = []
    first_layer: Annotated[int, Meta(ge=0, le=1024)] = 0


class PlacedLayer(msgspec.Struct, frozen=True, kw_only=True):
    """One layer: the expert in each slot, the slots of each expert, and how even that is.

    `shared` counts replicas that lie on a rank with another one of their expert.
    """

    slot_to_expert: tuple[int, ...]
    expert_to_slots: tuple[tuple[int, ...], ...]
    balancedness: float
    upper_bound: float
    shared: int


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """A figure of all layers: their mean, and that of the worst."""

    mean: float
    worst: float


class PlacementAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Every replica's slot, and how balanced that is.

    A layer's balancedness is the mean time of its ranks over that of the slowest, in its worst
    window; a rank's time is its load over its speed, and an expert's load is split equally
    over its replicas. No placement of a layer has more than its `upper_bound`, which is proved
    (see docs/expert-placement.md); `gap` is the share of the mean bound that is not reached.
    `moved_slots` compares, rank by rank, what is there with what was. `complete` is false when
    a deadline cut the search or the proof short.
    """

    layers: tuple[PlacedLayer, ...]
    ranks: int
    slots: int
    balancedness: Balance
    upper_bound: Balance
    gap: float
    shared: int
    complete: bool
    current_balancedness: Balance | None = None
    moved_slots: int | None = None
    moved_bytes: int | None = None
    formats: dict[str, Any] | None = None
