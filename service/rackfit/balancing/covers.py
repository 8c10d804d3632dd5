"""Which slots to deal out anew so that a layer's hot ranks come down: as few as can be found.

If one slot each of some ranks is dealt out again, the best way is known: the largest replica to
the rank that the others leave most room. All ranks stay within a time A if and only if, for each
load v, no more of the replicas are above v than ranks have room for v (Hall). A slot with load x of
a rank that is e above A takes from that balance all the way from x - e to x, and one of a rank that
is r below A adds to it from x to x + r. So each hot rank chooses one of its slots and needs that
much covered, and as few cold ranks as possible cover it.
"""

from collections.abc import Callable

import numpy as np

from rackfit.balancing.task import Bools, Floats, Ints

_STEPS = 4096
"""Steps between no load and the largest that matters: an interval is rounded to one of them."""

_COLD, _HOT = 32, 128
"""Cold and hot ranks that are weighed at once, the coldest and the hottest."""

_FITTING, _JOINED = 8, 4
"""Hot ranks that a cold one covers at most, and cold ones that cover a hot one together."""

_HOTTER = 0.5
"""What a cold rank's room, filled up, counts for beside the number of hot ranks it covers."""


def cover(load: Floats, expert: Ints, aim: float, expired: Callable[[], bool]) -> Ints | None:
    """Bring ranks to a time of `aim` where it can be: the experts in every slot, [ranks, slots].

    `load` and `expert` [ranks, slots] are what the slots hold now. The hottest rank's time never
    rises. Each rank that is dealt a slot ends within the aim, unless replicas were exchanged to
    keep those of one expert apart: then within the hottest's time before. None where no rank is
    above, nothing is found that brings no two replicas of an expert together, or nothing changes.
    """
    search = _Cover(load, aim)
    while search.todo.any() and not expired() and search.add_cold():
        pass
    search.join_cold(expired)
    search.leave_out()
    ranks = np.flatnonzero(search.slot >= 0)
    if not len(ranks) or expired():
        return None
    most = max(aim, float(load.sum(axis=1).max()))
    return _dealt(load, expert, ranks, search.slot[ranks], most)


