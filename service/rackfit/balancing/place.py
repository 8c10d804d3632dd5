"""From loads to placed experts: packed as evenly as can be found, and never below the floor."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from rackfit.balancing.floor import Shape, floor, least_peaks
from rackfit.balancing.hierarchy import spread
from rackfit.balancing.pack import PAIRS, PARTING, Expired, exchange, pack
from rackfit.balancing.packing import Packing, packed, shared_replicas, times
from rackfit.balancing.pairs import THOROUGH, search_counts
from rackfit.balancing.starts import deal
from rackfit.balancing.task import Floats, Ints, Task
from rackfit.balancing.unshare import part

_EQUAL, _NONE = 1e-12, 1e-300


class Problem(NamedTuple):
    """A task, the loads it was made of [windows, layers, experts], and nodes and groups."""

    task: Task
    measured: Floats
    shape: Shape


def place(problem: Problem, expired: Expired) -> Ints:
    """Place every replica: the expert in every slot, [layers, ranks, slots].

    Balance comes first, then the fewest replicas of one expert on one rank. No layer is less
    balanced than EPLB would leave it.
    """
    task, shape = problem.task, problem.shape
    floors = np.zeros(task.rows)
    if shape.nodes == 1:
        if task.slots >= task.experts and task.is_alike:
            return _everywhere(task)
        goal = np.ones(task.rows)
        # By groups EPLB's ties fall otherwise, even where one node has them all.
        measured = problem.measured[0] if shape.groups == 1 else None
        found, floors = pack(task, goal, expired, measured)
    else:
        nodes = spread(task, shape.nodes, shape.groups, expired)
        held = pack(nodes.task, nodes.goal, expired).placed
        row = np.arange(len(held))[:, None, None]
        found = nodes.expert[row, held].reshape(task.rows, task.ranks, task.slots)
        known = shape.groups <= PAIRS * shape.nodes  # the best spread
        goal = nodes.goal[:: shape.nodes] * known
    if not task.is_plain or expired():
        return found
    return _above_floor(problem, Found(found, goal, floors), expired)


def follow(problem: Problem, placed: Ints, suggested: Mapping[int, Ints], expired: Expired) -> Ints:
    """Search on from counts that a proof suggests for some layers; return the better of both."""
    task = problem.task
    if not suggested or task.slots != PAIRS or problem.shape.nodes > 1:
        return placed
    rows = np.array(list(suggested))
    part_of = task.select(rows)
    goal = np.ones(len(rows))
    counts = np.stack(list(suggested.values()))
    counts = search_counts(part_of, counts, goal, expired, THOROUGH)
    packing = Packing(part_of, counts)
    deal(packing)
    part(packing, packing.peaks() * (1 + PARTING), expired)
    better = packing.peaks() < times(part_of, placed[rows]).max(axis=(0, 2))
    followed = placed.copy()
    followed[rows[better]] = packing.placed()[better]
    return followed


class Found(NamedTuple):
    """A placement to be held to EPLB's.

    Attributes:
        placed: [layers, ranks, slots].
        goal: the least time of the slowest rank there can be, or less, [layers].
        floors: what that time is at least with EPLB, 0 where nothing is known, [layers].
    """

    placed: Ints
    goal: Floats
    floors: Floats


def _above_floor(problem: Problem, by: Found, expired: Expired) -> Ints:
    """Take EPLB's placement where it is better, and improve on it.

    It is better also where it is as even and has fewer replicas beside others of their expert.
    """
    task, shape, found = problem.task, problem.shape, by.placed
    peak = times(task, found).max(axis=(0, 2))
    floors = by.floors.copy()
    unknown = np.flatnonzero((peak > by.goal) & (floors == 0))
    if len(unknown):
        load = problem.measured[0, unknown]
        even = np.maximum(load.sum(axis=1), _NONE) / task.ranks
        floors[unknown] = least_peaks(load, shape) / even
    shared = shared_replicas(found)
    bar = np.where(shared > 0, peak * (1 + _EQUAL), peak * (1 - _EQUAL))
    doubtful = np.flatnonzero(((peak > by.goal) | (shared > 0)) & (floors < bar))
    if not len(doubtful):
        return found
    load = problem.measured[0, doubtful]
    placed = floor(load, shape).reshape(-1, *found.shape[1:])
    reached = times(task.select(doubtful), placed).max(axis=(0, 2))
    better = reached < peak[doubtful] * (1 - _EQUAL)
    better |= (reached < bar[doubtful]) & (shared_replicas(placed) < shared[doubtful])
    rows = doubtful[better]
    if len(rows):
        packing = packed(task.select(rows), placed[better])
        if shape.nodes == 1:
            exchange(packing, np.ones(len(rows)), expired)
            part(packing, packing.peaks(), expired)
        found[rows] = packing.placed()
    return found


def _everywhere(task: Task) -> Ints:
    """Place every expert on every rank, as many of each on all: perfectly even."""
    one = np.arange(task.slots) % task.experts
    return np.broadcast_to(one, (task.rows, task.ranks, task.slots)).copy()
