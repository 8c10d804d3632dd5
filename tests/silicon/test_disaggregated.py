"""Prefill and decode apart by tables of measured kernels, with a stand-in for the package."""

from itertools import pairwise
from math import ceil
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rackfit.planning.plan import plan
from rackfit.planning.question import ROOFLINE, Disaggregated, PlanAnswer
from rackfit.silicon.tables import SiliconTables
from silicon.asking import request
from silicon.standing import CATALOG, MODEL, Stand

H200, AMD = "NVIDIA-H200", "AMD-Instinct-MI300X"
WORKLOAD = {"context_tokens": 8192, "sequences": 64, "input_tokens": 4000, "output_tokens": 500}
OBJECTIVES = ["fewest-accelerators", "lowest-cost", "highest-throughput", "lowest-latency"]
SPEEDS = {
    "highest-throughput": lambda pair: -pair.requests_per_second,
    "lowest-latency": lambda pair: pair.seconds_per_output_token,
}


def answered(nodes: list[tuple[str, int]], **more: Any) -> PlanAnswer:  # noqa: ANN401 (any JSON)
    """Plan on nodes of so many accelerators, with the tables unless others are given."""
    options = {"tables": SiliconTables(CATALOG), "expired": lambda: False}
    options |= {name: more.pop(name) for name in tuple(options) if name in more}
    inventory = [
        {"name": f"n{number}", "accelerator": part, "count": count}
        for number, (part, count) in enumerate(nodes)
    ]
    asked = request(
        {"id": MODEL},
        **{"workload": WORKLOAD, "disaggregate": True, "inventory": {"nodes": inventory}, **more},
    )
    return plan(asked, CATALOG, device_reserve=0.1, **options)


def pairs(nodes: list[tuple[str, int]], **more: Any) -> tuple[Disaggregated, ...]:  # noqa: ANN401
    """The pairs of an answer."""
    return answered(nodes, **more).disaggregated


def method(pair: Disaggregated) -> str:
    """How the speeds of a pair were found."""
    assert pair.decode.performance is not None
    return pair.decode.performance.method


def covered(pair: Disaggregated) -> bool:
    """Tell whether the speeds of a pair are by the tables."""
    return "measured on the silicon" in method(pair)


def loaded(stand: Stand) -> int:
    """How many splits were compiled so far; each is remembered."""
    return len({watch.pairing for watch in stand.watches})


def test_rates_that_are_matched_are_the_tables(stand: Stand) -> None:
    """A prompt takes 104 ms, a step one a sequence and one a tensor rank."""
    found = pairs([(H200, 8)] * 2, constraints={"tensor": 2, "pipeline": 1})

    assert found
    for pair in found:
        read, written = pair.prefill.split, pair.decode.split
        each = (ceil(64 / written.replicas) + 2) / 1000
        requests = 64 / (each * 500)
        assert covered(pair)
        assert pytest.approx(each) == pair.seconds_per_output_token
        assert pytest.approx(requests) == pair.requests_per_second
        assert ceil(requests * 0.104) == read.replicas
        assert pytest.approx(requests * 0.104 / read.replicas) == pair.prefill_busy
        assert pytest.approx(0.104) == pair.seconds_to_first_token - pair.seconds_to_transfer
    asked = {call for watch in stand.watches for call in watch.asked}
    assert ("prefill", (1, 4000, 0)) in asked


def test_slower_reading_takes_more_replicas(stand: Stand) -> None:
    """Of the same prefill split, for the same decode replicas."""
    held = {"tensor": 2, "pipeline": 1}
    (fast,) = pairs([(H200, 8)] * 4, constraints=held, limit=1)
    stand.reading = 9.0
    (slow,) = pairs([(H200, 8)] * 4, constraints=held, limit=1)

    assert fast.decode.split == slow.decode.split
    assert fast.prefill.split.replicas < slow.prefill.split.replicas


def test_what_needs_too_many_readers_by_the_tables_is_not_told(stand: Stand) -> None:
    """The roofline would do with fewer than the tables say keep up."""
    held = {"max_accelerators": 8}
    bare = pairs([(H200, 8)] * 4, constraints=held, limit=100, tables=None)
    stand.reading = 10.0
    found = pairs([(H200, 8)] * 4, constraints=held, limit=100)

    assert 0 < len(found) < len(bare)
    assert all(covered(pair) and pair.accelerators <= 8 for pair in found)


def test_the_best_splits_of_either_phase_are_looked_up(stand: Stand) -> None:
    """Four of each for one that is told, as far as they are paired, of many more."""
    plain = {"limit": 1, "objective": "highest-throughput"}
    assert () == pairs([(H200, 8)] * 4, disaggregate=False, **plain)
    plans = len(stand.watches)
    assert 1 == len(pairs([(H200, 8)] * 4, **plain))

    assert 4 < len(stand.watches) - 2 * plans <= 4 + 4


