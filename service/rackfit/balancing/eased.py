"""Loads so hot that greedily counted replicas cannot be packed: fewer replicas, and larger ones.

Counting greedily leaves replicas of nearly the same load. Where there are a few more of them than
ranks and two are too much for one rank, no packing helps. With fewer replicas the same experts
fit, one to a rank, and the slots that this leaves go to experts that are hardly used.
"""

from collections.abc import Sequence

import numpy as np

from rackfit.balancing.counts import Greedy, mixed_counts
from rackfit.balancing.floor import pack_replicas
from rackfit.balancing.packing import times
from rackfit.balancing.task import Bools, Floats, Ints, Task

FIRST, OTHERS = (0.3,), (0.0, 0.15, 0.3, 0.45)
"""Counts that are tried: how far on the way from the fewest replicas, with which the largest has
room on a rank, to so many that there are too many large ones for the ranks. Where the first do not
do, the others may.
"""


def least_peak(load: Floats, ranks: int, slots: int, most: int) -> Floats:
    """Return what the fullest rank carries at least, of replicas of ascending `load` [rows, n].

    Of the k x ranks + 1 largest, some rank has k beside another one, and its other slots hold
    something as well: the most that this says for k up to `most`, with 0 of the largest alone.
    """
    least = np.zeros(len(load))
    for others in range(most + 1):
        last = load.shape[1] - others * ranks
        large = load[:, last - 1 : last + others].sum(axis=1)
        least = np.maximum(least, large + load[:, : slots - 1 - others].sum(axis=1))
    return least


def ease(task: Task, goal: Floats, shares: Sequence[float]) -> Ints:
    """Place replicas of counts with which times may come near `goal` [rows]: [rows, ranks, slots].

    They are placed as EPLB places its own, to be improved: each row with the most even of
    `shares`, numbers from 0 to 1. The task is a plain one.
    """
    load, shape = task.loads[0], (len(shares), task.rows, task.ranks, task.slots)
    order = Greedy.of(load, task.ranks * task.slots)
    few = _first(order.carried <= goal)
    many = np.maximum(_first(large_replicas(load, order, goal) > task.ranks), few)
    tried = few + np.rint(np.multiply.outer(shares, many - few)).astype(np.int64)
    counts = np.concatenate([mixed_counts(task, order, hot) for hot in tried])
    placed = pack_replicas(np.tile(load, (len(shares), 1)), counts, task.ranks).reshape(shape)
    peaks = np.stack([times(task, one).max(axis=(0, 2)) for one in placed])
    return np.asarray(placed[peaks.argmin(axis=0), np.arange(task.rows)])


def large_replicas(load: Floats, order: Greedy, goal: Floats) -> Ints:
    """Count replicas of which two are too much for a rank, before each is given: [more, rows]."""
    before = np.take_along_axis(load, order.expert.T, axis=1).T / order.carried
    replicas = np.rint(before).astype(np.int64)
    was = order.carried * 2 > goal
    becomes = was & (order.carried * 2 * replicas > goal * (replicas + 1))
    more = np.where(becomes, 1, np.where(was, -replicas, 0))
    at_first = (load * 2 > goal[:, None]).sum(axis=1)
    return np.asarray(at_first + np.cumsum(more, axis=0) - more)


def _first(holds: Bools) -> Ints:
    """Return the first turn at which something holds, else their number: [rows] of [more, rows]."""
    after = np.ones((1, holds.shape[1]), bool)
    return np.asarray(np.concatenate((holds, after)).argmax(axis=0))
