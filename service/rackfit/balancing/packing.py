"""Replicas in slots, as flat arrays in which every candidate of a search is a column."""

import numpy as np

from rackfit.balancing.task import Bools, Floats, Ints, Task

_ALIKE = 1e-280
"""Values that differ by less are in the order of their numbers: a share of it would overflow."""


class Packing:
    """Replicas in the slots of all ranks of all rows: the one thing that changes in a search.

    Replicas and ranks are numbered through, row by row; a row's replicas ascend by load. The
    long axis is the last, so that numpy walks through candidates without a stride.

    Attributes:
        counts: replicas of each expert, [rows, experts].
        expert: whose replica it is, [rows * replicas].
        load: what a replica carries, [windows, rows * replicas].
        held: replicas on each rank, [slots, rows * ranks].
        rank: where a replica is, [rows * replicas].
        total: what each rank carries, [windows, rows * ranks].
        pace: time a unit of load takes, [rows * ranks]; None where ranks are equally fast.
    """

    def __init__(self, task: Task, counts: Ints) -> None:
        """Number the replicas; none has a place yet."""
        share = task.loads / counts
        mean = share[0] if len(share) == 1 else share.mean(axis=0)
        self.task = task
        self.counts = counts
        self.order = ascending(mean)
        first = np.arange(task.rows)[:, None] * task.experts
        of_row = np.take_along_axis(counts, self.order, axis=1)
        flat = np.repeat((self.order + first).ravel(), of_row.ravel())
        self.replicas = task.ranks * task.slots
        self.row = np.repeat(np.arange(task.rows), task.ranks)
        self.expert = flat - np.repeat(first.ravel(), self.replicas)
        self.load = share.reshape(len(share), -1).take(flat, axis=1)
        self.mean = self.load[0] if len(share) == 1 else self.load.mean(axis=0)
        self.pace = None if bool((task.speeds == 1).all()) else 1 / task.speeds.ravel()
        self.held: Ints
        self.rank: Ints
        self.total: Floats

    def put(self, held: Ints) -> None:
        """Put replicas, numbered within their row, into slots: [rows, ranks, slots]."""
        rows, ranks, slots = held.shape
        numbered = held + np.arange(rows)[:, None, None] * self.replicas
        self.held = np.ascontiguousarray(numbered.reshape(-1, slots).T)
        self.rank = np.empty(rows * self.replicas, np.int64)
        self.rank[self.held] = np.arange(rows * ranks)
        self.total = self.load.take(self.held, axis=1).sum(axis=1)

    def put_better(self, placed: Ints, rows: Ints) -> Floats:
        """Put `rows` [n] where `placed` [n, ranks, slots] has their experts if that is more even.

        Of one window, on ranks that are equally fast. Returns their peaks as `placed` [n].
        """
        held = self.numbered(placed, rows) + rows[:, None, None] * self.replicas
        peak = self.mean.take(held).sum(axis=2).max(axis=1)
        better = peak < self.peaks()[rows]
        self._put_rows(held[better], rows[better])
        return np.asarray(peak)

    def put_rows(self, placed: Ints, rows: Ints) -> None:
        """Put `rows` [n] where `placed` [n, ranks, slots] has their experts."""
        self._put_rows(self.numbered(placed, rows) + rows[:, None, None] * self.replicas, rows)

    def _put_rows(self, held: Ints, rows: Ints) -> None:
        ranks = (rows[:, None] * self.task.ranks + np.arange(self.task.ranks)).ravel()
        self.held[:, ranks] = held.reshape(-1, self.task.slots).T
        self.rank[self.held[:, ranks]] = ranks
        self.total[:, ranks] = self.load.take(self.held[:, ranks], axis=1).sum(axis=1)

    def put_experts(self, placed: Ints) -> None:
        """Put replicas where `placed` [rows, ranks, slots] has their experts."""
        self.put(self.numbered(placed, np.arange(self.task.rows)))

    def numbered(self, placed: Ints, rows: Ints) -> Ints:
        """Return replicas, numbered within their row, of the experts `placed` [n, ranks, slots].

        They are of `rows` [n], which have as many replicas of each.
        """
        order = self.order[rows]
        place = np.empty_like(order)
        np.put_along_axis(place, order, np.arange(self.task.experts)[None], axis=1)
        keys = np.take_along_axis(place, placed.reshape(len(rows), self.replicas), axis=1)
        slots = np.argsort(keys, axis=1, kind="stable")
        held = np.empty_like(slots)
        np.put_along_axis(held, slots, np.arange(self.replicas)[None], axis=1)
        return held.reshape(placed.shape)

    def experts_on(self, ranks: Ints) -> Ints:
        """Return the experts in the slots of `ranks` [n]: [slots, n]."""
        return self.expert.take(self.held.take(ranks, axis=1))

    def times(self) -> Floats:
        """Return each rank's time in its worst window: [rows, ranks]."""
        worst = self.total[0] if len(self.total) == 1 else self.total.max(axis=0)
        if self.pace is not None:
            worst = worst * self.pace
        return np.asarray(worst.reshape(self.task.rows, self.task.ranks))

    def peaks(self) -> Floats:
        """Return the time of each row's hottest rank: [rows]."""
        return np.asarray(self.times().max(axis=1))

    def swap(self, mine: Ints, theirs: Ints) -> None:
        """Exchange replicas `mine` with `theirs`, no rank of them twice."""
        here, there = self.rank[mine], self.rank[theirs]
        slot = (self.held.take(here, axis=1) == mine).argmax(axis=0)
        other = (self.held.take(there, axis=1) == theirs).argmax(axis=0)
        self.held[slot, here], self.held[other, there] = theirs, mine
        self.rank[mine], self.rank[theirs] = there, here
        change = self.load[:, mine] - self.load[:, theirs]
        self.total[:, here] -= change
        self.total[:, there] += change

    def share_after(self, mine: Ints, theirs: Ints) -> Bools:
        """Tell which exchanges bring an expert to a rank that has it already."""
        here, there = self.experts_on(self.rank[mine]), self.experts_on(self.rank[theirs])
        return np.asarray(
            (there == self.expert[mine]).any(axis=0) | (here == self.expert[theirs]).any(axis=0)
        )

    def placed(self) -> Ints:
        """Return the expert in every slot: [rows, ranks, slots]."""
        shape = self.task.rows, self.task.ranks, self.task.slots
        return self.expert[self.held.T].reshape(shape)


