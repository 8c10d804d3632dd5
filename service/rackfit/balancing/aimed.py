"""Exchanges that are aimed: each hot rank looks up the replicas that would just bring it down.

A row's replicas lie in order of their load, so for each of a hot rank's replicas the few that
are smaller by just what the rank is above the mean are found by bisection.
"""

from collections.abc import Callable
from functools import reduce
from typing import NamedTuple

import numpy as np

from rackfit.balancing.packing import Packing
from rackfit.balancing.task import Bools, Floats, Ints

NEIGHBOURS = np.array([-3, -2, -1, 0, 1, 2])
"""Which replicas are weighed, counted from the one that fits."""

STEPS = 1024
"""Steps of the grid in which replicas are found by load."""

PASSES = 3
"""How often ranks that lost their partner to a hotter one choose again."""

_WORTH = 0.03
"""Share of the hot ranks that must find an exchange for there to be another round."""

GAIN = 1e-9
"""What an exchange must take off a rank's time, as a share of it: more than rounding."""


class _Offers(NamedTuple):
    """Exchanges offered to hot ranks.

    Attributes:
        hot: ranks, the hottest first, [n].
        mine: their replicas, [slots, n].
        theirs: replicas to have instead, [slots * neighbours, n].
        peak: the worse time of the two ranks afterwards, as `theirs`.
    """

    hot: Ints
    mine: Ints
    theirs: Ints
    peak: Floats


def aim(
    packing: Packing, goal: Floats, limit: Floats, expired: Callable[[], bool], rounds: int
) -> None:
    """Bring ranks with a time above `limit` [rows] near `goal` [rows] until little helps.

    No exchange raises the time of a row's hottest rank, and none brings two replicas of an
    expert onto one rank.
    """
    index = _Index.of(packing)
    for _ in range(rounds):
        times = packing.times().ravel()
        hot = np.flatnonzero(times > limit[packing.row])
        if not len(hot) or expired():
            return
        hot = hot[np.argsort(-times[hot])]
        if _accept(packing, _offers(packing, index, hot, goal), times) < _WORTH * len(hot):
            return


def _offers(packing: Packing, index: "_Index", hot: Ints, goal: Floats) -> _Offers:
    """Look up what each replica of a hot rank could be exchanged for."""
    mine = packing.held.take(hot, axis=1)
    row = packing.row[hot]
    excess = packing.total.max(axis=0)[hot] - goal[row] * packing.task.speeds.ravel()[hot]
    first = row * packing.replicas
    wanted = packing.mean.take(mine) - excess
    theirs = index.find(wanted, row)[:, None] + NEIGHBOURS[:, None]
    np.maximum(theirs, first, out=theirs)
    np.minimum(theirs, first + (packing.replicas - 1), out=theirs)
    peak = _peaks(packing, hot, mine, theirs)
    shape = -1, len(hot)
    return _Offers(hot, mine, theirs.reshape(shape), peak.reshape(shape))


class _Index(NamedTuple):
    """Where a load lies among a row's replicas, to a grid: no bisection is as fast.

    Attributes:
        first: the first replica of each step of the grid, [rows * STEPS].
        scale: steps a unit of load, [rows].
    """

    first: Ints
    scale: Floats

    @classmethod
    def of(cls, packing: Packing) -> "_Index":
        rows = packing.task.rows
        load = packing.mean.reshape(rows, -1)
        scale = (STEPS - 1) / np.maximum(load[:, -1], 1e-300)
        step = (load * scale[:, None]).astype(np.int64) + np.arange(rows)[:, None] * STEPS
        upto = np.cumsum(np.bincount(step.ravel(), minlength=rows * STEPS))
        return cls(np.concatenate(([0], upto[:-1])), scale)

    def find(self, load: Floats, row: Ints) -> Ints:
        """Return the replica of a row nearest to a load, or one near it."""
        step = np.clip(load * self.scale[row], 0, STEPS - 1).astype(np.int64)
        return self.first.take(step + row * STEPS)


def _peaks(packing: Packing, hot: Ints, mine: Ints, theirs: Ints) -> Floats:
    """Return the worse time of both ranks after each exchange: [slots, neighbours, n]."""
    there = packing.rank.take(theirs)

    def in_window(load: Floats, total: Floats) -> Floats:
        change = load.take(mine)[:, None] - load.take(theirs)
        here = total[hot] - change
        change += total.take(there)
        if packing.pace is not None:
            here *= packing.pace[hot]
            change *= packing.pace.take(there)
        return np.maximum(here, change, out=here)

    return reduce(np.maximum, map(in_window, packing.load, packing.total))


def _accept(packing: Packing, offers: _Offers, times: Floats) -> int:
    """Make the best exchange of each hot rank, the hottest first; return how many."""
    used = np.zeros(len(times), bool)
    todo = np.arange(len(offers.hot))
    made = 0
    for _ in range(PASSES):
        peak = offers.peak if len(todo) == len(offers.hot) else offers.peak[:, todo]
        best = peak.argmin(axis=0)
        good = peak[best, np.arange(len(todo))] < times[offers.hot[todo]] * (1 - GAIN)
        todo, best = todo[good], best[good]
        if not len(todo):
            break
        mine = offers.mine[best // len(NEIGHBOURS), todo]
        theirs = offers.theirs[best, todo]
        here, there = offers.hot[todo], packing.rank[theirs]
        free = _first(here, there, len(times)) & (here != there)
        free &= ~packing.share_after(mine, theirs)
        packing.swap(mine[free], theirs[free])
        used[here[free]] = used[there[free]] = True
        made += int(free.sum())
        offers.peak[best, todo] = np.inf
        todo = todo[~free & ~used[here]]
        left = offers.peak[:, todo]
        left[used[packing.rank[offers.theirs[:, todo]]]] = np.inf
        offers.peak[:, todo] = left
    return made


def _first(here: Ints, there: Ints, ranks: int) -> Bools:
    """Tell which pairs come first for both of their ranks, so that none is used twice."""
    turn = np.arange(len(here))
    first = np.full(ranks, len(here))
    first[there[::-1]] = turn[::-1]
    first[here] = np.minimum(first[here], turn)
    return np.asarray((first[here] == turn) & (first[there] == turn))
