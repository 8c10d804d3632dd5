"""Times that no placement gets below, and what they say of balancedness."""

from math import factorial

import numpy as np

from rackfit.balancing.counts import greedy_counts
from rackfit.balancing.task import Floats, Ints, Task

_FOLDED = 2
"""Groups on a node up to which the best spread is known: the largest with the smallest."""

_ARRANGEMENTS = 5000
"""Ways to spread groups over nodes that are tried out; beyond these the bound is weaker."""


def simple_bound(task: Task) -> Floats:
    """Return the larger of two times [rows]: all ranks even, or the hottest replica alone.

    Greedy counts leave the smallest possible largest replica; an expert on every rank at once
    is no larger a burden than even ranks are.
    """
    fastest = task.speeds.max(axis=1)
    even = task.loads.sum(axis=2).max(axis=0) / task.speeds.sum(axis=1)
    alone = np.zeros(task.rows)
    for load in task.loads:
        one = task._replace(loads=load[None])
        counts = greedy_counts(one)
        free = counts < task.ranks
        alone = np.maximum(alone, np.where(free, load / counts, 0).max(axis=1))
    return np.asarray(np.maximum(even, alone / fastest))


def partition_bound(groups: Task, most: int) -> Floats:
    """Return a time [rows] below which no spread of groups has its slowest node.

    A node has room for up to `most` groups; where that is as many as there are for each, all nodes
    have equally many. It is the time of the best spread if there are few spreads, or then one or
    two groups a node.
    """
    even = groups.loads.sum(axis=2).max(axis=0) / groups.speeds.sum(axis=1)
    ways, equal = groups.ranks**groups.experts, most == groups.slots
    if equal:
        ways = factorial(groups.experts) // factorial(groups.slots) ** groups.ranks
    if len(groups.loads) == 1 and groups.is_alike and groups.slots <= _FOLDED and equal:
        return np.asarray(np.maximum(even, _folded(groups)))
    if ways > _ARRANGEMENTS:
        return np.asarray(np.maximum(even, _crowded(groups)))
    best = np.full(groups.rows, np.inf)
    for node in _arrangements(groups.experts, groups.ranks, most):
        on = groups.loads @ (node[:, None] == np.arange(groups.ranks)).astype(np.float64)
        best = np.minimum(best, (on / groups.speeds).max(axis=(0, 2)))
    return np.asarray(np.maximum(even, best))


def _crowded(groups: Task) -> Floats:
    """Return what some node carries at least: of k x nodes + 1 groups, one has k + 1 of them."""
    load = -np.sort(-groups.loads, axis=2)
    least = np.zeros(groups.rows)
    for others in range((groups.experts - 1) // groups.ranks + 1):
        last = others * groups.ranks
        least = np.maximum(least, load[:, :, last - others : last + 1].sum(axis=2).max(axis=0))
    return np.asarray(least / groups.speeds.max(axis=1))


def _folded(groups: Task) -> Floats:
    """Return the largest node of one or two groups each, the largest with the smallest."""
    load = np.sort(groups.loads[0], axis=1)
    if groups.slots == 1:
        return np.asarray(load[:, -1] / groups.speeds[:, 0])
    pairs = load[:, : groups.ranks] + load[:, : groups.ranks - 1 : -1]
    return np.asarray(pairs.max(axis=1) / groups.speeds[:, 0])


def _arrangements(groups: int, nodes: int, most: int) -> Ints:
    """Return every way to give each of `nodes` up to so many groups: [ways, groups]."""
    found: list[list[int]] = [[]]
    for _ in range(groups):
        found = [[*way, node] for way in found for node in range(nodes) if way.count(node) < most]
    return np.array(found)


def balancedness(times: Floats) -> Floats:
    """Return mean over maximum of times [..., ranks]; 1 where nothing is loaded."""
    most = times.max(axis=-1)
    return np.where(most > 0, times.mean(axis=-1) / np.where(most > 0, most, 1), 1.0)


def most_balanced(time: Floats, speeds: Floats) -> Floats:
    """Return the balancedness no placement exceeds whose slowest rank takes `time` [rows].

    Where ranks differ in speed the mean time is largest when the slow ones have as much as
    `time` allows, and the others what is left.
    """
    slow_first = np.sort(speeds, axis=1).cumsum(axis=1)
    total = slow_first[:, -1:]
    room = np.where(time > 0, time, 1)[:, None] * slow_first
    before = np.concatenate((np.zeros((len(room), 1)), room[:, :-1]), axis=1)
    filled = np.clip((total - before) / (room - before), 0, 1).mean(axis=1)
    return np.where(time > 0, filled, 1.0)
