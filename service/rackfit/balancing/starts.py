"""First packings of replicas, to be improved: dealt out in rounds, one for each slot."""

from collections.abc import Callable
from itertools import cycle, islice

import numpy as np

from rackfit.balancing.floor import Shape, floor, rounds_of
from rackfit.balancing.packing import Packing
from rackfit.balancing.task import Bools, Floats

_TURNS = 16
"""Slots that are dealt out again at most, by turns: more gain little."""

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
        rank = np.argsort(-room, axis=1, kind="stable")
        held[row, rank, slot] = number[slot]
        room[row, rank] -= load[:, slot]
    packing.put(held)


def redeal(packing: Packing, limit: Floats, expired: Callable[[], bool]) -> None:
    """Deal slots out again, one after the other, until times are below `limit` [rows].

    What the ranks have in one slot goes to them anew, the largest replica to the rank that the
    other slots leave most room: of all ways to do so that has the lowest peak. There is one
    window, and ranks are equally fast.
    """
    task, mean = packing.task, packing.mean
    held = packing.held.reshape(task.slots, task.rows, task.ranks)
    total = packing.total.reshape(task.rows, task.ranks)
    smallest_first = np.argsort(mean.take(packing.held).sum(axis=1), kind="stable")
    peaks, idle = packing.peaks(), np.zeros(task.rows, np.int64)
    for slot in islice(cycle(smallest_first), _TURNS):
        rows = np.flatnonzero((peaks > limit) & (idle < task.slots))
        if not len(rows) or expired():
            break
        rest = total[rows] - mean.take(held[slot, rows])
        falling = np.argsort(-rest, axis=1, kind="stable")
        held[slot, rows[:, None], falling] = np.sort(held[slot, rows], axis=1)
        total[rows] = rest + mean.take(held[slot, rows])
        lower = total[rows].max(axis=1)
        idle[rows] = np.where(lower < peaks[rows] * _LOWER, 0, idle[rows] + 1)
        peaks[rows] = lower
    packing.rank[packing.held] = np.arange(task.rows * task.ranks)
