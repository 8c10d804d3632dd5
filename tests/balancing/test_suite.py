"""Balance on loads like measured ones: the targets that DeepSeek's EPLB leaves room for.

A few layers of each of the suite; `python -m benchmarks placements` takes all 58 and the time,
and docs/expert-placement.md has the figures.
"""

from functools import cache
from typing import Any

import pytest
from benchmarks.expert_loads import SUITE, drifted, loads

from balancing.asking import answer
from balancing.checker import faults
from benchmarks import eplb

Json = dict[str, Any]
LAYERS = 8
MANY = ["zipf 0.5, 288 / 32", "lognormal 0.5, 320 / 64", "lognormal 0.5, 384 experts, 448 / 64"]


def question(name: str, seed: int = 0) -> Json:
    """Ask for one of the suite."""
    case = SUITE[name]
    return {
        "loads": loads(case, seed, LAYERS).tolist(),
        "ranks": case.to.ranks,
        "slots": case.to.slots,
        "nodes": case.to.nodes,
        "groups": case.to.groups,
        "hierarchical": case.to.nodes > 1,
    }


@cache
def placed(name: str) -> Json:
    """Answer it, once for all tests."""
    return answer(question(name))


@pytest.mark.parametrize("name", SUITE)
def test_placement_is_sound_and_better_than_eplb(name: str) -> None:
    """Every layer is at least as balanced, and fewer replicas lie beside another."""
    case = SUITE[name]
    load = loads(case, 0, LAYERS)
    reference = eplb.rebalance(load, case.to).expert
    floor = eplb.balancedness(load, reference, case.to.ranks)
    found = placed(name)

    assert [] == faults(question(name), found)
    assert all(
        layer["balancedness"] >= least * (1 - 1e-9)
        for layer, least in zip(found["layers"], floor.tolist(), strict=True)
    )
    assert found["balancedness"]["mean"] > floor.mean()


@pytest.mark.parametrize("name", MANY)
def test_five_slots_or_more_are_as_good_as_even(name: str) -> None:
    """0.998 on average, 0.992 in the worst layer, and no expert twice on a rank."""
    balance = placed(name)["balancedness"]

    assert balance["mean"] >= 0.998
    assert balance["worst"] >= 0.992
    assert placed(name)["shared"] <= 1


def test_three_slots_reach_99_percent() -> None:
    """And 99.7, where EPLB reaches 95."""
    assert placed("zipf 0.5, 384 experts, 432 / 144")["balancedness"]["mean"] >= 0.997


@pytest.mark.parametrize("name", ["zipf 0.5, 288 / 144", "lognormal 0.5, 288 / 144"])
def test_two_slots_come_near_what_is_proved(name: str) -> None:
    """Within a percent of what no placement exceeds."""
    assert placed(name)["gap"] <= 0.010
    assert placed(name)["upper_bound"]["mean"] < 0.995


@pytest.mark.parametrize("name", [name for name in SUITE if "groups" in name])
def test_groups_come_near_the_best_spread(name: str) -> None:
    """Within half a percent of the slowest node of the best spread."""
    assert placed(name)["gap"] <= 0.005


@pytest.mark.parametrize("name", MANY)
def test_drift_moves_little(name: str) -> None:
    """After 5 % of drift 0.99 is reached by moving 15 % of the slots."""
    case = SUITE[name]
    now = [layer["slot_to_expert"] for layer in placed(name)["layers"]]
    later = drifted(loads(case, 0, LAYERS), 1).tolist()
    asked = {**question(name), "loads": later, "current": now}
    found = answer(asked)

    assert [] == faults(asked, found)
    assert found["balancedness"]["mean"] >= 0.99
    assert found["moved_slots"] <= 0.15 * case.to.slots * LAYERS


def test_knobs_trade_balance_for_moves() -> None:
    """A higher price or a lower limit never moves more, nor balances better."""
    name = "lognormal 0.5, 320 / 64"
    now = [layer["slot_to_expert"] for layer in placed(name)["layers"]]
    asked = {
        **question(name),
        "loads": drifted(loads(SUITE[name], 0, LAYERS), 1).tolist(),
        "current": now,
    }
    prices = [answer({**asked, "move_price": price}) for price in (5, 0.5, 0.2, 0.1, 0.02, 0)]
    limits = [
        answer({**asked, "move_price": 0, "move_limit": limit}) for limit in (0, 10, 100, 10_000)
    ]

    for found in (prices, limits):
        moved = [one["moved_slots"] for one in found]
        balance = [one["balancedness"]["mean"] for one in found]
        assert sorted(moved) == moved
        assert sorted(balance) == balance
    assert [True] * 3 == [
        one["moved_slots"] <= n for one, n in zip(limits, (0, 10, 100), strict=False)
    ]
    assert limits[0]["balancedness"] == limits[0]["current_balancedness"]
