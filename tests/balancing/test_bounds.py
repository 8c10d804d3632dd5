"""What is said to be out of reach is: tried against every placement of small layers."""

from itertools import product

import numpy as np
import pytest
from benchmarks.eplb import balancedness
from hypothesis import given, settings
from hypothesis import strategies as st

from balancing.asking import answer, never
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


@settings(max_examples=60, deadline=None)
@given(
    load=st.lists(st.integers(0, 20), min_size=8, max_size=8),
    nodes=st.sampled_from([2, 4, 8]),
    more=st.integers(0, 2),
)
def test_spread_of_groups_is_bounded_by_the_best(*, load: list[int], nodes: int, more: int) -> None:
    """The slowest node of the best spread, with up to as many groups on a node as have room."""
    task = scaled(np.array([[load]], float), nodes, 8 // nodes, None)
    best = best_spread(tuple(load), nodes, 8 // nodes + more) * nodes / (sum(load) or 1)
    bound = partition_bound(task, 8 // nodes + more)[0]

    assert bound <= best * (1 + 1e-9)
    if more == 0 or nodes == 2:
        assert pytest.approx(max(best, 1.0 if any(load) else 0)) == bound


def best_spread(load: tuple[int, ...], nodes: int, most: int) -> int:
    """Return the most loaded node of the best spread, by trying every one, the largest first."""
    falling = sorted(load, reverse=True)
    found = [((0, 0),) * nodes]
    for one in falling:
        found = list(
            {
                tuple(sorted((*way[:node], (carried + one, held + 1), *way[node + 1 :])))
                for way in found
                for node, (carried, held) in enumerate(way)
                if held < most
            }
        )
    return min(max(carried for carried, _ in way) for way in found)


@settings(max_examples=40, deadline=None)
@given(
    load=st.lists(st.integers(1, 20), min_size=8, max_size=8),
    speeds=st.lists(st.sampled_from([1.0, 2.0]), min_size=4, max_size=4),
)
def test_spread_over_nodes_of_several_speeds_is_bounded(
    *, load: list[int], speeds: list[float]
) -> None:
    """By two groups of any of the three largest on the fastest node, and so on."""
    task = scaled(np.array([[load]], float), 4, 2, np.array(speeds))
    ways = np.array(list(product(range(4), repeat=8)))
    on = np.stack([np.where(ways == node, task.loads[0, 0], 0).sum(axis=1) for node in range(4)])
    least = (on.T / task.speeds[0]).max(axis=1).min()

    assert partition_bound(task, 8)[0] <= least * (1 + 1e-9)


def test_groups_need_not_be_as_many_on_each_node() -> None:
    """One hot group alone, three beside each other, where nodes have room for them."""
    asked = {
        "loads": [[9, 3, 3, 3]],
        "ranks": 2,
        "slots": 6,
        "nodes": 2,
        "groups": 4,
        "hierarchical": True,
    }
    (layer,) = answer(asked)["layers"]

    assert layer["balancedness"] == pytest.approx(9 / 12)
    assert layer["upper_bound"] == pytest.approx(1)
