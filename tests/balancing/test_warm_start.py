"""From a current placement: what a deadline leaves, and what a placement by groups may be."""

import os
import subprocess
import sys

import numpy as np
import pytest
from benchmarks.eplb import Deployment
from benchmarks.expert_loads import Case, loads

from balancing.asking import answer

QUESTION = (
    "import json, sys; from balancing.asking import answer; "
    "print(json.dumps([answer(asked) for asked in json.load(sys.stdin)]))"
)


def test_a_deadline_leaves_the_fresh_placement_to_go_to() -> None:
    """Time is up right after it was found: it is still better than staying."""
    load = loads(Case("zipf", 0.5, 64, Deployment(72, 9)), 0, 4)
    ranges = np.tile(np.concatenate((np.arange(64), np.arange(8))), (4, 1))
    asked = {
        "loads": load.tolist(),
        "ranks": 9,
        "slots": 72,
        "current": ranges.tolist(),
        "move_price": 0,
        "prove": False,
    }
    whole = answer(asked)
    cut = answer(asked, expired=lambda: True)

    assert not cut["complete"]
    assert cut["balancedness"]["mean"] > whole["current_balancedness"]["mean"] + 0.01
    assert cut["moved_slots"] > 0


def test_a_current_placement_has_as_many_groups_on_each_node() -> None:
    """One with another number is nowhere to stay, however even it is."""
    asked = {
        "loads": [[5, 1, 1, 1]],
        "ranks": 2,
        "slots": 6,
        "nodes": 2,
        "groups": 4,
        "hierarchical": True,
    }
    found = answer({**asked, "current": [[0, 0, 0, 1, 2, 3]]})
    assert answer(asked)["balancedness"] == found["balancedness"]


@pytest.mark.parametrize("features", ["X86_V3 X86_V4 AVX512_ICL", "AVX2 AVX512F AVX512_SKX"])
def test_answers_do_not_depend_on_the_processor(features: str) -> None:
    """The same to the slot where numpy sorts with less."""
    random = np.random.default_rng(0)
    asked = [
        {
            "loads": random.integers(1, 6, (3, experts)).tolist(),
            "ranks": 8,
            "slots": 8 * slots,
            "prove": False,
        }
        for experts, slots in ((16, 3), (24, 4), (30, 5), (12, 2), (40, 6))
        for _ in range(4)
    ]
    body = str(asked).replace("'", '"').replace("False", "false").encode()
    told = [
        subprocess.run(  # noqa: S603 (our own words)
            [sys.executable, "-W", "ignore", "-c", QUESTION],
            input=body,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **extra},
            capture_output=True,
            check=True,
        ).stdout
        for extra in ({}, {"NPY_DISABLE_CPU_FEATURES": features})
    ]
    assert told[0] == told[1]