class _Cover:
    """One layer's slots as intervals of load, and the choice of them.

    Attributes:
        low, high: what a slot of a hot rank needs covered, or of a cold one covers, [ranks, slots].
        todo: hot ranks that are not yet covered, [ranks].
        free: cold ranks that cover nothing yet, [ranks].
        slot: the slot to be dealt out again, or -1, [ranks].
        spare: how often each step is covered and not needed, [steps].
    """

    def __init__(self, load: Floats, aim: float) -> None:
        self.excess = load.sum(axis=1) - aim
        self.todo = self.excess > 0
        self.free = self.excess < 0
        self.slot = np.full(len(load), -1)
        self.spare = np.zeros(_STEPS + 1, np.int64)
        scale = _STEPS / max(float(load.max()), aim)
        own = np.ceil(load * scale).astype(np.int64)
        other = np.floor((load - self.excess[:, None]) * scale)
        other = np.clip(other, 0, _STEPS).astype(np.int64)
        hot = self.todo[:, None]
        self.low = np.where(hot, np.minimum(other, own), own)
        self.high = np.where(hot, own, np.maximum(other, own))

    def add_cold(self) -> bool:
        """Choose the cold rank that covers most hot ones, and them; tell whether any covers two."""
        hot, slot = self._slots_of(self.todo, self.excess, _HOT)
        last = np.argsort(self.high[hot, slot], kind="stable")
        hot, slot = hot[last], slot[last]
        cold, place = self._slots_of(self.free, -self.excess, _COLD)
        if not len(cold):
            return False
        chosen = self._fill(cold, place, hot, slot)
        fitting = (chosen >= 0).sum(axis=0)
        filled = np.where(chosen >= 0, self.excess[hot[chosen]], 0).sum(axis=0)
        best = int((fitting + _HOTTER * filled / -self.excess[cold]).argmax())
        if fitting[best] <= 1:
            return False
        self._choose(int(cold[best]), int(place[best]), 1)
        for which in chosen[: fitting[best], best].tolist():
            self._choose(int(hot[which]), int(slot[which]), -1)
        return True

    def _slots_of(self, ranks: Bools, by: Floats, most: int) -> tuple[Ints, Ints]:
        """Return all slots of some `ranks` [ranks], those with most of `by`: ranks, slots [n]."""
        found = np.flatnonzero(ranks)
        found = found[np.argsort(-by[found], kind="stable")[:most]]
        slots = self.low.shape[1]
        return np.repeat(found, slots), np.tile(np.arange(slots), len(found))

    def _fill(self, cold: Ints, place: Ints, hot: Ints, slot: Ints) -> Ints:
        """Return hot slots that fit into each cold one [n], one after the other, or -1: [most, n].

        `hot` and `slot` are in order of their end, and the first that fits is taken.
        """
        start, end = self.low[hot, slot], self.high[hot, slot]
        upto = self.low[cold, place][:, None]
        fits = end <= self.high[cold, place][:, None]
        chosen = np.full((_FITTING, len(cold)), -1)
        for turn in range(_FITTING):
            fits &= start >= upto
            found = fits.any(axis=1)
            if not found.any():
                break
            first = fits.argmax(axis=1)
            chosen[turn] = np.where(found, first, -1)
            upto = np.where(found, end[first], _STEPS)[:, None]
            fits &= hot != hot[first][:, None]
        return chosen

    def _choose(self, rank: int, slot: int, by: int) -> None:
        self.slot[rank] = slot
        self.todo[rank] = self.free[rank] = False
        self.spare[self.low[rank, slot] : self.high[rank, slot]] += by

    def join_cold(self, expired: Callable[[], bool]) -> None:
        """Cover what is left, the hottest first, by what is spare and the fewest cold ranks."""
        left = np.flatnonzero(self.todo)
        for rank in left[np.argsort(-self.excess[left], kind="stable")].tolist():
            if expired():
                return
            tried = [self._joined(rank, slot) for slot in range(self.low.shape[1])]
            fewest = min(tried, key=lambda cold: _JOINED + 1 if cold is None else len(cold))
            if fewest is not None:
                self._choose(rank, tried.index(fewest), -1)
                for cold, slot in fewest:
                    self._choose(cold, slot, 1)

    def leave_out(self) -> None:
        """Leave out cold ranks of which all is spare in the end, the least useful first."""
        chosen = np.flatnonzero((self.slot >= 0) & (self.excess < 0))
        for rank in chosen[np.argsort(-self.excess[chosen], kind="stable")].tolist():
            span = slice(self.low[rank, self.slot[rank]], self.high[rank, self.slot[rank]])
            if (self.spare[span] > 0).all():
                self.spare[span] -= 1
                self.slot[rank] = -1

    def _joined(self, rank: int, slot: int) -> list[tuple[int, int]] | None:
        """Return cold ranks and slots that cover one of a hot rank, None where too few do."""
        low, high = int(self.low[rank, slot]), int(self.high[rank, slot])
        missing = self.spare[low:high] < 1
        chosen: list[tuple[int, int]] = []
        free = self.free.copy()
        while missing.any():
            first = low + int(missing.argmax())
            ranks, slots = np.nonzero(free[:, None] & (self.low <= first) & (self.high > first))
            if not len(ranks) or len(chosen) == _JOINED:
                return None
            upto = np.concatenate(([0], missing.cumsum()))
            ends = self.high[ranks, slots]
            covered = upto[np.minimum(ends, high) - low] * _STEPS
            best = int((covered - ends + self.low[ranks, slots]).argmax())
            chosen.append((int(ranks[best]), int(slots[best])))
            free[ranks[best]] = False
            missing[: ends[best] - low] = False
        return chosen


def _dealt(load: Floats, expert: Ints, ranks: Ints, slots: Ints, most: float) -> Ints | None:
    """Deal out one slot each of `ranks` [n] again: the experts in every slot.

    Replicas that come to one of their expert are exchanged for others, as long as no time is above
    `most`; None where that does not part them.
    """
    rest = load[ranks].sum(axis=1) - load[ranks, slots]
    room = np.argsort(-rest, kind="stable")
    ranks, slots, rest = ranks[room], slots[room], rest[room]
    replica = np.argsort(load[ranks, slots], kind="stable")
    mine, theirs = expert[ranks], expert[ranks, slots]
    mine[np.arange(len(ranks)), slots] = -1
    clash = (mine[:, :, None] == theirs).any(axis=1)  # [rank, replica]
    turn = np.arange(len(ranks))
    item = load[ranks, slots]
    for one in np.flatnonzero(clash[turn, replica]).tolist():
        peak = np.maximum(rest[one] + item[replica], rest + item[replica[one]])
        peak[clash[one, replica] | clash[turn, replica[one]] | (peak > most)] = np.inf
        other = int(peak.argmin())
        if np.isfinite(peak[other]):
            replica[one], replica[other] = replica[other], replica[one]
    if clash[turn, replica].any():
        return None
    placed = expert.copy()
    placed[ranks, slots] = theirs[replica]
    return None if (placed == expert).all() else placed
