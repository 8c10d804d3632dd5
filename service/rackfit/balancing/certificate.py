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

from rackfit.balancing.prices import NOISE, RULES, THRESHOLDS, Prices, prices
from rackfit.balancing.task import Floats, Task

GAP = 0.001
"""A simple bound within this of what was reached needs no better one."""

_REACHES = (0.9945, 0.9965, 0.9985)
"""Shares of the peak reached that are tried in turn as long as they are proved."""

_RETREATS = (0.992, 0.9885, 0.984, 0.975, 0.955)
"""Those tried in turn, until one is proved, where the first is not."""

_MOST_SUMS = 5_000_000
"""Sums for each layer and time up to which a proof is tried: 320 spare slots of 48 experts."""

_STEPS = np.linspace(-0.0005, 0.003, 8)
"""Where around the last proof the same prices are tried, relative to its T."""


class _Proof(NamedTuple):
    """Prices and the time they were found for."""

    time: float
    price: Prices


def certify(task: Task, simple: Floats, peak: Floats, expired: Callable[[], bool]) -> Floats:
    """Return a time [rows] below which no placement of a task gets.

    `simple` are times known to be out of reach and `peak` those reached; the answer lies
    between them.
    """
    bound = simple.copy()
    if not (task.is_plain and task.slots in RULES and _is_small(task)):
        return bound
    load = task.loads[0]
    proofs: dict[int, _Proof] = {}
    for row in np.flatnonzero(peak * (1 - GAP) > simple):
        if expired():
            break
        found = _search(load[row], task, float(peak[row]), float(simple[row]))
        if found is not None:
            proofs[int(row)] = found
    if proofs:
        rows = np.array(list(proofs))
        reached = _widen(load[rows], task, list(proofs.values()))
        bound[rows] = np.clip(reached, simple[rows], peak[rows])
    return bound


def _is_small(task: Task) -> bool:
    spare = task.ranks * task.slots - task.experts
    return task.experts * (spare + 1) ** 2 <= _MOST_SUMS


def _search(load: Floats, task: Task, peak: float, simple: float) -> _Proof | None:
    """Find the prices that prove most of a row, in a few tries."""
    found: _Proof | None = None
    for share in _REACHES:
        proof = _prove(load, task, peak * share, simple)
        if proof is None:
            break
        found = proof
    for share in () if found else _RETREATS:
        found = found or _prove(load, task, peak * share, simple)
    return found


def _prove(load: Floats, task: Task, time: float, simple: float) -> _Proof | None:
    """Find prices that prove a time, if that is beyond what is known and there are any."""
    if time <= simple:
        return None
    price = prices(load, task, time)
    return None if price is None else _Proof(time, price)


def _widen(load: Floats, task: Task, proofs: list[_Proof]) -> Floats:
    """Return the largest time [rows] that each row's prices prove, or 0."""
    stacked = Prices(*(np.stack(kind) for kind in zip(*(p.price for p in proofs), strict=True)))
    found = np.array([proof.time for proof in proofs])
    reached = np.zeros(len(load))
    for step in _STEPS:
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
