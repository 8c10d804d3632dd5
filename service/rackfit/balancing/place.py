"""From loads to placed experts: counts, a start, exchanges, and never below the floor."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from rackfit.balancing.aimed import aim
from rackfit.balancing.counts import greedy_counts, mixed_counts
from rackfit.balancing.floor import Shape, floor
from rackfit.balancing.hierarchy import spread
from rackfit.balancing.packing import Packing
from rackfit.balancing.pairs import THOROUGH, search_counts
from rackfit.balancing.starts import deal, difference
from rackfit.balancing.sweeps import sweep
from rackfit.balancing.task import Floats, Ints, Task
from rackfit.balancing.unshare import part

Expired = Callable[[], bool]

CLOSE = 0.0015
"""How far above the goal a rank's time may stay: not worth an exchange."""

_SMALL = 6000
"""Replicas up to which every layer is compared with EPLB's, however close to its goal."""

_EQUAL = 1e-12
_PARTING = 0.0005
"""What balance may be given for not having an expert twice on one rank."""

_PAIRS, _FEW, _MANY, _MOST = 2, 3, 5, 128
"""Slots a rank where counts decide, up to which every exchange is weighed, and from which up to
which replicas are joined by their differences; with more, dealing them is as even.
"""


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
    if shape.nodes == 1:
        goal = np.ones(task.rows)
        found = pack(task, goal, expired).placed()
    else:
        nodes = spread(task, shape.nodes, shape.groups, expired)
        held = pack(nodes.task, nodes.goal, expired).placed()
        row = np.arange(len(held))[:, None, None]
        found = nodes.expert[row, held].reshape(task.rows, task.ranks, task.slots)
        known = shape.groups <= _PAIRS * shape.nodes  # the best spread
        goal = nodes.goal[:: shape.nodes] * known
    if not task.is_plain or expired():
        return found
    return _above_floor(problem, found, goal, expired)


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
    packing = deal(part_of, counts)
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


def pack(task: Task, goal: Floats, expired: Expired) -> Packing:
    """Put a task's replicas on ranks, each row's times as near to `goal` [rows] as can be."""
    counts = greedy_counts(task)
    if task.slots == _PAIRS and task.is_plain:
        counts = search_counts(task, counts, goal, expired)
    best = _packed(task, counts, goal, expired)
    if bool((task.speeds == task.speeds[:, :1]).all()):
        return best
    spare = task.ranks * task.slots - task.experts
    for hot in sorted({spare // 2, spare // 4, 0} - {spare}):
        other = _packed(task, mixed_counts(task, hot), goal, expired)
        better = other.peaks() < best.peaks()
        best = packed(task, np.where(better[:, None, None], other.placed(), best.placed()))
    return best


def _packed(task: Task, counts: Ints, goal: Floats, expired: Expired) -> Packing:
    """Put replicas on ranks."""
    joined = _MANY <= task.slots <= _MOST and task.is_plain
    packing = (difference if joined else deal)(task, counts)
    for allowance in (CLOSE if task.slots > _PAIRS else _PARTING, _PARTING):
        allowed = np.maximum(packing.peaks(), goal) * (1 + allowance)
        left = part(packing, allowed, expired)
        exchange(packing, goal, expired)
        if not left:
            break
    return packing


def exchange(packing: Packing, goal: Floats, expired: Expired) -> None:
    """Exchange replicas until times are near `goal` [rows], or as near as they get."""
    task, limit = packing.task, goal * (1 + CLOSE)
    if task.slots == _PAIRS and task.is_plain:
        return
    aim(packing, goal, limit, expired, 12)
    if task.slots <= _FEW or not task.is_plain:
        sweep(packing, limit, expired, 30)


def _above_floor(problem: Problem, found: Ints, goal: Floats, expired: Expired) -> Ints:
    """Take EPLB's placement where it is better, and improve on it.

    In a large problem, layers near `goal` [layers], the least there can be, are left alone.
    """
    task, shape = problem.task, problem.shape
    peak = times(task, found).max(axis=(0, 2))
    doubtful = peak > goal * (1 + CLOSE if found.size > _SMALL else 0)
    if not doubtful.any():
        return found
    other = found.copy()
    load = problem.measured[0, doubtful]
    other[doubtful] = floor(load, shape).reshape(-1, *found.shape[1:])
    rows = np.flatnonzero(times(task, other).max(axis=(0, 2)) < peak * (1 - _EQUAL))
    if not len(rows):
        return found
    packing = packed(task.select(rows), other[rows])
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
