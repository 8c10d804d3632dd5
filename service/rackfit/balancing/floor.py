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


class Shape(NamedTuple):
    """Ranks and slots in all; nodes and expert groups, both 1 where placement is global."""

    ranks: int
    slots: int
    nodes: int
    groups: int


def floor(load: Floats, shape: Shape) -> Ints:
    """Place loads [layers, experts] as EPLB does: the expert in every slot, [layers, slots]."""
    layers, experts = load.shape
    size = experts // shape.groups
    packed = _pack_alike(load.reshape(layers, shape.groups, size).sum(axis=2), shape.nodes)
    group = np.argsort(packed, axis=1, kind="stable")
    expert = (group[:, :, None] * size + np.arange(size)).reshape(-1, experts // shape.nodes)
    row = np.repeat(np.arange(layers), shape.nodes)
    own = load[row[:, None], expert]
    counts = replicate_greedily(own, shape.slots // shape.nodes)
    replica = np.repeat(np.arange(own.size), counts.ravel())
    carried = (own / counts).ravel()[replica].reshape(len(own), -1)
    rank = _pack_alike(carried, shape.ranks // shape.nodes)
    order = np.argsort(rank, axis=1, kind="stable")
    held = np.take_along_axis(expert.ravel()[replica].reshape(len(own), -1), order, axis=1)
    return held.reshape(layers, shape.slots)


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
    row, turn = np.arange(rows)[:, None], np.arange(ranks)
    while (done < items).any():
        rank = np.argsort(np.where(free > 0, total, np.inf), axis=1, kind="stable")
        item = done[:, None] + turn
        before = np.where(free[row, rank] > 0, total[row, rank], np.inf)
        after = before + falling[row, np.minimum(item, items)]
        run = _run(before, after) & (item < items)
        at, place = np.nonzero(run)
        chosen = rank[at, place]
        total[at, chosen] = after[at, place]
        free[at, chosen] -= 1
        placed[at, item[at, place]] = chosen
        done += run.sum(axis=1)
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
