"""A task's replicas onto its ranks: how many there are of each, a start, and exchanges."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from rackfit.balancing.aimed import aim
from rackfit.balancing.counts import (
    Greedy,
    greedy_counts,
    mixed_counts,
    replicate_greedily,
)
from rackfit.balancing.eased import FIRST, OTHERS, ease, least_peak
from rackfit.balancing.floor import pack_replicas
from rackfit.balancing.packing import Packing, counted, packed, shared_replicas, times
from rackfit.balancing.pairs import search_counts
from rackfit.balancing.starts import deal, redeal, start
from rackfit.balancing.sweeps import sweep
from rackfit.balancing.task import Bools, Floats, Ints, Task
from rackfit.balancing.unshare import part

Expired = Callable[[], bool]

CLOSE = 0.0015
"""How far above the goal a rank's time may stay: not worth an exchange."""

PARTING = 0.0005
"""What balance may be given for not having an expert twice on one rank."""

_STUCK, _BEYOND = 0.005, 0.05
"""How far above the goal dealing out may end before other counts are tried, and how far a replica
that nothing makes smaller may be for them to help.
"""

PAIRS, _FEW, _MOST = 2, 3, 128
"""Slots a rank where counts decide, up to which every exchange is weighed, and up to which
dealing replicas out once is not enough.
"""

_FAR = 0.005
"""How far above the goal the slowest rank must be for every exchange to be weighed with three
slots.
"""

_ROUNDS = 6
"""Most rounds of exchanges that are looked up, which end sooner where they help little."""

_SWEEPS, _SWEEPS_OF_FEW = 30, 12
"""Most sweeps of exchanges that are all weighed: where they are what decides (windows, speeds), and
with three slots a rank, where they only follow dealing anew.
"""

_AT_ONCE = 100_000
"""Slots for which other counts are tried between looks at the clock."""


class Packed(NamedTuple):
    """The expert in every slot [rows, ranks, slots], and what EPLB's peak is at least [rows].

    The latter is 0 where nothing is known.
    """

    placed: Ints
    floors: Floats


def pack(task: Task, goal: Floats, expired: Expired, measured: Floats | None = None) -> Packed:
    """Put a task's replicas on ranks, each row's times as near to `goal` [rows] as can be.

    With the loads it was made of, `measured` [rows, experts], EPLB's placement is one to start at.
    """
    if task.is_plain and PAIRS < task.slots <= _MOST:
        return _plain(task, goal, expired, measured)
    counts = greedy_counts(task)
    if task.is_plain and task.slots == PAIRS:
        counts = search_counts(task, counts, goal, expired)
    found = _dealt(task, counts, goal, expired)
    unknown = np.zeros(task.rows)
    if task.is_plain:
        return Packed(found.placed(), unknown)
    if task.is_alike:
        hot = _least(found) > goal * (1 + CLOSE)
        placed = _with_other_counts(found, goal, hot, expired).placed()
    else:
        placed = _of_speeds(found, goal, expired)
    return Packed(_no_worse_than_on_average(task, placed, goal, expired), unknown)


def _no_worse_than_on_average(task: Task, placed: Ints, goal: Floats, expired: Expired) -> Ints:
    """Start from EPLB's placement of the average load, most of it on the fastest ranks, too."""
    load = task.loads.mean(axis=0)
    counts = replicate_greedily(load, task.ranks * task.slots)
    greedy = pack_replicas(load, counts, task.ranks).reshape(placed.shape)
    carried = np.take_along_axis(load / counts, greedy.reshape(task.rows, -1), axis=1)
    lightest = np.argsort(carried.reshape(placed.shape).sum(axis=2), axis=1, kind="stable")
    slowest = np.argsort(task.speeds, axis=1, kind="stable")
    other = np.empty_like(greedy)
    row = np.arange(task.rows)[:, None]
    other[row, slowest] = greedy[row, lightest]
    packing = packed(task, other)
    tidy(packing, goal, expired)
    for one in (other, packing.placed()):
        better = times(task, one).max(axis=(0, 2)) < times(task, placed).max(axis=(0, 2))
        placed = np.where(better[:, None, None], one, placed)
    return placed


