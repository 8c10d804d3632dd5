"""Rounds of three: the hottest rank, one that is not far too hot and a cold one pass on a replica.

Two exchanges would relieve both hot ranks as well, and move four replicas instead of three. A
partner that is little above the aim is chosen, because the cold rank takes what both have too much.
"""

from typing import NamedTuple

import numpy as np

from rackfit.balancing.packing import Packing
from rackfit.balancing.task import Bools, Floats, Ints

WARM, COLD = 6, 16
"""Hot and cold ranks that are weighed beside the hottest."""

MOST_SLOTS = 8
"""Slots a rank up to which rounds are weighed; with more of them exchanges fit well enough."""


class Rounds(NamedTuple):
    """The best round of each of some rows: three replicas [3, rows], and the peak it leaves.

    Each replica goes to the rank of the next, the last one's to that of the first.
    """

    replicas: Ints
    peak: Floats


def best_rounds(packing: Packing, rows: Ints, aim: float, nodes: int) -> Rounds:
    """Return the best round of each row: its hottest rank, one not far above `aim`, a cold one.

    Ranks are equally fast, and a rank's mean time is 1. A round brings no two replicas of an
    expert onto one rank and leaves no node; where there is none its peak is infinite.
    """
    times = packing.times()[rows]
    order = np.argsort(times, axis=1, kind="stable")
    above = (times <= aim).sum(axis=1)
    second = above[:, None] + np.arange(WARM)
    second = np.take_along_axis(order, np.minimum(second, times.shape[1] - 2), axis=1)
    ranks = np.concatenate((order[:, -1:], second, order[:, :COLD]), axis=1)
    both = [_rounds(packing, rows, ranks, nodes, turned=turned) for turned in (False, True)]
    first = both[0].peak <= both[1].peak
    return Rounds(
        np.where(first, both[0].replicas, both[1].replicas),
        np.minimum(both[0].peak, both[1].peak),
    )


def _rounds(packing: Packing, rows: Ints, ranks: Ints, nodes: int, *, turned: bool) -> Rounds:
    """Return the best round; `turned`, the hottest rank gives to the cold one."""
    slots = packing.task.slots
    number = rows[:, None] * packing.task.ranks + ranks
    held = packing.held.take(number.ravel(), axis=1).T.reshape(*number.shape, slots)
    one, two, three = held[:, 0], held[:, 1 : 1 + WARM], held[:, 1 + WARM :]
    if turned:
        two, three = three, two
    shape = len(rows), slots, two.shape[1], slots, three.shape[1], slots
    peak = np.full(shape, -np.inf)
    for load, total in zip(packing.load, packing.total, strict=True):
        a = load[one][:, :, None, None, None, None]
        b = load[two][:, None, :, :, None, None]
        c = load[three][:, None, None, None]
        at = total[number]
        warm, cold = at[:, 1 : 1 + WARM], at[:, 1 + WARM :]
        second, third = (cold, warm) if turned else (warm, cold)
        np.maximum(peak, at[:, 0][:, None, None, None, None, None] - a + c, out=peak)
        np.maximum(peak, second[:, None, :, None, None, None] - b + a, out=peak)
        np.maximum(peak, third[:, None, None, None, :, None] - c + b, out=peak)
    experts = [packing.expert[each] for each in (one, two, three)]
    peak[_forbidden(experts, _placed(ranks, turned=turned), packing.task.ranks // nodes)] = np.inf
    flat = peak.reshape(len(rows), -1)
    best = flat.argmin(axis=1)
    i, j, k, m, n = np.unravel_index(best, shape[1:])
    row = np.arange(len(rows))
    return Rounds(np.stack([one[row, i], two[row, j, k], three[row, m, n]]), flat[row, best])


def _placed(ranks: Ints, *, turned: bool) -> tuple[Ints, Ints, Ints]:
    warm, cold = ranks[:, 1 : 1 + WARM], ranks[:, 1 + WARM :]
    return (ranks[:, :1], cold, warm) if turned else (ranks[:, :1], warm, cold)


def _forbidden(held: list[Ints], ranks: tuple[Ints, Ints, Ints], each: int) -> Bools:
    """Tell which rounds bring an expert where it is, leave a node, or have fewer ranks."""
    one, two, three = held
    hot, second, third = ranks
    to_two = (one[:, :, None, None] == two[:, None]).any(axis=3)[:, :, :, None, None, None]
    to_three = (two[:, :, :, None, None] == three[:, None, None]).any(axis=4)
    to_one = (three[..., None] == one[:, None, None]).any(axis=3)[:, None, None, None]
    away = (second == hot) | (second // each != hot // each)
    last = (third == hot) | (third // each != hot // each)
    apart = away[:, :, None] | last[:, None] | (second[:, :, None] == third[:, None])
    return np.asarray(
        to_two | to_three[:, None, ..., None] | to_one | apart[:, None, :, None, :, None]
    )


def pass_on(packing: Packing, replicas: Ints) -> None:
    """Pass each replica [3, n] on to the rank of the next."""
    first, second, third = replicas
    packing.swap(second, third)  # second where the third was, third where the second was
    packing.swap(first, third)  # first where the second was, third where the first was
