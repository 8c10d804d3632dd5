"""Replicas of one expert beside each other: parted wherever that costs no balance."""

import pytest
from benchmarks.eplb import Deployment
from benchmarks.expert_loads import Case, loads

from balancing.asking import answer

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