def _of_speeds(packing: Packing, goal: Floats, expired: Expired) -> Ints:
    """Try larger replicas for faster ranks: [rows, ranks, slots]."""
    task, placed, peaks = packing.task, packing.placed(), packing.peaks()
    order = Greedy.of(task.loads.max(axis=0), task.ranks * task.slots)
    spare = len(order.expert)
    for hot in sorted({spare // 2, spare // 4, 0} - {spare}):
        other = _dealt(task, mixed_counts(task, order, hot), goal, expired)
        better = other.peaks() < peaks
        placed[better] = other.placed()[better]
        peaks = np.minimum(peaks, other.peaks())
    return placed


def _plain(task: Task, goal: Floats, expired: Expired, measured: Floats | None) -> Packed:
    """Pack a plain task of three slots a rank or more, hot rows with counts of their own."""
    greedy = Packing(task, greedy_counts(task, measured))
    alone = _least(greedy, 0)
    near = alone <= goal * (1 + _BEYOND)
    goal = np.maximum(goal, alone)
    packing, floors = _started(greedy, goal, measured)
    redeal(packing, goal * (1 + CLOSE), expired)
    stuck = near & (packing.peaks() > goal * (1 + _STUCK))
    packing = _with_other_counts(packing, goal, stuck, expired)
    tidy(packing, goal, expired)
    return Packed(packing.placed(), floors)


def _started(greedy: Packing, goal: Floats, measured: Floats | None) -> tuple[Packing, Floats]:
    """Put replicas where a search starts, rows that greedy counts overfill with others.

    Returns the packing and what EPLB's peak is at least, 0 where nothing is known, [rows].
    """
    task, least = greedy.task, _least(greedy)
    own = np.asarray((greedy.counts < task.ranks).all(axis=1))  # else EPLB may have more of them
    hot = least > goal * (1 + CLOSE)
    rows = np.flatnonzero(hot)
    if not len(rows):
        return greedy, start(greedy, own, measured)
    eased = ease(task.select(rows), goal[rows], FIRST)
    counts = greedy.counts.copy()
    counts[rows] = counted(eased, task.experts)
    packing = Packing(task, counts)
    floors = start(packing, own & ~hot, measured)
    packing.put_better(eased, rows)
    floors[rows] = np.where(own & (measured is not None), least, 0)[rows]
    return packing, floors


def _least(packing: Packing, most: int | None = None) -> Floats:
    """Return what the fullest rank carries at least, whatever the places, on average: [rows]."""
    task = packing.task
    most = task.slots - 1 if most is None else most
    return least_peak(packing.mean.reshape(task.rows, -1), task.ranks, task.slots, most)


def _with_other_counts(packing: Packing, goal: Floats, rows: Bools, expired: Expired) -> Packing:
    """Try other counts for some `rows` [rows]; return what is better of both."""
    tried, several = np.flatnonzero(rows), max(1, _AT_ONCE // packing.replicas)
    placed, changed = packing.placed(), False
    for chunk in (tried[at : at + several] for at in range(0, len(tried), several)):
        if expired():
            break
        other = _eased(packing.task.select(chunk), goal[chunk], expired)
        better = other.peaks() < packing.peaks()[chunk]
        placed[chunk[better]] = other.placed()[better]
        changed |= bool(better.any())
    return packed(packing.task, placed) if changed else packing


def _eased(task: Task, goal: Floats, expired: Expired) -> Packing:
    on_average = task._replace(loads=task.loads.mean(axis=0, keepdims=True))
    other = packed(task, ease(on_average, goal, OTHERS))
    if task.is_plain:
        redeal(other, goal * (1 + CLOSE), expired)
    else:
        tidy(other, goal, expired)
    return other


def _dealt(task: Task, counts: Ints, goal: Floats, expired: Expired) -> Packing:
    packing = Packing(task, counts)
    deal(packing)
    tidy(packing, goal, expired)
    return packing


def tidy(packing: Packing, goal: Floats, expired: Expired) -> None:
    """Part what lies together and exchange replicas; part the rest as well where it can be."""
    allowed = np.maximum(packing.peaks(), goal)
    close = CLOSE if packing.task.slots > PAIRS else PARTING
    left = part(packing, allowed * (1 + close), expired)
    exchange(packing, goal, expired)
    if left:  # exchanges may have parted it
        _part_first(packing, goal, expired)


def _part_first(packing: Packing, goal: Floats, expired: Expired) -> None:
    """Part at any price, and keep that of the rows that exchanges make as even again."""
    rows = np.flatnonzero(shared_replicas(packing.placed()))
    if not len(rows):
        return
    before = packing.placed()[rows]
    other = packed(packing.task.select(rows), before)
    part(other, np.full(len(rows), np.inf), expired)
    exchange(other, goal[rows], expired)
    placed = other.placed()
    kept = other.peaks() <= np.maximum(packing.peaks(), goal)[rows] * (1 + PARTING)
    kept &= shared_replicas(placed) < shared_replicas(before)
    packing.put_rows(placed[kept], rows[kept])


def exchange(packing: Packing, goal: Floats, expired: Expired) -> None:
    """Exchange replicas until times are near `goal` [rows], or as near as they get."""
    task, limit = packing.task, goal * (1 + CLOSE)
    if task.slots == PAIRS and task.is_plain:
        return
    aim(packing, goal, limit, expired, _ROUNDS)
    if not task.is_plain:
        sweep(packing, limit, expired, _SWEEPS)
    elif task.slots <= _FEW:
        sweep(packing, goal * (1 + _FAR), expired, _SWEEPS_OF_FEW)
