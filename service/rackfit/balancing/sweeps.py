"""Exchanges that leave nothing out: hot ranks weigh every replica of many other ranks.

Slower than `aimed`, and the last word where replicas differ in more than one load, ranks in
speed, or a rank has so few slots that what would fit exactly is seldom there.
"""

from collections.abc import Callable
from functools import reduce
from typing import NamedTuple

import numpy as np

from rackfit.balancing.aimed import GAIN
from rackfit.balancing.packing import Packing
from rackfit.balancing.task import Bools, Floats, Ints

CANDIDATES = 24_000
"""Exchanges weighed at once: enough for numpy to be busy, few enough for the cache."""

_MOST = 2_000_000
"""Exchanges weighed at once whatever is asked for."""

_NEARLY = 1 - 1e-12


class _Pairs(NamedTuple):
    """Hot ranks [n], row by row from the hottest on, and other ranks for each [n, several].

    `all` tells which of the hot ranks [n] have every cold rank of their row among the others.
    """

    hot: Ints
    others: Ints
    all: Bools


def sweep(packing: Packing, limit: Floats, expired: Callable[[], bool], sweeps: int) -> None:
    """Exchange replicas until no rank's time is above `limit` [rows] or nothing helps.

    No exchange raises the time of a row's hottest rank, and none brings two replicas of an
    expert onto one rank.
    """
    closeness = np.full(packing.task.rows, 0.5)
    for turn in range(sweeps):
        pairs = _pairs(packing, limit, closeness, turn)
        if not len(pairs.hot) or expired():
            return
        _look_closer(packing, pairs, _exchange(packing, pairs), closeness)


def _pairs(packing: Packing, limit: Floats, closeness: Floats, turn: int) -> _Pairs:
    """Give each hot rank as many cold ones as can be weighed at once.

    Hot is what lies above a bar between the limit (closeness 0) and the hottest rank (1).
    """
    ranks = packing.task.ranks
    times = packing.times()
    hottest = times.max(axis=1)
    bar = np.minimum(limit + closeness * (hottest - limit), hottest * _NEARLY)
    bar[(closeness > 1) | (hottest <= limit)] = np.inf
    order = np.argsort(-times, axis=1, kind="stable")
    heat = np.take_along_axis(times, order, axis=1) > bar[:, None]
    row, place = _hottest(heat, packing.task.slots)
    cold = ranks - heat.sum(axis=1)[row]
    budget = CANDIDATES // max(1, len(row) * packing.task.slots**2)
    width = max(1, min(ranks - 1, budget))
    step = (place + turn * width)[:, None] + np.arange(width)
    partner = ranks - 1 - step % np.maximum(cold, 1)[:, None]
    others = row[:, None] * ranks + order[row[:, None], partner]
    return _Pairs(row * ranks + order[row, place], others, width >= cold)


def _hottest(heat: Bools, slots: int) -> tuple[Ints, Ints]:
    """Return rows and places of hot ranks, of very many with very many slots the hottest."""
    row, place = np.nonzero(heat)
    most = max(1, _MOST // slots**2)
    if len(row) > most:
        kept = np.sort(np.argsort(place, kind="stable")[:most])
        row, place = row[kept], place[kept]
    return row, place


def _exchange(packing: Packing, pairs: _Pairs) -> Bools:
    """Make the best exchange of each hot rank; tell which found one.

    Of hot ranks that would have the same partner, the hottest gets it.
    """
    width = pairs.others.shape[1]
    hot, others = np.repeat(pairs.hot, width), pairs.others.ravel()
    after = _peaks(packing, hot, others)
    least = after.min(axis=0).reshape(-1, width)
    best = least.argmin(axis=1)
    lower = np.take_along_axis(least, best[:, None], axis=1)[:, 0]
    better = lower < packing.times().ravel()[pairs.hot] * (1 - GAIN)
    found = np.flatnonzero(better)
    _, first = np.unique(pairs.others[found, best[found]], return_index=True)
    column = found[first] * width + best[found[first]]
    slot, other = np.divmod(after[:, column].argmin(axis=0), packing.task.slots)
    mine, theirs = packing.held[slot, hot[column]], packing.held[other, others[column]]
    packing.swap(mine, theirs)
    return better


def _peaks(packing: Packing, here: Ints, there: Ints) -> Floats:
    """Return the worse of two ranks' times after each exchange between them: [slots^2, n]."""
    mine, theirs = packing.held.take(here, axis=1), packing.held.take(there, axis=1)

    def in_window(load: Floats, total: Floats) -> Floats:
        change = load.take(mine)[:, None] - load.take(theirs)[None]
        one, other = total[here] - change, change + total[there]
        if packing.pace is not None:
            one *= packing.pace[here]
            other *= packing.pace[there]
        return np.maximum(one, other, out=one)

    worst = reduce(np.maximum, map(in_window, packing.load, packing.total))
    same = packing.expert.take(mine)[:, None] == packing.expert.take(theirs)[None]
    slot, column = np.nonzero(same.any(axis=1))
    worst[slot, :, column] = np.inf
    slot, column = np.nonzero(same.any(axis=0))
    worst[:, slot, column] = np.inf
    return worst.reshape(-1, len(here))


def _look_closer(packing: Packing, pairs: _Pairs, moved: Bools, closeness: Floats) -> None:
    """Look at a row's hottest rank alone where that found nothing, and then no more."""
    row, first = np.unique(packing.row[pairs.hot], return_index=True)
    failed = ~moved[first] & pairs.all[first]
    closeness[row[failed]] += 0.5
    closeness[row[moved[first]]] = 0.5
