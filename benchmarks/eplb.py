"""EPLB's algorithm afresh from its description, on float64 arrays: what placements are held to.

Replicas one by one to the expert with most load a replica; then groups onto nodes, and
replicas onto ranks, the largest first, each to the least loaded that has a place free.

Source: github.com/deepseek-ai/EPLB, README (the published code packs on float32 tensors).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Deployment(NamedTuple):
    """Slots and ranks in all, and the nodes and expert groups of a hierarchical placement."""

    slots: int
    ranks: int
    nodes: int = 1
    groups: int = 1


class Placement(NamedTuple):
    """What EPLB returns: maps both ways, and replicas of each expert.

    Attributes:
        expert: [layers, slots].
        slots: [layers, experts, most replicas], filled up with -1.
        counts: [layers, experts].
    """

    expert: Ints
    slots: Ints
    counts: Ints


def rebalance(load: Floats, to: Deployment) -> Placement:
    """Place loads [layers, experts]."""
    if to.groups % to.nodes:
        to = to._replace(groups=1, nodes=1)
    layers, experts = load.shape
    size, each = experts // to.groups, to.groups // to.nodes
    pack, place = balanced_packing(load.reshape(layers, to.groups, size).sum(axis=2), to.nodes)
    to_local = (((pack * each + place) * size)[:, :, None] + np.arange(size)).reshape(load.shape)
    to_expert = np.argsort(to_local, axis=1)
    local = np.take_along_axis(load, to_expert, axis=1).reshape(-1, experts // to.nodes)
    replica, counts = replicate(local, to.slots // to.nodes)
    carried = np.take_along_axis(local / counts, replica, axis=1)
    pack, place = balanced_packing(carried, to.ranks // to.nodes)
    order = np.argsort(pack * (to.slots // to.ranks) + place, axis=1)
    held = np.take_along_axis(replica, order, axis=1).reshape(layers, to.nodes, -1)
    held += np.arange(to.nodes)[:, None] * (experts // to.nodes)
    expert = np.take_along_axis(to_expert, held.reshape(layers, -1), axis=1)
    every = np.take_along_axis(counts.reshape(layers, experts), to_local, axis=1)
    return Placement(expert, _slots(expert, every), every)


def balanced_packing(load: Floats, packs: int) -> tuple[Ints, Ints]:
    """Pack items of each row, equally many a pack: each item's pack and place there."""
    rows, items = load.shape
    most = items // packs
    if most == 1:
        return np.tile(np.arange(items), (rows, 1)), np.zeros((rows, items), np.int64)
    order = np.argsort(-load, axis=1, kind="stable")
    pack, place = np.empty((rows, items), np.int64), np.empty((rows, items), np.int64)
    total, held = np.zeros((rows, packs)), np.zeros((rows, packs), np.int64)
    row = np.arange(rows)
    for turn in range(items):
        item = order[:, turn]
        least = np.where(held < most, total, np.inf).argmin(axis=1)
        pack[row, item], place[row, item] = least, held[row, least]
        total[row, least] += load[row, item]
        held[row, least] += 1
    return pack, place


def replicate(load: Floats, slots: int) -> tuple[Ints, Ints]:
    """Replicate experts of each row: whose each replica is, and how many each expert has."""
    rows, experts = load.shape
    counts = np.ones((rows, experts), np.int64)
    replica = np.tile(np.arange(slots) % experts, (rows, 1))
    row = np.arange(rows)
    for slot in range(experts, slots):
        hottest = (load / counts).argmax(axis=1)
        replica[:, slot] = hottest
        counts[row, hottest] += 1
    return replica, counts


def _slots(expert: Ints, counts: Ints) -> Ints:
    """Turn the map round."""
    layers, experts = counts.shape
    order = np.argsort(expert, axis=1, kind="stable")
    first = counts.cumsum(axis=1) - counts
    owner = np.take_along_axis(expert, order, axis=1)
    place = np.arange(expert.shape[1]) - np.take_along_axis(first, owner, axis=1)
    slots = np.full((layers, experts, int(counts.max())), -1, np.int64)
    slots[np.arange(layers)[:, None], owner, place] = order
    return slots


def balancedness(load: Floats, expert: Ints, ranks: int) -> Floats:
    """Return mean over maximum of rank loads, [layers]."""
    layers, experts = load.shape
    counts = np.stack([np.bincount(held, minlength=experts) for held in expert])
    carried = np.take_along_axis(load / np.maximum(counts, 1), expert, axis=1)
    total = carried.reshape(layers, ranks, -1).sum(axis=2)
    most = total.max(axis=1)
    return np.asarray(np.where(most > 0, total.mean(axis=1) / np.where(most > 0, most, 1), 1.0))
