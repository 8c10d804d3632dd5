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

_ROUGH, _MANY = 2, 600
"""In how many first rounds with how many hot ranks the nearest replicas will do."""

_LEAST, _MOST, _WEIGHED = 3, 8, 3000
"""Replicas weighed later on either side of the one that fits: so many that numpy is busy."""

PASSES = 2
"""How often ranks choose: those that lost their partner to a hotter one do so again."""

_STEPS = 1024
"""Most steps of the grid in which replicas are found by load; else two for each replica."""

_WORTH = 0.1
"""Share of the hot ranks that must find an exchange for there to be another round."""

GAIN = 1e-9
"""What an exchange must take off a rank's time, as a share of it: more than rounding."""


class _Offers(NamedTuple):
    """Exchanges offered to hot ranks.

    Attributes:
        hot: ranks, the hottest first, [n].
        mine: their replicas, [slots, n].
        theirs: replicas to have instead, [slots * neighbours, n].
        there: the ranks these are on, as `theirs`.
        peak: the worse time of the two ranks afterwards, as `theirs`.
    """

    hot: Ints
    mine: Ints
    theirs: Ints
    there: Ints
    peak: Floats

    def of(self, columns: Ints) -> "_Offers":
        """Return those of some of the ranks."""
        return _Offers(
            self.hot[columns],
            self.mine.take(columns, axis=1),
            self.theirs.take(columns, axis=1),
            self.there.take(columns, axis=1),
            self.peak.take(columns, axis=1),
        )


def aim(
    packing: Packing, goal: Floats, limit: Floats, expired: Callable[[], bool], rounds: int
) -> None:
    """Bring ranks with a time above `limit` [rows] near `goal` [rows] until little helps.

    No exchange raises the time of a row's hottest rank, and none brings two replicas of an
    expert onto one rank.
    """
    index: _Index | None = None
    for turn in range(rounds):
        times = packing.times().ravel()
        hot = np.flatnonzero(times > limit[packing.row])
        if not len(hot) or expired():
            return
        index = index or _Index.of(packing)
        hot = hot[np.argsort(-times[hot], kind="stable")]
        rough = turn < _ROUGH and len(hot) > _MANY
        reach = 1 if rough else min(_MOST, max(_LEAST, _WEIGHED // len(hot)))
        made = _accept(packing, _offers(packing, index, hot, goal, reach), times)
        if made < _WORTH * len(hot) and not rough:
            return


def _offers(packing: Packing, index: "_Index", hot: Ints, goal: Floats, reach: int) -> _Offers:
    """Look up what each replica of a hot rank could be exchanged for, `reach` on either side."""
    mine = packing.held.take(hot, axis=1)
    row = packing.row[hot]
    excess = packing.total.max(axis=0)[hot] - goal[row] * packing.task.speeds.ravel()[hot]
    first = row * packing.replicas
    wanted = packing.mean.take(mine) - excess
    theirs = index.find(wanted, row)[:, None] + np.arange(-reach, reach)[:, None]
    np.maximum(theirs, first, out=theirs)
    np.minimum(theirs, first + (packing.replicas - 1), out=theirs)
    there = packing.rank.take(theirs)
    peak = _peaks(packing, hot, (mine, theirs), there)
    shape = -1, len(hot)
    return _Offers(hot, mine, theirs.reshape(shape), there.reshape(shape), peak.reshape(shape))


class _Index(NamedTuple):
    """Where a load lies among a row's replicas, to a grid: no bisection is as fast.

    Attributes:
        first: the first replica of each step of the grid, [rows * steps].
        scale: steps a unit of load, [rows].
        steps: steps of a row.
    """

    first: Ints
    scale: Floats
    steps: int

    @classmethod
    def of(cls, packing: Packing) -> "_Index":
        rows, steps = packing.task.rows, min(_STEPS, 2 * packing.replicas)
        load = packing.mean.reshape(rows, -1)
        scale = (steps - 1) / np.maximum(load[:, -1], 1e-300)
        step = (load * scale[:, None]).astype(np.int64) + np.arange(rows)[:, None] * steps
        upto = np.cumsum(np.bincount(step.ravel(), minlength=rows * steps))
        return cls(np.concatenate(([0], upto[:-1])), scale, steps)

    def find(self, load: Floats, row: Ints) -> Ints:
        """Return the replicas nearest to loads [slots, n] of rows [n]: [slots, n]."""
        step = np.clip(load * self.scale[row], 0, self.steps - 1).astype(np.int64)
        return self.first.take(step + row * self.steps)


def _peaks(packing: Packing, hot: Ints, exchanged: tuple[Ints, Ints], there: Ints) -> Floats:
    """Return the worse time of both ranks after each exchange: [slots, neighbours, n]."""
    mine, theirs = exchanged

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
    """Make the best exchange of each hot rank, the hottest first; return how many.

    Ranks that lost their partner to a hotter one choose again among those still free.
    """
    used = np.zeros(len(times), bool)
    several, made = len(offers.peak) // len(offers.mine), 0
    for passes in range(1, PASSES + 1):
        best = offers.peak.argmin(axis=0)
        least = offers.peak[best, np.arange(len(best))]
        column = np.flatnonzero(least < times[offers.hot] * (1 - GAIN))
        best = best[column]
        mine = offers.mine[best // several, column]
        theirs = offers.theirs[best, column]
        here, there = offers.hot[column], offers.there[best, column]
        free = _first(here, there, len(times)) & (here != there)
        free &= ~packing.share_after(mine, theirs)
        packing.swap(mine[free], theirs[free])
        made += int(free.sum())
        used[here[free]] = used[there[free]] = True
        left = column[~used[here]]
        if passes == PASSES or not len(left):
            break
        offers.peak[best, column] = np.inf
        offers = offers.of(left)
        offers.peak[used.take(offers.there)] = np.inf
    return made


def _first(here: Ints, there: Ints, ranks: int) -> Bools:
    """Tell which pairs come first for both of their ranks, so that none is used twice."""
    turn = np.arange(len(here))
    first = np.full(ranks, len(here))
    first[there[::-1]] = turn[::-1]
    first[here] = np.minimum(first[here], turn)
    return np.asarray((first[here] == turn) & (first[there] == turn))
