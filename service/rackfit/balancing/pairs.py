"""Replica counts for two slots a rank, where nothing but the counts decides.

Given counts, the best packing is known: the largest replica with the smallest, and so on. All
ranks stay within a time T if and only if, for each t up to T / 2, there are no more replicas
above T - t than below t: each of the former needs one of the latter beside it (Hall). Moving
a replica from one expert to another changes that balance by two steps a move, so the best of
all moves is found with a few look-ups, by an exponential potential over a grid of t.
"""

from collections.abc import Callable, Sequence

import numpy as np

from rackfit.balancing.task import Bools, Floats, Ints, Task

STEPS = 64
"""Thresholds t between 0 and T / 2."""

STAGES = ((0.03, 8), (0.015, 8), (0.01, 8), (0.007, 8))
"""How far below the best peak so far T is set, and the moves made to get there."""

THOROUGH = ((0.015, 20), (0.01, 20), (0.008, 20), (0.006, 20), (0.005, 20), (0.004, 20))
"""The same, where a proof takes longer anyway."""

STEEPNESS = 1.1
"""How much more one more violation at a threshold weighs."""

REST = 4
"""Moves during which an expert that was changed is left alone."""

NEAR = 2
"""Violations at most for counts to be worth a look at their true peak."""

_CAP = 24
_OVER = 99
"""Stands for a replica above T itself, which no other can make up for."""

_ADD, _REMOVE = 2, 0


def paired_peaks(load: Floats, counts: Ints) -> Floats:
    """Return the largest sum of two replicas where the largest is put with the smallest."""
    replicas = int(counts[:1].sum())
    replica = np.repeat((load / counts).ravel(), counts.ravel()).reshape(len(load), replicas)
    replica.sort(axis=1)
    half = replicas // 2
    return np.asarray((replica[:, :half] + replica[:, : half - 1 : -1]).max(axis=1, initial=0))


def search_counts(
    task: Task,
    counts: Ints,
    goal: Floats,
    expired: Callable[[], bool],
    stages: Sequence[tuple[float, int]] = STAGES,
) -> Ints:
    """Look for counts with a lower peak than `counts` [rows, experts], down to `goal` [rows]."""
    load = task.loads[0]
    best, peak = counts.copy(), paired_peaks(load, counts)
    for below, moves in stages:
        rows = np.flatnonzero(peak > goal)
        if not len(rows) or expired():
            break
        target = np.maximum(peak[rows] * (1 - below), goal[rows])
        stage = _Stage(load[rows], best[rows], target, task.ranks)
        for _ in range(moves):
            if not stage.move() or expired():
                break
            near = stage.near()
            now = paired_peaks(stage.load[near], stage.counts[near])
            better = now < peak[rows[near]]
            changed = rows[near[better]]
            best[changed], peak[changed] = stage.counts[near[better]], now[better]
    return best


class _Stage:
    """Moves towards one T a row.

    `step` and `weight` are, for one replica less, as many, and one more of each expert, the
    first threshold its replicas count at and by how much, [3, rows, experts].
    """

    def __init__(self, load: Floats, counts: Ints, target: Floats, most: int) -> None:
        self.load, self.counts, self.target, self.most = load, counts, target, most
        self.turn = 0
        self.rests = np.zeros(load.shape, np.int32)
        three = [_steps(load, np.maximum(counts + more, 1), target[:, None]) for more in (-1, 0, 1)]
        self.step = np.stack([step for step, _ in three])
        self.weight = np.stack([weight for _, weight in three])
        self.first = np.arange(len(load))[:, None] * (STEPS + 1)
        changes = np.clip(np.arange(-2 * _OVER, 2 * _OVER + 1), -_CAP, _CAP)
        self.growth = np.exp(STEEPNESS * changes) - 1
        size = len(load) * (STEPS + 1)
        where = (self.step[1] + self.first).ravel()
        sums = np.bincount(where, self.weight[1].ravel(), size).reshape(len(load), -1)
        self.excess = sums.cumsum(axis=1)

    def move(self) -> bool:
        """Move a replica in each row that is not yet within its T; tell whether any is not."""
        rows = np.flatnonzero(self.excess[:, :STEPS].max(axis=1) > 0)
        if not len(rows):
            return False
        self.turn += 1
        gain = self._potential(_ADD)
        gain[(self.rests > self.turn) | (self.counts >= self.most)] = np.inf
        to = gain.argmin(axis=1)
        self._change(rows, to[rows], 1)
        loss = self._potential(_REMOVE)
        over = self.weight[_REMOVE] == _OVER
        loss[(self.rests > self.turn) | over | (self.counts == 1)] = np.inf
        giver = loss.argmin(axis=1)
        none = np.isinf(np.take_along_axis(loss, giver[:, None], axis=1)[:, 0])
        self._change(rows, np.where(none, to, giver)[rows], -1)
        return True

    def near(self) -> Ints:
        """Return the rows that may be better now: within their T, or all but."""
        return np.flatnonzero(self.excess[:, :STEPS].max(axis=1) <= NEAR)

    def _potential(self, to: int) -> Floats:
        """Return what the potential grows by if an expert has one replica more, or less."""
        power = np.exp(STEEPNESS * np.minimum(self.excess, _CAP))
        power[:, STEPS] = 0
        above = power[:, ::-1].cumsum(axis=1)[:, ::-1].ravel()
        now, then = self.step[1], self.step[to]
        early, late = self.weight[1], self.weight[to]
        between = np.where(now < then, -early, late)
        beyond = above.take(np.maximum(now, then) + self.first)
        before = above.take(np.minimum(now, then) + self.first)
        offset = 2 * _OVER
        change = self.growth.take(between + offset, mode="clip") * (before - beyond)
        change += self.growth.take(late - early + offset, mode="clip") * beyond
        return np.asarray(change)

    def _change(self, rows: Ints, experts: Ints, by: int) -> None:
        """Give `experts`, one of each of `rows`, a replica more or less."""
        threshold = np.arange(STEPS + 1)
        for index, sign in ((1, -1), (1 + by, 1)):
            counted = threshold >= self.step[index, rows, experts][:, None]
            self.excess[rows] += sign * self.weight[index, rows, experts][:, None] * counted
        self.counts[rows, experts] += by
        self.rests[rows, experts] = self.turn + REST
        load, counts = self.load[rows, experts], self.counts[rows, experts]
        for index in range(3):
            number = np.maximum(counts + index - 1, 1)
            step, weight = _steps(load, number, self.target[rows])
            self.step[index, rows, experts] = step
            self.weight[index, rows, experts] = weight


def _steps(load: Floats, counts: Ints, target: Floats) -> tuple[Ints, Ints]:
    """Return from which threshold on an expert's replicas count, and by how much.

    Small ones count as room from their own load on, large ones as need from what is left
    beside them, as many as there are.
    """
    replica, half = load / counts, target / 2
    large: Bools = replica > half
    beside = np.where(large, target - replica, replica)
    step = np.ceil(beside * (STEPS / half)).astype(np.int32)
    weight = np.where(large, counts, -counts).astype(np.int32)
    over = replica > target
    return np.where(over, 0, np.minimum(step, STEPS)), np.where(over, _OVER, weight)
