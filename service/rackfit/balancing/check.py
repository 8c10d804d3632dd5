"""What a placement request must be for there to be an answer, told field by field."""

import math
from collections.abc import Iterator, Sequence

from rackfit.balancing.question import (
    LEAST_SPEED,
    MOST_CELLS,
    MOST_EXPERTS,
    MOST_LAYERS,
    MOST_LOAD,
    MOST_SLOTS,
    MOST_SPEED,
    MOST_WINDOWS,
    Layers,
    PlacementRequest,
)
from rackfit.errors import InvalidInput, Violation

_MOST_VIOLATIONS = 20


def check(request: PlacementRequest) -> None:
    """Check what a schema cannot say.

    Raises:
        InvalidInput: with each field at fault, up to 20.
    """
    for rules in (_loads, _slots, _nodes, _speeds, _current):
        found = [
            violation for violation, _ in zip(rules(request), range(_MOST_VIOLATIONS), strict=False)
        ]
        if found:
            raise InvalidInput(*found)


def measured(request: PlacementRequest) -> tuple[str, Sequence[Layers]]:
    """Return the measurements and the pointer of the first."""
    if request.windows is not None:
        return "/windows/0", request.windows
    return "/loads", [request.loads or []]


def slots_of(request: PlacementRequest) -> int:
    """Return the slots of all ranks together."""
    if request.slots is not None:
        return request.slots
    _, windows = measured(request)
    return len(windows[0][0]) + (request.redundant_experts or 0)


def _loads(request: PlacementRequest) -> Iterator[Violation]:
    if (request.loads is None) == (request.windows is None):
        yield Violation("", "A placement takes exactly one of `loads` and `windows`.")
        return
    first, windows = measured(request)
    if not windows or not windows[0] or not windows[0][0]:
        at = "/windows" if not windows else first + ("/0" if windows[0] else "")
        yield Violation(at, "There is nothing to place: one window, layer and expert at least.")
        return
    yield from _sizes(first, windows)
    layers, experts = len(windows[0]), len(windows[0][0])
    for number, window in enumerate(windows):
        at = first if request.windows is None else f"/windows/{number}"
        if len(window) != layers:
            detail = f"This window has {len(window)} layers, the first has {layers}."
            yield Violation(at, detail)
        for layer, loads in enumerate(window):
            yield from _layer(f"{at}/{layer}", loads, experts)


def _sizes(first: str, windows: Sequence[Layers]) -> Iterator[Violation]:
    layers, experts = len(windows[0]), len(windows[0][0])
    for at, number, most, what in (
        ("/windows", len(windows), MOST_WINDOWS, "windows"),
        (first, layers, MOST_LAYERS, "layers"),
        (first + "/0", experts, MOST_EXPERTS, "experts"),
    ):
        if number > most:
            yield Violation(
                at, f"At most {most:,} {what} are placed at once; these are {number:,}."
            )


def _layer(at: str, loads: Sequence[float], experts: int) -> Iterator[Violation]:
    if len(loads) != experts:
        yield Violation(at, f"This layer has {len(loads)} experts, the first has {experts}.")
    if loads and min(loads) >= 0 and max(loads) <= MOST_LOAD and all(map(math.isfinite, loads)):
        return
    for expert, load in enumerate(loads):
        if not 0 <= load <= MOST_LOAD:
            yield Violation(f"{at}/{expert}", f"A load is 0 to {MOST_LOAD:g}; this is {load:g}.")


def _slots(request: PlacementRequest) -> Iterator[Violation]:
    if (request.slots is None) == (request.redundant_experts is None):
        yield Violation("", "A placement takes exactly one of `slots` and `redundant_experts`.")
        return
    _, windows = measured(request)
    slots, ranks, experts = slots_of(request), request.ranks, len(windows[0][0])
    at = "/redundant_experts" if request.slots is None else "/slots"
    cells = len(windows) * len(windows[0]) * slots
    if slots % ranks:
        fits = sorted({slots - slots % ranks, slots + -slots % ranks} - {0})
        would = (
            " or ".join(str(fit) for fit in fits if fit >= experts)
            or f"{-(-experts // ranks) * ranks}"
        )
        detail = f"{slots} slots over {ranks} ranks leave {slots % ranks} over; {would} would do."
        yield Violation(at, detail)
    if slots < experts:
        yield Violation(at, f"{slots} slots cannot hold {experts} experts.")
    if slots > MOST_SLOTS:
        yield Violation(at, f"At most {MOST_SLOTS:,} slots are filled; these are {slots:,}.")
    if cells > MOST_CELLS:
        detail = f"Windows x layers x slots is at most {MOST_CELLS:,}; this is {cells:,}."
        yield Violation(at, detail)


def _nodes(request: PlacementRequest) -> Iterator[Violation]:
    _, windows = measured(request)
    experts = len(windows[0][0])
    ranks, nodes, groups = request.ranks, request.nodes, request.groups
    if ranks % nodes:
        yield Violation("/nodes", f"{ranks} ranks are not divided evenly over {nodes} nodes.")
    if experts % groups:
        yield Violation("/groups", f"{experts} experts are not divided evenly in {groups} groups.")
    if request.hierarchical and groups % nodes:
        detail = f"{groups} groups are not divided evenly over {nodes} nodes."
        yield Violation("/groups", detail)


def _speeds(request: PlacementRequest) -> Iterator[Violation]:
    if request.speeds is None:
        return
    if len(request.speeds) != request.ranks:
        detail = f"There are {len(request.speeds)} speeds for {request.ranks} ranks."
        yield Violation("/speeds", detail)
    for rank, speed in enumerate(request.speeds):
        if not LEAST_SPEED <= speed <= MOST_SPEED:
            detail = f"A speed is {LEAST_SPEED:g} to {MOST_SPEED:g}; this is {speed:g}."
            yield Violation(f"/speeds/{rank}", detail)


def _current(request: PlacementRequest) -> Iterator[Violation]:
    if request.current is None:
        for name in ("move_price", "move_limit"):
            if getattr(request, name) is not None:
                yield Violation(
                    f"/{name}", f"`{name}` is about a `current` placement; there is none."
                )
        return
    _, windows = measured(request)
    layers, experts, slots = len(windows[0]), len(windows[0][0]), slots_of(request)
    if len(request.current) != layers:
        detail = f"`current` has {len(request.current)} layers, the loads have {layers}."
        yield Violation("/current", detail)
    for layer, held in enumerate(request.current):
        at = f"/current/{layer}"
        if len(held) != slots:
            yield Violation(at, f"This layer has {len(held)} slots; there are to be {slots}.")
        for slot, expert in enumerate(held):
            if not 0 <= expert < experts:
                yield Violation(
                    f"{at}/{slot}", f"There are experts 0 to {experts - 1}; this is {expert}."
                )
        if missing := set(range(experts)) - set(held):
            yield Violation(at, f"Expert {min(missing)} has no slot in this layer.")
