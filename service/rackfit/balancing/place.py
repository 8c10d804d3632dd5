"""From loads to placed experts: counts, a start, exchanges, and never below the floor."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from rackfit.balancing.aimed import aim
from rackfit.balancing.counts import greedy_counts, mixed_counts
from rackfit.balancing.floor import Shape, floor, least_peaks
from rackfit.balancing.hierarchy import spread
from rackfit.balancing.packing import Packing
from rackfit.balancing.pairs import THOROUGH, search_counts
from rackfit.balancing.starts import deal, start
from rackfit.balancing.sweeps import sweep
from rackfit.balancing.task import Floats, Ints, Task
from rackfit.balancing.unshare import part

Expired = Callable[[], bool]

CLOSE = 0.0015
"""How far above the goal a rank's time may stay: not worth an exchange."""

_SMALL = 6000
"""Replicas up to which every layer is compared with EPLB's, however close to its goal."""

_EQUAL, _NONE = 1e-12, 1e-300
_PARTING = 0.0005
"""What balance may be given for not having an expert twice on one rank."""

_PAIRS, _FEW, _MANY, _MOST = 2, 3, 4, 128
"""Slots a rank where counts decide, up to which every exchange is weighed, and from which up to
which replicas are joined by their differences; with more, dealing them is as even.
"""

_LEFT = 64
"""Hot ranks of all rows up to which every exchange is weighed whatever the slots."""


class Problem(NamedTuple):
    """A task, the loads it was made of [windows, layers, experts], and nodes and groups."""

    task: Task
    measured: Floats
    shape: Shape


def place(problem: Problem, expired: Expired) -> Ints:
    """Place every replica: the expert in every slot, [layers, ranks, slots].

    Balance comes first, then the fewest replicas of one expert on one rank. No layer is less
    balanced than EPLB would leave it, but for what `CLOSE` allows in a large problem.
    """
    task, shape = problem.task, problem.shape
    floors = np.zeros(task.rows)
    if shape.nodes == 1:
        goal = np.ones(task.rows)
        packing, floors = pack(task, goal, expired, problem.measured[0])
        found = packing.placed()
    else:
        nodes = spread(task, shape.nodes, shape.groups, expired)
        held = pack(nodes.task, nodes.goal, expired).packing.placed()
        row = np.arange(len(held))[:, None, None]
        found = nodes.expert[row, held].reshape(task.rows, task.ranks, task.slots)
        known = shape.groups <= _PAIRS * shape.nodes  # the best spread
        goal = nodes.goal[:: shape.nodes] * known
    if not task.is_plain or expired():
        return found
    return _above_floor(problem, Found(found, goal, floors), expired)


def follow(problem: Problem, placed: Ints, suggested: Mapping[int, Ints], expired: Expired) -> Ints:
    """Search on from counts that a proof suggests for some layers; return the better of both."""
    task = problem.task
    if not suggested or task.slots != _PAIRS or problem.shape.nodes > 1:
        return placed
    rows = np.array(list(suggested))
    part_of = task.select(rows)
    goal = np.ones(len(rows))
    counts = np.stack(list(suggested.values()))
    counts = search_counts(part_of, counts, goal, expired, THOROUGH)
    packing = Packing(part_of, counts)
    deal(packing)
    part(packing, packing.peaks() * (1 + _PARTING), expired)
    better = packing.peaks() < times(part_of, placed[rows]).max(axis=(0, 2))
    followed = placed.copy()
    followed[rows[better]] = packing.placed()[better]
    return followed


def packed(task: Task, placed: Ints) -> Packing:
    """Return the packing that has experts where `placed` [rows, ranks, slots] has them."""
    rows = np.arange(task.rows)[:, None] * task.experts
    experts = placed.reshape(task.rows, -1) + rows
    counts = np.bincount(experts.ravel(), minlength=task.rows * task.experts)
    packing = Packing(task, counts.reshape(task.rows, task.experts))
    packing.put_experts(placed)
    return packing


class Packed(NamedTuple):
    """Replicas on ranks, and what EPLB's peak is where that is known, else 0, [rows]."""

    packing: Packing
    floors: Floats


