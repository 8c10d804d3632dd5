"""Slots dealt out again: never a higher peak, and the best of all ways to deal one."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rackfit.balancing.counts import greedy_counts
from rackfit.balancing.packing import Packing, times
from rackfit.balancing.starts import deal, redeal
from rackfit.balancing.task import scaled


def dealt(seed: int, spread: float, ranks: int, slots: int) -> Packing:
    """Deal out random loads of two layers."""
    load = np.random.default_rng(seed).lognormal(0, spread, (1, 2, ranks * slots - 1))
    task = scaled(load, ranks, slots, None)
    packing = Packing(task, greedy_counts(task))
    deal(packing)
    return packing


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 1 << 32),
    spread=st.floats(0, 3),
    ranks=st.integers(2, 9),
    slots=st.integers(2, 6),
)
def test_dealing_again_never_raises_a_peak(
    *, seed: int, spread: float, ranks: int, slots: int
) -> None:
    """What each rank holds adds up, and each replica is where it is said to be."""
    packing = dealt(seed, spread, ranks, slots)
    before, held = packing.peaks(), np.sort(packing.held, axis=None)
    redeal(packing, np.ones(2), lambda: False)

    assert (packing.peaks() <= before * (1 + 1e-12)).all()
    assert held.tolist() == np.sort(packing.held, axis=None).tolist()
    assert np.allclose(times(packing.task, packing.placed())[0], packing.times())
    assert (packing.rank[packing.held] == np.arange(2 * ranks)).all()


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 1 << 32), spread=st.floats(0.1, 2), slots=st.integers(2, 3))
def test_no_other_way_to_deal_a_slot_is_better(seed: int, spread: float, slots: int) -> None:
    """Once turns gain nothing, no permutation of one slot does: with so few all are tried."""
    packing = dealt(seed, spread, 4, slots)
    for _ in range(20):
        redeal(packing, np.ones(2), lambda: False)
    load = packing.mean.take(packing.held).reshape(slots, 2, 4)
    for slot, order in itertools.product(range(slots), itertools.permutations(range(4))):
        other = load.sum(axis=0) - load[slot] + load[slot][:, order]
        assert (other.max(axis=1) >= packing.peaks() * (1 - 2e-5)).all()
