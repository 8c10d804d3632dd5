"""How many replicas each expert has."""

from typing import NamedTuple

import numpy as np

from rackfit.balancing.task import Floats, Ints, Task

_TIE = 1e-12
"""Added to every load, so that of idle experts the one with fewest replicas gets the next."""


class Greedy(NamedTuple):
    """Which expert gets each further replica, and what one of its replicas carried: [more, rows].

    It is always the expert with most load a replica. However many are given, that leaves the
    smallest possible largest replica.
    """

    expert: Ints
    carried: Floats

    @classmethod
    def of(cls, load: Floats, slots: int) -> "Greedy":
        """Fill `slots` with replicas of loads [rows, experts]."""
        counts = np.ones(load.shape, np.int64)
        share = load.copy()
        rows = np.arange(len(load))
        more = max(0, slots - load.shape[1]), len(load)
        found = cls(np.empty(more, np.int64), np.empty(more))
        for expert, carried in zip(*found, strict=True):
            share.argmax(axis=1, out=expert)
            carried[:] = share[rows, expert]
            counts[rows, expert] += 1
            share[rows, expert] = load[rows, expert] / counts[rows, expert]
        return found

    def counts(self, more: Ints | int, experts: int) -> Ints:
        """Count replicas after the first `more` [rows] were given: [rows, experts]."""
        turns, rows = self.expert.shape
        number = self.expert + np.arange(rows) * experts
        given = np.broadcast_to(np.arange(turns)[:, None] < more, number.shape)
        counts = np.bincount(number[given], minlength=rows * experts)
        return 1 + counts.reshape(rows, experts)


def replicate_greedily(load: Floats, slots: int) -> Ints:
    """Give each further replica to the expert with most load a replica: [rows, experts]."""
    order = Greedy.of(load, slots)
    return order.counts(len(order.expert), load.shape[1])


def greedy_counts(task: Task, measured: Floats | None = None) -> Ints:
    """Replicate greedily, but no expert oftener than there are ranks: [rows, experts].

    Where there are more slots on a rank than experts, that cannot be. By the loads that a task was
    made of, `measured` [rows, experts], ties fall as with EPLB.
    """
    load = task.loads.max(axis=0) if measured is None else measured
    counts = replicate_greedily(load, task.ranks * task.slots)
    odd = (counts > task.ranks).any(axis=1) | ((load == 0) & (counts > 1)).any(axis=1)
    if odd.any():
        counts[odd] = _capped(load[odd] + _TIE, task)
    return counts


def mixed_counts(task: Task, order: Greedy, hot: Ints | int) -> Ints:
    """Give the first `hot` [rows] replicas in their order, the rest to the least loaded experts.

    Where some ranks are faster or some experts very hot, large replicas are needed, which greedy
    counts do not leave.
    """
    load = task.loads.max(axis=0)
    counts = np.minimum(order.counts(hot, task.experts), task.ranks)
    rows = np.arange(task.rows)[:, None]
    coldest = np.argsort(load, axis=1, kind="stable")
    left = task.ranks * task.slots - counts.sum(axis=1)
    while (left > 0).any():
        more = np.arange(task.experts) < left[:, None]
        counts[rows, coldest] += more
        left -= more.sum(axis=1)
    return counts


def _capped(load: Floats, task: Task) -> Ints:
    """Replicate greedily, idle experts evenly, up to one replica a rank."""
    counts = np.ones(load.shape, np.int64)
    share = load.copy()
    rows = np.arange(len(load))
    most = max(task.ranks, -(-task.ranks * task.slots // task.experts))
    for _ in range(task.ranks * task.slots - task.experts):
        expert = share.argmax(axis=1)
        counts[rows, expert] += 1
        held = counts[rows, expert]
        share[rows, expert] = np.where(held < most, load[rows, expert] / held, 0)
    return counts
