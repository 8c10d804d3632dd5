"""First packings of replicas, to be improved."""

import numpy as np

from rackfit.balancing.floor import Shape, floor, rounds_of
from rackfit.balancing.packing import Packing
from rackfit.balancing.task import Bools, Floats, Ints

_Part = tuple[Floats, Ints]
"""Loads [rows, ranks] and the replicas that make them up [rows, ranks, several]."""


def start(packing: Packing, greedy: Bools, measured: Floats | None) -> Floats:
    """Put replicas on ranks: by differences or, where that is more even, as EPLB does.

    `measured` are the loads [rows, experts] that EPLB would place, if any: its ties are decided
    by their last digits. It has as many replicas of each where they are counted `greedy` [rows].
    Returns EPLB's peak where it is known, else 0, [rows].
    """
    packing.put(difference(packing))
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


def difference(packing: Packing) -> Ints:
    """Join rounds of replicas by their differences, the most uneven two first.

    A round is a replica for each rank. Joining two of them, the larger parts of one go to the
    smaller of the other, and what is left uneven is their difference. Returns replicas,
    numbered within their row: [rows, ranks, slots].

    Source: Michiels, Korst, Aarts, van Leeuwen, "Performance ratios for the differencing
    method applied to the balanced number partitioning problem" (2003): method BLDM.
    """
    task = packing.task
    shape = task.rows, task.slots, task.ranks
    load = packing.mean.reshape(shape)
    number = np.broadcast_to(np.arange(packing.replicas).reshape(shape[1:]), shape)
    parts = [(load[:, slot], number[:, slot, :, None]) for slot in range(task.slots)]
    while len(parts) > 1:
        parts.sort(key=_unevenness)
        parts.append(_joined(parts.pop(), parts.pop()))
    return parts[0][1]


def _unevenness(part: _Part) -> float:
    load, _ = part
    return float((load.max(axis=1) - load.min(axis=1)).sum())


def _joined(one: _Part, other: _Part) -> _Part:
    falling, rising = np.argsort(-one[0], axis=1), np.argsort(other[0], axis=1)
    row = np.arange(len(falling))[:, None]
    load = one[0][row, falling] + other[0][row, rising]
    return load, np.concatenate((one[1][row, falling], other[1][row, rising]), axis=2)
