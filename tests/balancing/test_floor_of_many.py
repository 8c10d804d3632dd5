"""No layer is below EPLB's, in requests of many layers: ties, groups, loads of every kind."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from benchmarks.eplb import Deployment, Floats
from hypothesis import given, settings
from hypothesis import strategies as st

from balancing.asking import answer
from balancing.checker import faults
from benchmarks import eplb

Draw = Callable[[np.random.Generator, tuple[int, int]], Floats]
KINDS: Mapping[str, Draw] = {
    "any": lambda random, shape: random.random(shape) * 1000,
    "alike": lambda random, shape: 1000 + random.random(shape),
    "few values": lambda random, shape: random.choice([1.0, 2.0, 3.0, 6.0], shape),
    "whole": lambda random, shape: random.integers(0, 6, shape).astype(float),
    "skewed": lambda random, shape: random.lognormal(0, 1.5, shape),
    "hot": lambda random, shape: np.where(random.random(shape) < 0.1, 300.0, 3.0),
}
SHAPES = st.tuples(
    st.sampled_from([1, 1, 2, 4]), st.integers(1, 8), st.integers(1, 9), st.integers(1, 3)
)


@settings(max_examples=60, deadline=None)
@given(
    shape=SHAPES,
    kind=st.sampled_from(sorted(KINDS)),
    hierarchical=st.booleans(),
    layers=st.sampled_from([3, 250]),
    seed=st.integers(0, 1 << 32),
)
def test_no_layer_is_below_eplb(
    *, shape: tuple[int, int, int, int], kind: str, hierarchical: bool, layers: int, seed: int
) -> None:
    """However many there are, and whichever of equal experts EPLB happens to take."""
    nodes, each, slots, several = shape
    ranks, groups = nodes * each, nodes * several
    size = max(1, ranks * slots // groups * 5 // 6)
    if groups * size > ranks * slots:
        return
    load = KINDS[kind](np.random.default_rng(seed), (layers, groups * size))
    to = Deployment(ranks * slots, ranks, *((nodes, groups) if hierarchical else ()))
    asked = {
        "loads": load.tolist(),
        "ranks": ranks,
        "slots": ranks * slots,
        "nodes": nodes,
        "groups": groups,
        "hierarchical": hierarchical,
        "prove": False,
    }
    found = answer(asked)
    least = eplb.balancedness(load, eplb.rebalance(load, to).expert, ranks)
    reached = np.array([layer["balancedness"] for layer in found["layers"]])

    assert [] == faults(asked, found)
    assert (reached >= least * (1 - 1e-9)).all()


@pytest.mark.parametrize(
    "asked",
    [
        {"loads": [[3, 3, 3, 2]], "ranks": 4, "slots": 12},
        {"loads": [[4, 5]], "ranks": 2, "slots": 10, "groups": 2, "hierarchical": True},
        {"loads": [[0.741, 0.015]], "ranks": 2, "slots": 6},
    ],
)
def test_where_a_rank_has_room_for_all_experts_ranks_are_even(asked: dict[str, object]) -> None:
    """Each holds as many replicas of each."""
    assert 1 == pytest.approx(answer(asked)["balancedness"]["mean"])
