"""First packings of replicas, to be improved: dealt out in rounds, one for each slot."""

from collections.abc import Callable

import numpy as np

from rackfit.balancing.floor import Shape, floor, rounds_of
from rackfit.balancing.packing import Packing, ascending
from rackfit.balancing.task import Bools, Floats, Ints, Task

_SHORT, _LONG = (24, 2), (40, 4)
"""Turns in which a slot of each rank is dealt out again, and rounds of them without a gain: the
latter with three slots, where exchanges find less.
"""

_LEAST, _FEW, _WHOLE = 3, 4, 2
"""Slots a rank with which it takes long, and up to which it is never all ranks' smallest replicas
that are dealt out; with more it is in two rounds, as these are small enough to even out the rest.
"""

_LOWER = 1 - 1e-5
"""What a peak must fall to for a row to be worth another turn of each slot."""


def start(packing: Packing, greedy: Bools, measured: Floats | None) -> Floats:
    """Put replicas on ranks: dealt out or, where that is more even, as EPLB does.

    `measured` are the loads [rows, experts] that EPLB would place, if any: its ties are decided
    by their last digits. It has as many replicas of each where they are counted `greedy` [rows].
    Returns EPLB's peak where it is known, else 0, [rows].
    """
    deal(packing)
    if measured is None:
        return np.zeros(packing.task.rows)
    ranks, slots = packing.task.ranks, packing.task.slots
    dealt = rounds_of(packing.mean.reshape(packing.task.rows, -1), ranks)
    floors = np.where(dealt.even & greedy, dealt.peak, 0)
    rows = np.flatnonzero(~dealt.even & greedy)
    if len(rows):
        placed = floor(measured[rows], Shape(ranks, ranks * slots, 1, 1))
        floors[rows] = packing.put_better(placed.reshape(-1, ranks, slots), rows)
    return floors


def deal(packing: Packing) -> None:
    """Deal replicas out, the largest first, one to each rank a round.

    In each round the largest replica goes to the rank with most room left. With two slots a
    rank, equal ranks and one window nothing packs these replicas better.
    """
    task = packing.task
    shape = task.rows, task.slots, task.ranks
    load = packing.mean.reshape(task.rows, -1)[:, ::-1].reshape(shape)
    number = np.arange(packing.replicas)[::-1].reshape(shape[1:])
    room = task.speeds.copy()
    held = np.empty((task.rows, task.ranks, task.slots), np.int64)
    row = np.arange(task.rows)[:, None]
    for slot in range(task.slots):
        rank = ascending(-room)
        held[row, rank, slot] = number[slot]
        room[row, rank] -= load[:, slot]
    packing.put(held)


def redeal(packing: Packing, limit: Floats, expired: Callable[[], bool]) -> None:
    """Deal slots out again, one of each rank at a time, until times are below `limit` [rows].

    No turn raises a peak. There is one window, and ranks are equally fast.
    """
    task = packing.task
    peaks, idle = packing.peaks(), np.zeros(task.rows, np.int64)
    turns, rounds = _SHORT if task.slots > _LEAST else _LONG
    for turn in range(turns):
        rows = np.flatnonzero((peaks > limit) & (idle < rounds * task.slots))
        if not len(rows) or expired():
            break
        lower = _deal_again(packing, rows, _chosen(task, turn))
        idle[rows] = np.where(lower < peaks[rows] * _LOWER, 0, idle[rows] + 1)
        peaks[rows] = lower
    packing.rank[packing.held] = np.arange(task.rows * task.ranks)


def _chosen(task: Task, turn: int) -> Ints:
    """Return which slot of each rank is dealt out in a turn: [ranks].

    The same of all, or one, two, three further on from rank to rank, so that with each round
    others are dealt out together.
    """
    round_, first = divmod(turn, task.slots)
    step = round_ + 1 if task.slots <= _FEW else max(0, round_ + 1 - _WHOLE)
    return (np.arange(task.ranks) * step - 1 - first) % task.slots


def _deal_again(packing: Packing, rows: Ints, slot: Ints) -> Floats:
    """Deal out again what the ranks of `rows` [n] have in a `slot` each [ranks]: peaks [n].

    The largest replica goes to the rank that the others leave most room: of all ways to deal them
    out that has the lowest peak. Where each replica is, is not kept.
    """
    ranks, held, total = packing.task.ranks, packing.held.reshape(-1), packing.total.reshape(-1)
    at = rows[:, None] * ranks + np.arange(ranks)
    place = at + slot * len(total)
    dealt = held.take(place)
    rest = total.take(at) - packing.mean.take(dealt)
    dealt.sort(axis=1)
    falling = ascending(-rest) + np.arange(len(rows))[:, None] * ranks
    now = rest.take(falling) + packing.mean.take(dealt)
    held[place.take(falling)] = dealt
    total[at.take(falling)] = now
    return np.asarray(now.max(axis=1))
