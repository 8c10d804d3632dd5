"""Replicas of one expert on one rank cost its memory twice and buy no balance: part them."""

from collections.abc import Callable

import numpy as np

from rackfit.balancing.packing import Packing
from rackfit.balancing.task import Bools, Floats, Ints

_PASSES = 40
"""Replicas of a row that are parted at most: very hot experts are on nearly every rank."""

_COMPARED_ALL = 64
"""Slots a rank up to which all of its experts are compared, which is faster than sorting them."""

COMPARED = 3_000_000
"""Experts compared at once to see whether an exchange brings two of a kind together."""


def shared(packing: Packing) -> Bools:
    """Tell which replicas have a replica of the same expert before them on their rank."""
    experts = packing.expert.take(packing.held)
    again = np.zeros(len(packing.expert), bool)
    if len(experts) <= _COMPARED_ALL:
        for slot in range(1, len(experts)):
            before = (experts[:slot] == experts[slot]).any(axis=0)
            again[packing.held[slot, before]] = True
        return again
    order = np.argsort(experts, axis=0, kind="stable")
    ascending = np.take_along_axis(experts, order, axis=0)
    later = np.take_along_axis(packing.held, order[1:], axis=0)
    again[later[ascending[1:] == ascending[:-1]]] = True
    return again


def part(packing: Packing, allowed: Floats, expired: Callable[[], bool]) -> bool:
    """Exchange shared replicas for others, as long as no time comes above `allowed` [rows].

    Of very many layers with very many slots only some are seen to. Tells whether there are any
    left.
    """
    tried = np.zeros(len(packing.expert), bool)
    most = max(1, COMPARED // (packing.replicas * packing.task.slots))
    for _ in range(_PASSES):
        todo = np.flatnonzero(shared(packing) & ~tried)
        if not len(todo) or expired():
            break
        _, first = np.unique(todo // packing.replicas, return_index=True)
        mine = todo[first][:most]
        tried[mine] = True
        _part(packing, mine, allowed)
    return bool(tried.any() and shared(packing).any())


def _part(packing: Packing, mine: Ints, allowed: Floats) -> None:
    """Exchange one replica of each row for the one that leaves the lower peak."""
    rows = mine // packing.replicas
    theirs = rows[:, None] * packing.replicas + np.arange(packing.replicas)
    peak = exchange_peaks(packing, np.repeat(mine, packing.replicas), theirs.ravel())
    peak = peak.reshape(theirs.shape)
    best = peak.argmin(axis=1)
    least = np.take_along_axis(peak, best[:, None], axis=1)[:, 0]
    good = least <= allowed[rows]
    packing.swap(mine[good], theirs[good, best[good]])


def exchange_peaks(packing: Packing, mine: Ints, theirs: Ints) -> Floats:
    """Return the worse time of both ranks after each exchange [n]; infinite where they share."""
    here, there = packing.rank[mine], packing.rank[theirs]
    change = packing.load[:, mine] - packing.load[:, theirs]
    one, other = packing.total[:, here] - change, packing.total[:, there] + change
    if packing.pace is not None:
        one *= packing.pace[here]
        other *= packing.pace[there]
    peak = np.maximum(one, other).max(axis=0)
    peak[packing.share_after(mine, theirs) | (here == there)] = np.inf
    return np.asarray(peak)
