"""Counts for very hot experts: what proves that others are needed, and what these reach."""

import itertools

import numpy as np
import pytest
from benchmarks.eplb import Deployment
from benchmarks.expert_loads import Case, loads
from hypothesis import given, settings
from hypothesis import strategies as st

from balancing.asking import answer
from balancing.checker import faults
from benchmarks import eplb
from rackfit.balancing.counts import Greedy
from rackfit.balancing.eased import OTHERS, ease, large_replicas, least_peak
from rackfit.balancing.packing import counted
from rackfit.balancing.task import scaled

LAYERS = 8
HOT = [
    Case("zipf", 1.2, 256, Deployment(320, 64)),
    Case("zipf", 1.5, 256, Deployment(320, 64)),
    Case("zipf", 1.2, 256, Deployment(384, 128)),
    Case("lognormal", 2.0, 256, Deployment(320, 64)),
]


@settings(max_examples=60, deadline=None)
@given(
    load=st.lists(st.floats(0, 10), min_size=6, max_size=6),
    ranks=st.sampled_from([1, 2, 3, 6]),
)
def test_least_peaks_are_never_above_the_best_packing(*, load: list[float], ranks: int) -> None:
    """Of all ways to put six replicas on ranks, none has a lower peak."""
    slots = len(load) // ranks
    best = min(
        max(sum(order[slots * rank : slots * (rank + 1)]) for rank in range(ranks))
        for order in itertools.permutations(load)
    )
    for most in range(slots):
        least = least_peak(np.sort([load], axis=1), ranks, slots, most)
        assert least[0] <= best * (1 + 1e-9)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 1 << 32), st.floats(0.1, 3), st.floats(0.1, 5))
def test_large_replicas_are_counted_as_they_come(seed: int, spread: float, goal: float) -> None:
    """Step by step as by counting all of them anew."""
    load = np.random.default_rng(seed).lognormal(0, spread, (3, 7))
    order = Greedy.of(load, 30)
    found = large_replicas(load, order, np.full(3, goal))
    for turn in range(len(order.expert)):
        counts = order.counts(turn, 7)
        assert np.where(load / counts * 2 > goal, counts, 0).sum(axis=1).tolist() == (
            found[turn].tolist()
        )


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 1 << 32), spread=st.floats(0, 4), ranks=st.integers(2, 6))
def test_eased_placements_have_every_expert(*, seed: int, spread: float, ranks: int) -> None:
    """One replica at least, as many as there are slots in all."""
    load = np.random.default_rng(seed).lognormal(0, spread, (1, 2, 8))
    counts = counted(ease(scaled(load, ranks, 4, None), np.ones(2), OTHERS), 8)

    assert counts.min() >= 1
    assert counts.sum(axis=1).tolist() == [ranks * 4] * 2


@pytest.mark.parametrize("case", HOT)
def test_very_hot_experts_are_balanced(case: Case) -> None:
    """Where EPLB has too many replicas of one size to pack them: a quarter of its loss is left."""
    load = loads(case, 0, LAYERS)
    asked = {"loads": load.tolist(), "ranks": case.to.ranks, "slots": case.to.slots, "prove": False}
    found = answer(asked)
    reference = eplb.balancedness(load, eplb.rebalance(load, case.to).expert, case.to.ranks)

    assert [] == faults(asked, found)
    assert 1 - found["balancedness"]["mean"] <= 0.25 * (1 - reference.mean())


@pytest.mark.parametrize("parameter", [0.3, 0.5])
def test_four_slots_are_as_good_as_even(parameter: float) -> None:
    """0.998 on average and 0.992 in the worst layer, where no expert has ten times the mean."""
    case = Case("lognormal", parameter, 256, Deployment(288, 72))
    load = loads(case, 0)
    assert (load.max(axis=1) <= 10 * load.mean(axis=1)).all()
    balance = answer({"loads": load.tolist(), "ranks": 72, "slots": 288})["balancedness"]

    assert balance["mean"] >= 0.998
    assert balance["worst"] >= 0.992
