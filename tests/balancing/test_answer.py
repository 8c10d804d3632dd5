"""Placements end to end: from a request's JSON to an answer's, checked from first principles."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from benchmarks.eplb import Deployment
from hypothesis import given, settings
from hypothesis import strategies as st

from balancing.asking import answer
from balancing.checker import faults, ranks_of
from benchmarks import eplb

Json = dict[str, Any]

README = [
    [90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86],
    [20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27],
]
"""The example of EPLB's README: 12 experts of 2 layers, for 16 slots on 8 ranks of 2 nodes."""

PUBLISHED = {
    False: [
        [10, 6, 10, 7, 0, 2, 11, 4, 5, 9, 5, 4, 8, 3, 1, 1],
        [1, 10, 2, 4, 5, 11, 5, 0, 6, 7, 6, 3, 8, 8, 9, 7],
    ],
    True: [
        [5, 6, 5, 7, 8, 4, 3, 4, 10, 9, 10, 2, 0, 1, 11, 1],
        [7, 10, 6, 8, 6, 11, 8, 9, 2, 4, 5, 1, 5, 0, 3, 1],
    ],
}
"""What its README prints (True), and what the same code gives without groups."""


def largest(loads: list[int], held: list[int], ranks: int) -> float:
    """Return the load of the most loaded rank."""
    return max(sum(loads[e] / held.count(e) for e in rank) for rank in ranks_of(held, ranks))


@pytest.mark.parametrize("hierarchical", [False, True])
def test_reference_is_eplb(*, hierarchical: bool) -> None:
    """What placements are held to gives what EPLB's README prints."""
    to = Deployment(16, 8, 2, 4) if hierarchical else Deployment(16, 8)

    assert PUBLISHED[hierarchical] == eplb.rebalance(np.array(README, float), to).expert.tolist()


@pytest.mark.parametrize(
    ("hierarchical", "expected"), [(False, [136.0, 172.0]), (True, [156.0, 179.5])]
)
def test_example_of_eplb(*, hierarchical: bool, expected: list[float]) -> None:
    """Globally as low as can be (EPLB: 138.5 and 172), by groups as low as EPLB."""
    question = {
        "loads": README,
        "ranks": 8,
        "slots": 16,
        "nodes": 2,
        "groups": 4,
        "hierarchical": hierarchical,
    }
    found = answer(question)

    assert [] == faults(question, found)
    layers = zip(README, found["layers"], strict=True)
    assert expected == [largest(loads, layer["slot_to_expert"], 8) for loads, layer in layers]


