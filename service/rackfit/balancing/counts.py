"""How many replicas each expert has."""

import numpy as np

from rackfit.balancing.task import Floats, Ints, Task

_TIE = 1e-12
"""Added to every load, so that of idle experts the one with fewest replicas gets the next."""


def replicate_greedily(load: Floats, slots: int) -> Ints:
    """Give each further replica to the expert with most load a replica: [rows, experts].

    That leaves the smallest possible largest replica.
    """
    counts = np.ones(load.shape, np.int64)
    share = load.copy()
    rows = np.arange(len(load))
    for _ in range(slots - load.shape[1]):
        expert = share.argmax(axis=1)
        counts[rows, expert] += 1
        share[rows, expert] = load[rows, expert] / counts[rows, expert]
    return counts


def greedy_counts(task: Task) -> Ints:
    """Replicate greedily, but no expert oftener than there are ranks: [rows, experts].

    Where there are more slots on a rank than experts, that cannot be.
    """
    load = task.loads[0] if len(task.loads) == 1 else task.loads.max(axis=0)
    counts = replicate_greedily(load, task.ranks * task.slots)
    odd = (counts > task.ranks).any(axis=1) | ((load == 0) & (counts > 1)).any(axis=1)
    if odd.any():
        counts[odd] = _capped(load[odd] + _TIE, task)
    return counts


def mixed_counts(task: Task, hot: int) -> Ints:
    """Replicate greedily `hot` times, and the least loaded experts with what is left.

    Where some ranks are faster, they need large replicas, which greedy counts do not leave.
    """
    load = task.loads.max(axis=0)
    counts = replicate_greedily(load, task.experts + hot)
    counts = np.minimum(counts, max(task.ranks, 1))
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
