"""Rounds of three: weighed rightly, and never against the rules."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rackfit.balancing.packing import packed, times
from rackfit.balancing.rounds import COLD, best_rounds, pass_on
from rackfit.balancing.task import Ints, Task

RANKS, SLOTS, EXPERTS = 6, 2, 10


@st.composite
def problems(draw: st.DrawFn) -> tuple[Task, Ints]:
    """Draw two layers and some placement of them, every expert once at least."""
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    load = rng.lognormal(0, draw(st.sampled_from([0.05, 0.3, 1.0])), (1, 2, EXPERTS))
    load *= RANKS / load.sum(axis=2, keepdims=True)
    placed = []
    for _ in range(2):
        more = rng.choice(EXPERTS, RANKS * SLOTS - EXPERTS, replace=False)
        held = np.concatenate([np.arange(EXPERTS), more])
        placed.append(rng.permutation(held).reshape(RANKS, SLOTS))
    task = Task(load, RANKS, SLOTS, np.ones((2, RANKS)))
    return task, np.stack(placed)


def everything(task: Task, placed: Ints, row: int, hottest: int, nodes: int) -> float:
    """Return the least peak of three ranks after a round of the hottest one and any two."""
    each = RANKS // nodes
    best = np.inf
    for others in permutations(set(range(RANKS)) - {hottest}, 2):
        ring = (hottest, *others)
        if len({rank // each for rank in ring}) > 1:
            continue
        for slots in product(range(SLOTS), repeat=3):
            given = [placed[row, rank, slot] for rank, slot in zip(ring, slots, strict=True)]
            after = placed.copy()
            for place, rank in enumerate(ring):
                after[row, rank, slots[place]] = given[place - 1]
            alike = any(given[place - 1] in placed[row, rank] for place, rank in enumerate(ring))
            if not alike:
                best = min(best, times(task, after)[0, row, list(ring)].max())
    return best


@given(problem=problems(), nodes=st.sampled_from([1, 2]))
@settings(max_examples=60, deadline=None)
def test_the_best_round_is_the_best_there_is(problem: tuple[Task, Ints], nodes: int) -> None:
    """With an aim below all, every rank is weighed; the peak is what passing on leads to."""
    task, placed = problem
    assert RANKS <= COLD
    packing = packed(task, placed)
    rows = np.arange(2)
    found = best_rounds(packing, rows, 0.0, nodes)
    hottest = np.argsort(packing.times(), axis=1)[:, -1]  # of several, the one that is taken
    for row in rows.tolist():
        best = everything(task, placed, row, int(hottest[row]), nodes)
        assert found.peak[row] == pytest.approx(best)
    ends = np.isfinite(found.peak)
    ring = packing.rank[found.replicas[:, ends]]
    pass_on(packing, found.replicas[:, ends])
    after = times(task, packing.placed()).reshape(-1)
    assert after[ring].max(axis=0) == pytest.approx(found.peak[ends])
    assert packing.total[0] == pytest.approx(after)
    assert (np.sort(packing.placed().reshape(2, -1)) == np.sort(placed.reshape(2, -1))).all()