@pytest.mark.parametrize("slots", [8, 9, 12])
@pytest.mark.parametrize("load", [0, 7])
def test_equal_experts_are_balanced(load: int, slots: int) -> None:
    """So are idle ones: a layer that nothing uses is as even as can be."""
    question = {"loads": [[load] * 4], "ranks": slots // 4 if slots % 4 == 0 else 3, "slots": slots}
    found = answer(question)

    assert [] == faults(question, found)
    if load == 0:
        assert 1.0 == found["balancedness"]["mean"] == found["upper_bound"]["mean"]


def test_an_expert_with_all_the_load_is_on_every_rank() -> None:
    """One replica on each, and none lies beside another."""
    question = {"loads": [[0, 0, 1000, 0, 0]], "ranks": 4, "slots": 12}
    found = answer(question)

    assert [] == faults(question, found)
    assert (1.0, 0) == (found["balancedness"]["mean"], found["shared"])


def test_redundant_experts_are_slots() -> None:
    """4 more than one for each of 12 experts are 16 slots."""
    question = {"loads": README, "ranks": 8, "redundant_experts": 4}

    assert 16 == answer(question)["slots"]
    assert answer({"loads": README, "ranks": 8, "slots": 16}) == answer(question)


def test_the_worst_window_counts() -> None:
    """Experts busy by day share ranks with those busy by night, not with one another."""
    day, night = [8, 8, 0, 0, 4, 4, 4, 4], [0, 0, 8, 8, 4, 4, 4, 4]
    question = {"windows": [[day], [night]], "ranks": 4, "slots": 8}
    found = answer(question)

    assert [] == faults(question, found)
    assert 1.0 == pytest.approx(found["balancedness"]["worst"])


def test_faster_ranks_carry_more() -> None:
    """Ranks twice as fast have twice the load, to within what whole experts allow."""
    loads = np.random.default_rng(5).lognormal(0, 0.5, (4, 64)).tolist()
    question = {"loads": loads, "ranks": 8, "slots": 80, "speeds": [1, 1, 1, 1, 2, 2, 2, 2]}
    found = answer(question)

    assert [] == faults(question, found)
    assert 0.99 < found["balancedness"]["worst"]


def test_the_same_question_has_the_same_answer() -> None:
    """To the byte: answers are cached by content."""
    loads = np.random.default_rng(7).lognormal(0, 1, (6, 48)).tolist()
    question = {"loads": loads, "ranks": 16, "slots": 64}

    assert answer(question) == answer(question)


def test_a_deadline_gives_what_there_is() -> None:
    """An answer that is whole and sound, and says that it could be better."""
    loads = np.random.default_rng(7).lognormal(0, 1, (6, 48)).tolist()
    question = {"loads": loads, "ranks": 32, "slots": 64}
    found = answer(question, lambda: True)

    assert [] == faults(question, found)
    assert found["complete"] is False


def questions() -> st.SearchStrategy[Json]:
    """Any placement: ties, idle experts, one that has it all, groups and nodes."""
    return st.tuples(
        st.integers(1, 3),
        st.integers(1, 3),
        st.integers(1, 4),
        st.integers(1, 3),
        st.integers(1, 3),
    ).flatmap(_sized)


def _sized(shape: tuple[int, int, int, int, int]) -> st.SearchStrategy[Json]:
    layers, nodes, each, several, size = shape
    ranks, groups = nodes * each, nodes * several
    experts = groups * size
    least = -(-experts // nodes // each)
    load = st.one_of(st.integers(0, 5), st.integers(0, 1 << 30), st.just(0), st.just(10**18))
    return st.fixed_dictionaries(
        {
            "loads": st.lists(
                st.lists(load, min_size=experts, max_size=experts),
                min_size=layers,
                max_size=layers,
            ),
            "ranks": st.just(ranks),
            "slots": st.integers(least, least + 3).map(lambda slots: slots * ranks),
            "nodes": st.just(nodes),
            "groups": st.just(groups),
            "hierarchical": st.booleans(),
        }
    )


@settings(max_examples=300, deadline=None)
@given(questions())
def test_any_placement_is_sound_and_no_worse_than_eplb(question: Json) -> None:
    """Every expert has a slot, the figures are true, and no layer is below EPLB's."""
    found = answer(question)
    to = Deployment(question["slots"], question["ranks"])
    if question["hierarchical"]:
        to = to._replace(nodes=question["nodes"], groups=question["groups"])
    load = np.array(question["loads"], float)
    floor = eplb.balancedness(load, eplb.rebalance(load, to).expert, to.ranks)

    assert [] == faults(question, found)
    assert [] == [
        (layer["balancedness"], least)
        for layer, least in zip(found["layers"], floor.tolist(), strict=True)
        if layer["balancedness"] < least * (1 - 1e-9)
    ]


@settings(max_examples=100, deadline=None)
@given(questions(), st.data())
def test_any_windows_and_speeds_are_placed(question: Json, data: st.DataObject) -> None:
    """Several windows, ranks of several speeds, from any placement there was."""
    ranks, loads = question["ranks"], question.pop("loads")
    question["windows"] = [loads, [layer[::-1] for layer in loads]]
    question["speeds"] = data.draw(
        st.lists(st.sampled_from([0.5, 1, 3]), min_size=ranks, max_size=ranks)
    )
    experts, slots = len(loads[0]), question["slots"]
    whole = [slot % experts for slot in range(slots)]
    question["current"] = [data.draw(st.permutations(whole)) for _ in loads]
    question["expert_bytes"] = 1000

    assert [] == faults(question, answer(question))


def test_arrays_are_imported_where_they_are_needed() -> None:
    """Neither numpy nor HiGHS is loaded by a service that starts."""
    code = "import sys, rackfit.application; sys.exit(bool({'numpy', 'highspy'} & {*sys.modules}))"

    assert 0 == subprocess.run([sys.executable, "-c", code], check=False).returncode  # noqa: S603
