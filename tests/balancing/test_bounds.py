"""What is said to be out of reach is: tried against every placement of small layers."""

from itertools import product

import numpy as np
import pytest
from benchmarks.eplb import balancedness
from hypothesis import given, settings
from hypothesis import strategies as st

from balancing.asking import never
from rackfit.balancing.bounds import partition_bound, simple_bound
from rackfit.balancing.certificate import certify
from rackfit.balancing.task import scaled


def best_of_all(load: list[int], ranks: int, slots: int) -> float:
    """Return the best balancedness there is, by trying every placement."""
    experts = range(len(load))
    every = product(experts, repeat=ranks * slots)
    placements = np.array([held for held in every if set(held) == set(experts)])
    loads = np.tile(np.array(load, float), (len(placements), 1))
    return float(balancedness(loads, placements, ranks).max())


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([(2, 2), (3, 2), (2, 3)]).flatmap(
        lambda shape: st.tuples(
            st.just(shape), st.lists(st.integers(1, 30), min_size=3, max_size=4)
        )
    )
)
def test_no_placement_exceeds_the_bound(drawn: tuple[tuple[int, int], list[int]]) -> None:
    """Neither the simple bound nor the proof says less than the best there is."""
    (ranks, slots), load = drawn
    task = scaled(np.array([[load]], float), ranks, slots, None)
    simple = simple_bound(task)
    peak = np.array([1 / best_of_all(load, ranks, slots)])
    proved = certify(task, simple, peak * 1.2, never).bound

    assert simple[0] <= peak[0] * (1 + 1e-9)
    assert proved[0] <= peak[0] * (1 + 1e-9)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 20), min_size=8, max_size=8), st.sampled_from([2, 4, 8]))
def test_spread_of_groups_is_bounded_by_the_best(load: list[int], nodes: int) -> None:
    """The slowest node of the best spread, found by trying every one."""
    task = scaled(np.array([[load]], float), nodes, 8 // nodes, None)
    every = (
        [way for way in product(range(nodes), repeat=8) if _even(way, nodes)] if nodes < 8 else []
    )
    sums = [
        max(
            sum(one for one, n in zip(load, way, strict=True) if n == node) for node in range(nodes)
        )
        for way in every
    ] or [max(load)]
    share = sum(load) or 1

    assert (
        pytest.approx(max(min(sums) * nodes / share, 1.0 if any(load) else 0))
        == partition_bound(task)[0]
    )


def _even(way: tuple[int, ...], nodes: int) -> bool:
    return all(way.count(node) == 8 // nodes for node in range(nodes))