def pack(task: Task, goal: Floats, expired: Expired, measured: Floats | None = None) -> Packed:
    """Put a task's replicas on ranks, each row's times as near to `goal` [rows] as can be.

    With the loads it was made of, `measured` [rows, experts], EPLB's placement is one to start at.
    """
    counts = greedy_counts(task)
    if task.slots == _PAIRS and task.is_plain:
        counts = search_counts(task, counts, goal, expired)
    best = _packed(Packing(task, counts), goal, expired, measured)
    if bool((task.speeds == task.speeds[:, :1]).all()):
        return best
    spare = task.ranks * task.slots - task.experts
    for hot in sorted({spare // 2, spare // 4, 0} - {spare}):
        other = _packed(Packing(task, mixed_counts(task, hot)), goal, expired, None).packing
        better = other.peaks() < best.packing.peaks()
        placed = np.where(better[:, None, None], other.placed(), best.packing.placed())
        best = best._replace(packing=packed(task, placed))
    return best


def _packed(packing: Packing, goal: Floats, expired: Expired, measured: Floats | None) -> Packed:
    """Put replicas on ranks."""
    task = packing.task
    floors = np.zeros(task.rows)
    if _MANY <= task.slots <= _MOST and task.is_plain:
        floors = start(packing, measured)
    else:
        deal(packing)
    for allowance in (CLOSE if task.slots > _PAIRS else _PARTING, _PARTING):
        allowed = np.maximum(packing.peaks(), goal) * (1 + allowance)
        left = part(packing, allowed, expired)
        exchange(packing, goal, expired)
        if not left:
            break
    return Packed(packing, floors)


def exchange(packing: Packing, goal: Floats, expired: Expired) -> None:
    """Exchange replicas until times are near `goal` [rows], or as near as they get."""
    task, limit = packing.task, goal * (1 + CLOSE)
    if task.slots == _PAIRS and task.is_plain:
        return
    aim(packing, goal, limit, expired, 10)
    left = int((packing.times() > limit[:, None]).sum())
    if task.slots <= _FEW or not task.is_plain or left <= _LEFT:
        sweep(packing, limit, expired, 30)


class Found(NamedTuple):
    """A placement to be held to EPLB's.

    Attributes:
        placed: [layers, ranks, slots].
        goal: the least time of the slowest rank there can be, or less, [layers].
        floors: that time with EPLB where it is known, else 0, [layers].
    """

    placed: Ints
    goal: Floats
    floors: Floats


def _above_floor(problem: Problem, by: Found, expired: Expired) -> Ints:
    """Take EPLB's placement where it is better, and improve on it.

    In a large problem, layers near their goal are left alone.
    """
    task, shape, found = problem.task, problem.shape, by.placed
    peak = times(task, found).max(axis=(0, 2))
    near = by.goal * (1 + CLOSE if found.size > _SMALL else 0)
    floors = by.floors.copy()
    unknown = np.flatnonzero((peak > near) & (floors == 0))
    if len(unknown):
        load = problem.measured[0, unknown]
        even = np.maximum(load.sum(axis=1), _NONE) / task.ranks
        floors[unknown] = least_peaks(load, shape) / even
    doubtful = np.flatnonzero((peak > near) & (floors < peak * (1 - _EQUAL)))
    if not len(doubtful):
        return found
    load = problem.measured[0, doubtful]
    placed = floor(load, shape).reshape(-1, *found.shape[1:])
    reached = times(task.select(doubtful), placed).max(axis=(0, 2))
    better = reached < peak[doubtful] * (1 - _EQUAL)
    rows = doubtful[better]
    if len(rows):
        packing = packed(task.select(rows), placed[better])
        if shape.nodes == 1:
            exchange(packing, np.ones(len(rows)), expired)
            part(packing, packing.peaks(), expired)
        found[rows] = packing.placed()
    return found


def times(task: Task, placed: Ints) -> Floats:
    """Return each rank's time in each window: [windows, rows, ranks]."""
    rows = np.arange(task.rows)[:, None, None] * task.experts
    number = (placed + rows).ravel()
    counts = np.bincount(number, minlength=task.rows * task.experts)
    share = task.loads.reshape(len(task.loads), -1) / counts
    load = share.take(number, axis=1).reshape(len(share), *placed.shape).sum(axis=3)
    return np.asarray(load / task.speeds)