def packed(task: Task, placed: Ints) -> Packing:
    """Return the packing that has experts where `placed` [rows, ranks, slots] has them."""
    packing = Packing(task, counted(placed, task.experts))
    packing.put_experts(placed)
    return packing


def ascending(values: Floats) -> Ints:
    """Return the order of `values` [rows, n], ascending, of equal ones by their number: [rows, n].

    numpy sorts whole numbers several times as fast as it finds an order, so each value becomes one
    with its number behind it; what differs by less than 2^-49 of all there is counts as equal.
    """
    bits = (values.shape[1] - 1).bit_length()
    low = values.min(initial=0)
    span = values.max(initial=0) - low
    scale = 2.0 ** (62 - bits) / span if span > _ALIKE else 0.0
    key = ((values - low) * scale).astype(np.int64)
    key <<= bits
    key |= np.arange(values.shape[1])
    key.sort(axis=1)
    return np.asarray(key & ((1 << bits) - 1))


def counted(placed: Ints, experts: int) -> Ints:
    """Count each expert's replicas in `placed` [rows, ranks, slots]: [rows, experts]."""
    rows = len(placed)
    number = placed + np.arange(rows)[:, None, None] * experts
    return np.bincount(number.ravel(), minlength=rows * experts).reshape(rows, experts)


def loads_of(task: Task, placed: Ints) -> Floats:
    """Return what each slot's replica carries in each window: [windows, rows, ranks, slots]."""
    rows = np.arange(task.rows)[:, None, None] * task.experts
    share = (task.loads / counted(placed, task.experts)).reshape(len(task.loads), -1)
    return share.take((placed + rows).ravel(), axis=1).reshape(len(share), *placed.shape)


def times(task: Task, placed: Ints) -> Floats:
    """Return each rank's time in each window: [windows, rows, ranks]."""
    return np.asarray(loads_of(task, placed).sum(axis=3) / task.speeds)


def shared_replicas(placed: Ints) -> Ints:
    """Count replicas of `placed` [rows, ranks, slots] beside others of their expert: [rows]."""
    held = np.sort(placed, axis=2)
    return np.asarray((held[:, :, 1:] == held[:, :, :-1]).sum(axis=(1, 2)))
