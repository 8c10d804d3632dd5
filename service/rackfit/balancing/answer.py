"""A placement request answered: placed, proved, and told what changes."""

from collections.abc import Callable

import numpy as np

from rackfit.balancing.bounds import (
    balancedness,
    most_balanced,
    partition_bound,
    simple_bound,
)
from rackfit.balancing.certificate import certify
from rackfit.balancing.check import check, measured, slots_of
from rackfit.balancing.floor import Shape
from rackfit.balancing.hierarchy import group_task
from rackfit.balancing.packing import shared_replicas, times
from rackfit.balancing.place import Problem, follow, place
from rackfit.balancing.question import Balance, PlacedLayer, PlacementAnswer, PlacementRequest
from rackfit.balancing.task import Floats, Ints, scaled
from rackfit.balancing.warm import arranged, choose, moved_slots, paths

PRICE = 0.118
"""What moving a layer's slots must gain where the caller names no price."""


class _Deadline:
    """Remembers whether anybody was told that the time is up."""

    def __init__(self, expired: Callable[[], bool]) -> None:
        self._expired = expired
        self.passed = False

    def __call__(self) -> bool:
        self.passed = self.passed or self._expired()
        return self.passed


def answer_placement(request: PlacementRequest, expired: Callable[[], bool]) -> PlacementAnswer:
    """Place experts by their load.

    Raises:
        InvalidInput: the request contradicts itself or is beyond what is placed.
    """
    check(request)
    deadline = _Deadline(expired)
    problem = problem_of(request)
    fresh, bound = proved(problem, place(problem, deadline), deadline, prove=request.prove)
    current = _current(request, fresh.shape)
    placed = fresh if current is None else _moved(request, problem, current, fresh, deadline)
    balance = layer_balance(problem, placed)
    bound = np.maximum(bound, balance)
    layers = tuple(
        map(_layer, placed, balance.tolist(), bound.tolist(), [problem.task.experts] * len(placed))
    )
    moved = None if current is None else int(moved_slots(current, placed).sum())
    size = request.expert_bytes
    return PlacementAnswer(
        layers=layers,
        ranks=request.ranks,
        slots=problem.shape.slots,
        balancedness=_summary(balance),
        upper_bound=_summary(bound),
        gap=float(1 - balance.mean() / bound.mean()),
        shared=sum(layer.shared for layer in layers),
        complete=not deadline.passed,
        current_balancedness=None if current is None else _summary(layer_balance(problem, current)),
        moved_slots=moved,
        moved_bytes=None if moved is None or size is None else moved * size,
    )


def problem_of(request: PlacementRequest) -> Problem:
    """Return what a checked request asks to be placed."""
    _, windows = measured(request)
    loads, slots = np.array(windows, np.float64), slots_of(request)
    speeds = None if request.speeds is None else np.array(request.speeds)
    nodes, groups = (request.nodes, request.groups) if request.hierarchical else (1, 1)
    task = scaled(loads, request.ranks, slots // request.ranks, speeds)
    return Problem(task, loads, Shape(request.ranks, slots, nodes, groups))


def layer_balance(problem: Problem, placed: Ints) -> Floats:
    """Return each layer's balancedness in its worst window."""
    return np.asarray(balancedness(times(problem.task, placed)).min(axis=0))


def proved(
    problem: Problem, placed: Ints, expired: Callable[[], bool], *, prove: bool
) -> tuple[Ints, Floats]:
    """Return the balancedness that no placement of each layer exceeds.

    It is looked for from what `placed` reaches; where the proof suggests something better than
    that, it is returned instead.
    """
    task, shape = problem.task, problem.shape
    bound = simple_bound(task)
    if shape.nodes > 1:
        room = shape.slots // shape.nodes // (task.experts // shape.groups)
        groups = group_task(task, shape.nodes, shape.groups)
        bound = np.maximum(bound, partition_bound(groups, room))
    if prove:
        peak = times(task, placed).max(axis=(0, 2))
        bound, suggested = certify(task, bound, peak, expired)
        placed = follow(problem, placed, suggested, expired)
    return placed, most_balanced(bound, task.speeds)


def _current(request: PlacementRequest, shape: tuple[int, ...]) -> Ints | None:
    return None if request.current is None else np.array(request.current).reshape(shape)


def _moved(
    request: PlacementRequest,
    problem: Problem,
    current: Ints,
    fresh: Ints,
    expired: Callable[[], bool],
) -> Ints:
    """Return where to go from `current`, at the price and within the limit asked for."""
    price = PRICE if request.move_price is None else request.move_price
    found = paths(problem, current, fresh, expired)
    chosen = choose(found, price, request.move_limit, problem.shape.slots)
    return np.stack([arranged(old, stop.placed) for old, stop in zip(current, chosen, strict=True)])


def _layer(placed: Ints, balance: float, bound: float, experts: int) -> PlacedLayer:
    slots = placed.ravel().tolist()
    where: list[list[int]] = [[] for _ in range(experts)]
    for slot, expert in enumerate(slots):
        where[expert].append(slot)
    return PlacedLayer(
        slot_to_expert=tuple(slots),
        expert_to_slots=tuple(map(tuple, where)),
        balancedness=balance,
        upper_bound=bound,
        shared=int(shared_replicas(placed[None])[0]),
    )


def _summary(layers: Floats) -> Balance:
    return Balance(mean=float(layers.mean()), worst=float(layers.min()))
