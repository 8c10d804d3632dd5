"""From where experts are now: what each further move buys, and when to stop.

Every layer has paths of placements from the current one on: exchange by exchange for the hottest
rank; with one window from where few slots are dealt out anew (`covers`), with several round by
round (`rounds`); and at their end the placement made afresh. They do not depend on what a move
costs. Price and limit only say how far to go along the best of their stops, so a higher price or a
lower limit never moves more, nor balances better.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from rackfit.balancing.aimed import GAIN
from rackfit.balancing.bounds import balancedness
from rackfit.balancing.covers import cover
from rackfit.balancing.floor import Shape
from rackfit.balancing.pack import CLOSE
from rackfit.balancing.packing import Packing, loads_of, packed, times
from rackfit.balancing.place import Problem
from rackfit.balancing.rounds import MOST_SLOTS, best_rounds, pass_on
from rackfit.balancing.task import Bools, Ints, Task
from rackfit.balancing.unshare import COMPARED, exchange_peaks

_AT_ONCE = 1_000_000
"""Experts compared between looks at the clock."""

ROUNDS = (0.007, 0.011)
COVERS = (0.004, 0.006, 0.0075, 0.009, 0.01, 0.011, 0.0125, 0.0145, 0.018, 0.023, 0.03)
"""How far above the mean rounds of three, and slots dealt out anew, may leave ranks, way by way.

How little is moved for a balance depends on it, and the best of the ways is followed.
"""


class Stop(NamedTuple):
    """One placement on a layer's path: slots moved since the start, balancedness, slots."""

    moved: int
    balance: float
    placed: Ints


def paths(
    problem: Problem, current: Ints, fresh: Ints, expired: Callable[[], bool]
) -> list[list[Stop]]:
    """Return each layer's stops from `current` to `fresh`, both [layers, ranks, slots].

    Where groups are bound to nodes nothing is exchanged between nodes; and the current
    placement is no stop if it does not keep to that.
    """
    task, shape = problem.task, problem.shape
    free = shape.nodes == 1
    alike = free and task.is_alike
    balance = balancedness(times(task, current)).min(axis=0).tolist()
    found = [
        [Stop(0, here, placed)] if _keeps_groups(shape, placed) else []
        for here, placed in zip(balance, current, strict=True)
    ]
    for placed, rows in _ways(task, current, shape.nodes, expired, alike=alike):
        going_on = rows[[bool(found[row]) for row in rows]]
        _stop_at(found, task, going_on, current, placed)
    ends = fresh.copy()
    for row in range(task.rows if alike else 0):
        if expired():
            break
        ends[row] = _relabelled(fresh[row], current[row])
    _stop_at(found, task, np.arange(task.rows), current, ends)
    return found


def _ways(
    task: Task, current: Ints, nodes: int, expired: Callable[[], bool], *, alike: bool
) -> Iterator[tuple[Ints, Ints]]:
    """Yield placements of all layers on their ways from `current`, and the layers just changed."""
    yield from _exchanges(task, current, nodes, expired)
    if not alike:
        return
    if len(task.loads) > 1:
        for aim in ROUNDS if task.slots <= MOST_SLOTS else ():
            yield from _exchanges(task, current, nodes, expired, aim=aim)
        return
    for aim in COVERS:
        if expired():
            return
        covered, rows = _covered(task, current, 1 + aim, expired)
        yield covered, rows
        yield from _exchanges(task, covered, nodes, expired, enough=1 + aim)


def _covered(
    task: Task, current: Ints, aim: float, expired: Callable[[], bool]
) -> tuple[Ints, Ints]:
    """Deal out few slots of each layer anew for a peak of `aim`; return the layers changed."""
    load = loads_of(task, current)[0]
    placed, rows = current.copy(), []
    for row in range(task.rows):
        found = None if expired() else cover(load[row], current[row], aim, expired)
        if found is not None:
            placed[row] = found
            rows.append(row)
    return placed, np.array(rows, np.int64)