def test_where_one_side_is_not_covered_the_roofline_tells_both(stand: Stand) -> None:
    """Two kinds of estimate do not compare: figures are those there are without any tables."""
    stand.refused = {1}
    found = pairs([(H200, 8)] * 2, limit=100)
    bare = {
        (pair.prefill.split, pair.decode.split): pair
        for pair in pairs([(H200, 8)] * 2, limit=100, tables=None)
    }

    assert {True, False} == {covered(pair) for pair in found}
    fastest = answered([(H200, 8)] * 2, limit=100, objective="lowest-latency")
    assert any("near each other" in warning for warning in fastest.warnings)
    for pair in found:
        degrees = {pair.prefill.split.tensor, pair.decode.split.tensor}
        assert covered(pair) == (1 not in degrees)
        if not covered(pair):
            assert pair in (bare.get((pair.prefill.split, pair.decode.split)), pair)
    mixed = [pair for pair in found if not covered(pair)]
    assert any(bare.get((pair.prefill.split, pair.decode.split)) == pair for pair in mixed)


@pytest.mark.usefixtures("stand")
def test_parts_of_another_maker_are_told_by_the_roofline() -> None:
    """Also the side that the tables would cover."""
    found = pairs([(H200, 8), (AMD, 8)], limit=100)
    parts = [{pair.prefill.accelerator, pair.decode.accelerator} for pair in found]

    assert {H200, AMD} in parts
    assert [each == {H200} for each in parts] == [covered(pair) for pair in found]


def test_without_tables_the_package_is_not_asked(stand: Stand) -> None:
    """Every pair is by the roofline."""
    found = pairs([(H200, 8)] * 2, tables=None, objective="lowest-latency")

    assert {ROOFLINE} == {method(pair) for pair in found}
    assert not stand.watches


@pytest.mark.usefixtures("stand")
def test_a_time_that_only_the_roofline_keeps_is_warned_of() -> None:
    """By the number of the pair."""
    answer = answered([(H200, 8)] * 2, constraints={"max_seconds_per_output_token": 0.03})
    late = [
        f"Disaggregated plan {number}"
        for number, pair in enumerate(answer.disaggregated, 1)
        if pair.seconds_per_output_token > 0.03
    ]

    warned = [text.partition(":")[0] for text in answer.warnings if "max_seconds" in text]
    assert late == [name for name in warned if "Disaggregated" in name]
    assert late


@pytest.mark.parametrize(("limit", "last"), [(100, 1), (100, 7), (1, 5), (2, 9)])
def test_out_of_time_the_pairs_of_the_roofline_are_told(
    stand: Stand, limit: int, last: int
) -> None:
    """What the search found is not lost because looking it up took all the time.

    Of plans or of pairs; and nothing more is looked up then, as loading tables takes seconds.
    """
    plain = {"limit": limit, "objective": "highest-throughput"}
    bare = answered([(H200, 8)] * 2, tables=None, **plain)
    answer = answered([(H200, 8)] * 2, expired=lambda: loaded(stand) >= last, **plain)

    assert last == loaded(stand)
    assert not answer.complete
    assert bare.disaggregated == answer.disaggregated
    assert bare.disaggregated


@given(
    objective=st.sampled_from(OBJECTIVES),
    sizes=st.lists(
        st.tuples(st.sampled_from([H200, AMD, "NVIDIA-B200"]), st.integers(1, 8)),
        min_size=1,
        max_size=4,
    ),
    reading=st.floats(0.05, 20),
    writing=st.floats(0.05, 20),
    refused=st.sets(st.sampled_from([1, 2, 4, 8])),
    most=st.sampled_from([4, 8, 32]),
)
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_pairs_are_sound(
    stand: Stand,
    *,
    objective: str,
    sizes: list[tuple[str, int]],
    reading: float,
    writing: float,
    refused: set[int],
    most: int,
) -> None:
    """Whatever the tables say: enough readers and none too many, within what there is, in order."""
    stand.reading, stand.writing, stand.refused = reading, writing, refused
    found = pairs(sizes, objective=objective, constraints={"max_accelerators": most})

    for pair in found:
        number = pair.prefill.split.replicas
        used = [(r.node, r.device) for side in (pair.prefill, pair.decode) for r in side.ranks]
        assert number - 1 < pair.prefill_busy * number <= number * (1 + 1e-12)
        assert len(used) == len(set(used)) == pair.accelerators <= most
    if objective in SPEEDS:
        for one, other in pairwise(found):
            assert SPEEDS[objective](one) <= SPEEDS[objective](other)
    else:
        assert sorted(pair.accelerators for pair in found) == [pair.accelerators for pair in found]
