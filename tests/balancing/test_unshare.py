"""Replicas of one expert beside each other: parted wherever that costs no balance."""

import numpy as np
import pytest
from benchmarks.eplb import Deployment
from benchmarks.expert_loads import Case, loads
from hypothesis import given, settings
from hypothesis import strategies as st

from balancing.asking import answer
from rackfit.balancing.pack import PARTING, tidy
from rackfit.balancing.packing import ascending, packed, shared_replicas
from rackfit.balancing.task import scaled

CASES = [
    Case("zipf", 0.5, 256, Deployment(288, 32)),
    Case("zipf", 0.5, 256, Deployment(288, 72)),
    Case("lognormal", 1.0, 256, Deployment(288, 72)),
    Case("zipf", 0.5, 384, Deployment(432, 144)),
]


@pytest.mark.parametrize("case", CASES)
def test_no_expert_is_on_a_rank_twice(case: Case) -> None:
    """In none of 20 layers, where EPLB leaves some in most."""
    load = loads(case, 1, 20).tolist()
    asked = {"loads": load, "ranks": case.to.ranks, "slots": case.to.slots, "prove": False}

    assert answer(asked)["shared"] == 0


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 32), spread=st.floats(0, 2), slots=st.integers(3, 6))
def test_tidying_parts_at_no_cost(*, seed: int, spread: float, slots: int) -> None:
    """No peak rises by more than parting may cost, and no more replicas lie together."""
    random = np.random.default_rng(seed)
    task = scaled(random.lognormal(0, spread, (1, 2, 5 * slots - 4)), 5, slots, None)
    every = np.concatenate((np.arange(5 * slots - 4), np.zeros(4, np.int64)))
    placed = np.stack([random.permutation(every) for _ in range(2)]).reshape(2, 5, slots)
    packing = packed(task, placed)
    before = packing.peaks()
    tidy(packing, np.ones(2), lambda: False)

    assert (packing.peaks() <= np.maximum(before, 1) * (1 + 3 * PARTING) * (1 + PARTING)).all()
    assert (shared_replicas(packing.placed()) <= shared_replicas(placed)).all()
    assert np.sort(packing.placed(), axis=None).tolist() == np.sort(placed, axis=None).tolist()


@given(st.lists(st.lists(st.integers(-9, 9), min_size=7, max_size=7), min_size=1, max_size=3))
def test_values_are_put_in_order(rows: list[list[int]]) -> None:
    """Equal ones in that of their numbers, as a stable sort has them."""
    values = np.array(rows, np.float64)

    assert ascending(values).tolist() == np.argsort(values, axis=1, kind="stable").tolist()