def _keeps_groups(shape: Shape, placed: Ints) -> bool:
    """Tell whether `placed` [ranks, slots] has each group on one node, and equally many on each."""
    group = placed.reshape(shape.nodes, -1) * shape.groups // (int(placed.max()) + 1)
    several = [len(np.unique(held)) for held in group]
    return several == [shape.groups // shape.nodes] * shape.nodes


def choose(paths: list[list[Stop]], price: float, limit: int | None, slots: int) -> list[Stop]:
    """Return each layer's placement: along its path as long as moves are worth their price.

    A step is worth it where a layer's balancedness grows by at least `price` for each layer's
    worth of slots moved, the best steps first, until `limit` slots have moved in all.
    """
    hulls = [_hull(path) for path in paths]
    chosen = [hull[0] for hull in hulls]
    steps = [
        (-_gain(before, after), layer, after)
        for layer, hull in enumerate(hulls)
        for before, after in pairwise(hull)
    ]
    moved = sum(stop.moved for stop in chosen)
    for loss, layer, after in sorted(steps, key=lambda step: step[:2]):
        moved += after.moved - chosen[layer].moved
        if -loss * slots < price or (limit is not None and moved > limit):
            break
        chosen[layer] = after
    return chosen


def _hull(path: list[Stop]) -> list[Stop]:
    """Return the stops that no mixture of others matches (upper hull), by slots moved."""
    hull: list[Stop] = []
    for stop in sorted(path, key=lambda stop: (stop.moved, -stop.balance)):
        if hull and stop.balance <= hull[-1].balance:
            continue
        while len(hull) > 1 and _gain(hull[-2], hull[-1]) <= _gain(hull[-1], stop):
            hull.pop()
        hull.append(stop)
    return hull


def _gain(before: Stop, after: Stop) -> float:
    return (after.balance - before.balance) / (after.moved - before.moved)


def _stop_at(found: list[list[Stop]], task: Task, rows: Ints, current: Ints, placed: Ints) -> None:
    """Add a stop to the paths of some layers."""
    there = placed[rows]
    balance = balancedness(times(task.select(rows), there)).min(axis=0).tolist()
    moved = moved_slots(current[rows], there).tolist()
    for row, *stop in zip(rows.tolist(), moved, balance, there, strict=True):
        found[row].append(Stop(*stop))


def moved_slots(old: Ints, new: Ints) -> Ints:
    """Return how many slots of `new` [layers, ranks, slots] hold what their rank did not have."""
    kept = np.sort(np.concatenate((_told_apart(old), _told_apart(new)), axis=2), axis=2)
    stayed = (kept[:, :, 1:] == kept[:, :, :-1]).sum(axis=(1, 2))
    return np.asarray(new.shape[1] * new.shape[2] - stayed)


def _told_apart(placed: Ints) -> Ints:
    """Number what each rank holds so that several replicas of one expert differ."""
    held = np.sort(placed, axis=2)
    slots = held.shape[2]
    turn = np.broadcast_to(np.arange(slots), held.shape)
    first = turn.copy()
    first[:, :, 1:][held[:, :, 1:] == held[:, :, :-1]] = 0
    return np.asarray(held * slots + turn - np.maximum.accumulate(first, axis=2))


def _exchanges(
    task: Task,
    current: Ints,
    nodes: int,
    expired: Callable[[], bool],
    *,
    aim: float | None = None,
    enough: float = 1 + CLOSE,
) -> Iterator[tuple[Ints, Ints]]:
    """Relieve each layer's hottest rank by one exchange, or with an `aim` round, after the other.

    Yields all placements and the layers just changed. It ends where no exchange helps, or the
    hottest rank's time is `enough`.
    """
    packing = packed(task, current)
    rows = np.arange(task.rows)
    for _ in range(2 * task.ranks):
        rows = rows[packing.peaks()[rows] > enough]
        if not len(rows) or expired():
            return
        cost = packing.task.slots**2 * packing.replicas
        several = max(1, _AT_ONCE // cost)
        chunks = [rows[at : at + several] for at in range(0, len(rows), several)]
        helped = [chunk[_relieve(packing, chunk, nodes, aim)] for chunk in chunks if not expired()]
        rows = np.concatenate([rows[:0], *helped])
        yield packing.placed(), rows


def _relieve(packing: Packing, rows: Ints, nodes: int, aim: float | None) -> Bools:
    """Relieve the hottest rank of each of `rows`; tell which could be.

    By a round where that leaves no rank of it more than `aim` above the mean, else by the best
    exchange. Ranks of a row are on `nodes`, and nothing leaves its node.
    """
    helped = np.zeros(len(rows), bool) if aim is None else _turn(packing, rows, 1 + aim, nodes)
    left = np.flatnonzero(~helped)
    helped[left] = _swap(packing, rows[left], nodes)
    return helped


def _swap(packing: Packing, rows: Ints, nodes: int) -> Bools:
    """Make the best exchange of the hottest rank of each of `rows`; tell which have one.

    Of very many slots only some are weighed.
    """
    times = packing.times()[rows]
    step = 1 + packing.task.slots**2 * packing.replicas // COMPARED
    hot = times.argmax(axis=1)
    mine = packing.held[:, rows * packing.task.ranks + hot].T[:, :, None]
    theirs = rows[:, None, None] * packing.replicas + np.arange(0, packing.replicas, step)
    mine, theirs = (
        each.reshape(len(rows), mine.shape[1] * theirs.shape[2])
        for each in np.broadcast_arrays(mine, theirs)
    )
    peak = exchange_peaks(packing, mine.ravel(), theirs.ravel()).reshape(mine.shape)
    each = packing.task.ranks // nodes
    peak[packing.rank[mine] // each != packing.rank[theirs] // each] = np.inf
    best = peak.argmin(axis=1)
    row = np.arange(len(rows))
    helps = peak[row, best] < times.max(axis=1) * (1 - GAIN)
    packing.swap(mine[row, best][helps], theirs[row, best][helps])
    return np.asarray(helps)


def _turn(packing: Packing, rows: Ints, aim: float, nodes: int) -> Bools:
    """Relieve two ranks of a row above `aim` in one round where it leaves none; tell where."""
    rounds = best_rounds(packing, rows, aim, nodes)
    two_are_hot = (packing.times()[rows] > aim).sum(axis=1) > 1
    good = two_are_hot & (rounds.peak <= aim)
    pass_on(packing, rounds.replicas[:, good])
    return np.asarray(good)


def _relabelled(new: Ints, old: Ints) -> Ints:
    """Number the ranks of `new` [ranks, slots] so that most slots stay where they are."""
    most = int(max(old.max(), new.max())) + 1
    has = [np.zeros((len(old), most), np.float32) for _ in range(2)]
    for presence, placed in zip(has, (new, old), strict=True):
        np.put_along_axis(presence, placed, 1, axis=1)
    common = has[0] @ has[1].T
    pairs = np.nonzero(common)
    most_first = np.argsort(-common[pairs], kind="stable")
    chosen = np.full(len(old), -1)
    free = np.ones(len(old), bool)
    for rank, place in zip(*(of[most_first].tolist() for of in pairs), strict=True):
        if free[rank] and chosen[place] < 0:
            chosen[place], free[rank] = rank, False
    chosen[chosen < 0] = np.flatnonzero(free)
    return np.asarray(new[chosen])


def arranged(old: Ints, new: Ints) -> Ints:
    """Order each rank's slots so that what stays on a rank stays in its slot."""
    placed = np.full_like(new, -1)
    for rank, (before, after) in enumerate(zip(old.tolist(), new.tolist(), strict=True)):
        left = list(after)
        for slot, expert in enumerate(before):
            if expert in left:
                placed[rank, slot] = expert
                left.remove(expert)
        placed[rank, placed[rank] < 0] = left
    return placed
