"""Replicas onto ranks: what tidying a packing may cost."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rackfit.balancing.pack import CLOSE, PARTING, tidy
from rackfit.balancing.packing import packed, shared_replicas
from rackfit.balancing.task import scaled


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 32), spread=st.floats(0, 2), slots=st.integers(3, 6))
def test_tidying_raises_a_peak_by_no_more_than_parting_may_cost(
    *, seed: int, spread: float, slots: int
) -> None:
    """Once up to what is close, and once more by the price of parting; and no more lie together."""
    random = np.random.default_rng(seed)
    task = scaled(random.lognormal(0, spread, (1, 2, 5 * slots - 4)), 5, slots, None)
    every = np.concatenate((np.arange(5 * slots - 4), np.zeros(4, np.int64)))
    placed = np.stack([random.permutation(every) for _ in range(2)]).reshape(2, 5, slots)
    packing = packed(task, placed)
    before = packing.peaks()
    tidy(packing, np.ones(2), lambda: False)

    assert (packing.peaks() <= np.maximum(before, 1) * (1 + CLOSE) * (1 + PARTING)).all()
    assert (shared_replicas(packing.placed()) <= shared_replicas(placed)).all()
    assert np.sort(packing.placed(), axis=None).tolist() == np.sort(placed, axis=None).tolist()
