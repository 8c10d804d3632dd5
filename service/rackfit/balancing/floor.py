"""The field's reference as a floor: no answer is below what DeepSeek's EPLB reaches.

Its replicas go, the largest first, each to the least loaded rank that has a slot free. That
is done here for runs of replicas at once: as long as every rank that got one has more than
the next rank in turn, the next replica goes to that rank.

Source: github.com/deepseek-ai/EPLB, README.
"""

from typing import NamedTuple

import numpy as np

from rackfit.balancing.counts import replicate_greedily
from rackfit.balancing.task import Bools, Floats, Ints

_SURELY = 1 - 1e-9
"""What is less by more than this is so whatever the rounding."""


class Shape(NamedTuple):
    """Ranks and slots in all; nodes and expert groups, both 1 where placement is global."""

    ranks: int
    slots: int
    nodes: int
    groups: int


class _Shares(NamedTuple):
    """What each node of each layer gets, a row each: experts and their loads [rows, experts]."""

    expert: Ints
    load: Floats


def floor(load: Floats, shape: Shape) -> Ints:
    """Place loads [layers, experts] as EPLB does: the expert in every slot, [layers, slots]."""
    expert, own = _share_out(load, shape)
    counts = replicate_greedily(own, shape.slots // shape.nodes)
    held = pack_replicas(own, counts, shape.ranks // shape.nodes)
    return np.take_along_axis(expert, held, axis=1).reshape(len(load), shape.slots)


def pack_replicas(load: Floats, counts: Ints, ranks: int) -> Ints:
    """Place replicas of loads [rows, experts] as EPLB does: the expert in every slot [rows, slots].

    It takes any counts [rows, experts], as many a row.
    """
    replica = np.repeat(np.arange(load.size), counts.ravel())
    carried = (load / counts).ravel()[replica].reshape(len(load), -1)
    order = np.argsort(_pack_alike(carried, ranks), axis=1, kind="stable")
    expert = (replica % load.shape[1]).reshape(len(load), -1)
    return np.take_along_axis(expert, order, axis=1)


def least_peaks(load: Floats, shape: Shape) -> Floats:
    """Return what a rank of each layer carries at least where EPLB places it: [layers].

    Of nodes whose replicas are not dealt out in rounds nothing is said.
    """
    own = _share_out(load, shape).load
    slots = shape.slots // shape.nodes
    counts = replicate_greedily(own, slots)
    carried = np.repeat((own / counts).ravel(), counts.ravel()).reshape(len(own), slots)
    carried.sort(axis=1)
    dealt = rounds_of(carried, shape.ranks // shape.nodes)
    known = np.where(dealt.even, dealt.peak, 0).reshape(len(load), shape.nodes)
    return np.asarray(known.max(axis=1))


class Dealt(NamedTuple):
    """Peaks [rows] where replicas are dealt out in rounds, and whether EPLB does so [rows]."""

    peak: Floats
    even: Bools


def rounds_of(load: Floats, ranks: int) -> Dealt:
    """Deal items of ascending `load` [rows, items] out, the largest to the least loaded rank.

    As long as no rank is the least loaded again before all have got one, that is EPLB's way; it
    is done here in a sixth of the time.
    """
    rows, items = load.shape
    rounds = load[:, ::-1].reshape(rows, -1, ranks)
    total = np.zeros((rows, ranks))
    even = np.ones(rows, bool)
    for turn in range(items // ranks):
        after = total + rounds[:, turn]
        least = np.minimum.accumulate(after, axis=1)
        even &= (total[:, 1:] < least[:, :-1] * _SURELY).all(axis=1)
        after.sort(axis=1)
        total = after
    return Dealt(total[:, -1], even)


def _share_out(load: Floats, shape: Shape) -> _Shares:
    """Give groups to nodes; on each they are in the order in which they came there."""
    layers, experts = load.shape
    size = experts // shape.groups
    loads = load.reshape(layers, shape.groups, size).sum(axis=2)
    packed, order = _pack_alike(loads, shape.nodes), np.argsort(-loads, axis=1, kind="stable")
    if shape.groups == shape.nodes:
        order = np.broadcast_to(np.arange(shape.groups), order.shape)
    node = np.take_along_axis(packed, order, axis=1)
    group = np.take_along_axis(order, np.argsort(node, axis=1, kind="stable"), axis=1)
    expert = (group[:, :, None] * size + np.arange(size)).reshape(-1, experts // shape.nodes)
    row = np.repeat(np.arange(layers), shape.nodes)
    return _Shares(expert, load[row[:, None], expert])


def _pack_alike(load: Floats, packs: int) -> Ints:
    """Pack as EPLB does, which leaves single items where they are."""
    if load.shape[1] == packs:
        return np.broadcast_to(np.arange(packs), load.shape)
    return pack_greedily(load, packs)


def pack_greedily(load: Floats, ranks: int) -> Ints:
    """Pack items of `load` [rows, items] on `ranks`, equally many each: ranks [rows, items]."""
    rows, items = load.shape
    order = np.argsort(-load, axis=1, kind="stable")
    falling = np.concatenate(
        (np.take_along_axis(load, order, axis=1), np.full((rows, ranks), np.inf)), axis=1
    )
    total, free = np.zeros((rows, ranks)), np.full((rows, ranks), items // ranks)
    done = np.zeros(rows, np.int64)
    placed = np.empty((rows, items + ranks), np.int64)
    turn = np.arange(ranks)
    while len(left := np.flatnonzero(done < items)):
        row = left[:, None]
        open_to = np.where(free[left] > 0, total[left], np.inf)
        rank = np.argsort(open_to, axis=1, kind="stable")
        item = done[row] + turn
        before = np.take_along_axis(open_to, rank, axis=1)
        after = before + falling[row, np.minimum(item, items)]
        run = _run(before, after) & (item < items)
        at, place = np.nonzero(run)
        chosen, owner = rank[at, place], left[at]
        total[owner, chosen] = after[at, place]
        free[owner, chosen] -= 1
        placed[owner, item[at, place]] = chosen
        done[left] += run.sum(axis=1)
    packed = np.empty((rows, items), np.int64)
    np.put_along_axis(packed, order, placed[:, :items], axis=1)
    return packed


def _run(before: Floats, after: Floats) -> Bools:
    """Tell which ranks, in turn, get an item before any of them would get a second."""
    least = np.minimum.accumulate(after, axis=1)
    behind = before[:, 1:] >= least[:, :-1]
    run = np.ones(before.shape, bool)
    run[:, 1:] = ~np.maximum.accumulate(behind, axis=1)
    return run & np.isfinite(before)
