"""The floor is EPLB to the slot, runs of replicas or not."""

import numpy as np
import pytest
from benchmarks.eplb import Deployment
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import eplb
from rackfit.balancing.floor import Shape, floor, pack_greedily

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
