"""A proof that no placement gets below a time, for two or three slots a rank.

If all ranks stay within T, each replica above T - t has a replica below t beside it (of two
others, one below t / 2, and both below t). Add these up with weights y and choose the counts
that satisfy the sum best, slots and all: if even they do not, T is out of reach. Any weights
prove something; good ones are the dual prices of a linear program, which HiGHS solves. What is
believed in the end is a sum over integer counts alone (Lagrange), not the solver.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from rackfit.balancing.prices import NOISE, RULES, THRESHOLDS, Prices, judge
from rackfit.balancing.task import Floats, Ints, Task

GAP = 0.001
"""A simple bound within this of what was reached needs no better one."""

_REACHES = (0.994, 0.9965)
"""Shares of the peak reached that are tried in turn as long as they are proved."""

_RETREATS = (0.991, 0.987, 0.982, 0.97)
"""Those tried in turn, until one is proved, where the first is not."""

_WIDENED = 2
"""Proofs of a row whose prices are tried at other times."""

_MOST_SUMS = 5_000_000
"""Sums for each layer and time up to which a proof is tried: 320 spare slots of 48 experts."""

_STEPS = (0.0, -0.0005, 0.0005, 0.001, 0.0015, 0.002, 0.0025, 0.003, 0.0035, 0.004)
"""Where around the last proof the same prices are tried, relative to its T."""


class _Proof(NamedTuple):
    """Prices and the time they were found for."""

    time: float
    price: Prices


class Certificate(NamedTuple):
    """What is proved of a task, and what the proofs suggest.

    Attributes:
        bound: a time below which no placement gets, [rows].
        counts: by row, counts that may come nearer to it, [experts].
    """

    bound: Floats
    counts: dict[int, Ints]


def certify(task: Task, simple: Floats, peak: Floats, expired: Callable[[], bool]) -> Certificate:
    """Prove times [rows] out of reach.

    `simple` are times known to be so and `peak` those reached; the bounds lie between them.
    """
    found = Certificate(simple.copy(), {})
    if not (task.is_plain and task.slots in RULES and _is_small(task)):
        return found
    proofs: list[tuple[int, _Proof]] = []
    for row in np.flatnonzero(peak * (1 - GAP) > simple).tolist():
        if expired():
            break
        search = _Search(task.loads[0, row], task, float(simple[row]))
        search.run(float(peak[row]))
        proofs += [(row, proof) for proof in search.proofs[-_WIDENED:]]
        if search.counts is not None:
            found.counts[row] = search.counts
    if proofs:
        rows = np.array([row for row, _ in proofs])
        reached = _widen(task.loads[0, rows], task, [proof for _, proof in proofs], expired)
        np.maximum.at(found.bound, rows, np.minimum(reached, peak[rows]))
    return found


def _is_small(task: Task) -> bool:
    spare = task.ranks * task.slots - task.experts
    return task.experts * (spare + 1) ** 2 <= _MOST_SUMS


class _Search:
    """The search for the largest time of one row that is proved out of reach."""

    def __init__(self, load: Floats, task: Task, simple: float) -> None:
        self.load, self.task, self.simple = load, task, simple
        self.proofs: list[_Proof] = []
        self.counts: Ints | None = None

    def run(self, peak: float) -> None:
        """Prove as much as can be in a few tries, the last between what is and is not proved."""
        failed = 1.0
        for share in _REACHES:
            if not self._prove(peak * share):
                failed = share
                break
        for share in _RETREATS:
            if self.proofs:
                break
            if not self._prove(peak * share):
                failed = share
        if self.proofs:
            self._prove((self.proofs[-1].time + failed * peak) / 2)

    def _prove(self, time: float) -> bool:
        """Try a time; keep what proves it, or else the counts that nearly reach it."""
        if time <= self.simple:
            return False
        verdict = judge(self.load, self.task, time)
        if verdict.prices is not None:
            self.proofs.append(_Proof(time, verdict.prices))
        elif verdict.counts is not None:
            self.counts = verdict.counts
        return verdict.prices is not None


def _widen(load: Floats, task: Task, proofs: list[_Proof], expired: Callable[[], bool]) -> Floats:
    """Return the largest time [rows] that each row's prices prove, or 0."""
    stacked = Prices(*(np.stack(kind) for kind in zip(*(p.price for p in proofs), strict=True)))
    found = np.array([proof.time for proof in proofs])
    reached = np.zeros(len(load))
    for step in _STEPS:
        if step and expired():
            break
        time = found * (1 + step)
        proved = least_excess(load, task, time, stacked) > NOISE
        reached = np.where(proved, np.maximum(reached, time), reached)
    return reached


def least_excess(load: Floats, task: Task, time: Floats, price: Prices) -> Floats:
    """Return the least priced excess [rows] that any counts have: above 0, none stay within.

    `price` has a row for each of `load` [rows, experts]. Counts are whole and fill the slots:
    the best are found expert by expert, by how many spare slots are used (a knapsack).
    """
    rows, experts = load.shape
    spare = task.ranks * task.slots - experts
    counts = np.arange(1, spare + 2)
    any_expert = price.expert.sum(axis=1)
    best = np.zeros((rows, 1))
    for expert in range(experts):
        replica = load[:, expert, None] / counts
        cost = counts * _priced(replica, task, time, price.replica)
        cost += _above(time[:, None] - replica, time, price.expert[:, expert], NOISE)
        cost -= _above(replica * (task.slots - 1), time, any_expert, -NOISE)
        best = _joined(best, cost, spare + 1)
    return best[:, -1]


def _joined(best: Floats, cost: Floats, most: int) -> Floats:
    """Let one more expert have spare slots: the least cost [rows, slots used]."""
    rows, used = best.shape
    padded = np.full((rows, 2 * most - 1), np.inf)
    padded[:, most - 1 : most - 1 + used] = best
    windows = np.lib.stride_tricks.sliding_window_view(padded, most, axis=1)
    return np.asarray((windows + cost[:, None, ::-1]).min(axis=2))


def _priced(replica: Floats, task: Task, time: Floats, price: Floats) -> Floats:
    """Return what a replica [rows, counts] adds to the priced excess at `time` [rows]."""
    total = np.zeros(replica.shape)
    for rule, (needs, over) in enumerate(RULES[task.slots]):
        own = price[:, rule * THRESHOLDS : (rule + 1) * THRESHOLDS]
        total += needs * _above(time[:, None] - replica, time, own, NOISE)
        total -= _above(replica * over, time, own, -NOISE)
    total[replica > time[:, None]] = np.inf
    return total


def _above(value: Floats, time: Floats, price: Floats, noise: float) -> Floats:
    """Return the prices of thresholds above `value` [rows, counts], rounding with `noise`."""
    rising = np.zeros((len(price), THRESHOLDS + 1))
    rising[:, :-1] = price[:, ::-1].cumsum(axis=1)[:, ::-1]
    step = np.floor(value * (2 * THRESHOLDS / time[:, None]) + noise)
    return np.take_along_axis(rising, np.clip(step, 0, THRESHOLDS).astype(np.int64), axis=1)
