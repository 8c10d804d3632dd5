"""The floor is EPLB to the slot, runs of replicas or not."""

import numpy as np
import pytest
from benchmarks.eplb import Deployment
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import eplb
from rackfit.balancing.floor import Shape, floor, least_peaks, pack_greedily, rounds_of

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(2, 5), st.integers(0, 1 << 32))


@settings(max_examples=200, deadline=None)
@given(shape=SHAPES, ties=st.booleans())
def test_runs_pack_as_one_by_one(*, shape: tuple[int, int, int, int], ties: bool) -> None:
    """Each replica goes to the rank that it would have gone to alone, ties included."""
    rows, packs, each, seed = shape
    random = np.random.default_rng(seed)
    size = (rows, packs * each)
    load = random.integers(0, 5, size).astype(float) if ties else random.random(size)

    expected, _ = eplb.balanced_packing(load, packs)
    assert expected.tolist() == pack_greedily(load, packs).tolist()


@settings(max_examples=300, deadline=None)
@given(shape=SHAPES, ties=st.booleans(), spread=st.floats(0.01, 1))
def test_where_rounds_are_even_their_peak_is_that_of_eplb(
    *, shape: tuple[int, int, int, int], ties: bool, spread: float
) -> None:
    """Dealing in rounds says what EPLB reaches, or that it does not know."""
    rows, packs, each, seed = shape
    random = np.random.default_rng(seed)
    size = (rows, packs * each)
    load = 1 + spread * (random.integers(0, 5, size) if ties else random.random(size))
    dealt = rounds_of(np.sort(load, axis=1), packs)

    pack, _ = eplb.balanced_packing(load, packs)
    for row in np.flatnonzero(dealt.even):
        total = np.bincount(pack[row], load[row], packs)
        assert pytest.approx(total.max()) == dealt.peak[row]
    assert dealt.even.all() or spread > 0.2 / each


@settings(max_examples=100, deadline=None)
@given(shape=SHAPES, nodes=st.integers(1, 3), spread=st.floats(0.01, 3))
def test_least_peaks_are_never_above_those_of_eplb(
    *, shape: tuple[int, int, int, int], nodes: int, spread: float
) -> None:
    """What is said of a layer holds, by groups and nodes too."""
    layers, each, slots, seed = shape
    experts, ranks = nodes * each * 2, nodes * each
    load = np.random.default_rng(seed).lognormal(0, spread, (layers, experts))
    to = Deployment(ranks * slots, ranks, nodes, nodes)

    reached = (
        load.sum(axis=1) / ranks / eplb.balancedness(load, eplb.rebalance(load, to).expert, ranks)
    )
    assert (
        least_peaks(load, Shape(ranks, ranks * slots, nodes, nodes)) <= reached * (1 + 1e-9)
    ).all()


@settings(max_examples=100, deadline=None)
@given(shape=SHAPES, nodes=st.integers(1, 3), ties=st.booleans())
def test_floor_is_as_balanced_as_eplb(
    *, shape: tuple[int, int, int, int], nodes: int, ties: bool
) -> None:
    """Whole placements, by groups and nodes, carry the same loads."""
    layers, each, slots, seed = shape
    experts, ranks = nodes * each * 2, nodes * each
    random = np.random.default_rng(seed)
    size = (layers, experts)
    load = random.integers(0, 9, size).astype(float) if ties else random.random(size)
    to = Deployment(ranks * slots, ranks, nodes, nodes)

    expected = eplb.balancedness(load, eplb.rebalance(load, to).expert, ranks)
    placed = floor(load, Shape(ranks, ranks * slots, nodes, nodes))
    assert pytest.approx(expected) == eplb.balancedness(load, placed, ranks)
