"""Which ranks another planner puts on which of several nodes, asked of Rackfit and of its commands.

Theirs is told how many devices each node gives and infers the degrees; ours is told those degrees.
"""

import shlex
from typing import Any

import pytest

import truths
from planning.asking import answer, request

Json = dict[str, Any]
CASES = {case["id"]: case for case in truths.cases("peer_cases.json")}
MODEL = "Qwen/Qwen3-30B-A3B"


def on_nodes(case: str, **degrees: int) -> Json:
    """Plan on a case's nodes, as it says or else in one stage, to be started by vLLM."""
    given = dict(CASES[case]["input"])
    sizes = given.pop("gpu_per_node")
    nodes = [
        {"name": f"n{number}", "accelerator": "NVIDIA-H100-80GB-HBM3", "count": size}
        for number, size in enumerate(sizes)
    ]
    names = {"tp": "tensor", "pp": "pipeline", "dp": "data"}
    told = {names[name]: degree for name, degree in given.items()}
    constraints = {"pipeline": 1} | told | degrees
    more: Json = {"engine": {"name": "vllm"}, "launch": {"model": MODEL}}
    return answer(truths.catalog(), request(nodes, MODEL, constraints=constraints, **more))


def told(plan: Json, name: str) -> list[str | None]:
    """Return the value of an option in the command of each node, in the order of their names."""
    commands = sorted(plan["launch"]["commands"], key=lambda command: command["node"])
    found = []
    for command in commands:
        words = shlex.split(command["command"])
        values = [word.partition("=")[2] for word in words if word.startswith(f"--{name}=")]
        found.append(values[0] if values else None)
    return found


@pytest.mark.parametrize(
    ("case", "tensor", "own"),
    [
        ("gs-topo-8_8", 8, [1, 1]),
        ("gs-topo-8_4", 4, [2, 1]),
        ("gs-topo-8_4_tp2", 2, [4, 2]),
    ],
)
def test_data_ranks_are_spread_over_nodes_as_theirs_are(
    case: str, tensor: int, own: list[int]
) -> None:
    """Each node starts as many as its devices make, and all devices are taken."""
    theirs = CASES[case]["expect"]
    assert (theirs.get("tp", tensor), theirs.get("dpl_per_node", own)) == (tensor, own)
    plan = on_nodes(case, tensor=tensor, data=theirs["dp"])["plans"][0]
    assert sum(CASES[case]["input"]["gpu_per_node"]) == plan["accelerators"]
    assert [str(ranks) for ranks in own] == told(plan, "data-parallel-size-local")


@pytest.mark.parametrize(
    ("case", "data", "groups"),
    [("gs-topo-8_8_tp8pp2", 1, 1), ("gs-topo-4x4_tp4pp2dp2", 2, 2)],
)
def test_stages_over_nodes_are_groups_as_theirs_are(case: str, data: int, groups: int) -> None:
    """A group of processes a data rank, over as many nodes as theirs has within one."""
    theirs, sizes = CASES[case]["expect"], CASES[case]["input"]["gpu_per_node"]
    plan = on_nodes(case, data=data)["plans"][0]
    assert theirs["nnodes_within_dp"] == len(sizes) // groups
    assert [str(len(sizes))] * len(sizes) == told(plan, "nnodes")
    expected = None if groups == 1 else str(groups)
    assert {expected} == set(told(plan, "data-parallel-size"))
    ranks_of = {rank["node"]: rank["stage"] for rank in plan["ranks"]}
    assert groups == list(ranks_of.values()).count(0)


def test_three_data_ranks_never_take_all_sixteen() -> None:
    """Theirs infers 16 / 3 and stops; ours leaves devices free, and has no three groups of 8."""
    case = "gs-topo-8_8_dp3"
    assert "cannot infer" == CASES[case]["expect"]["error"]
    counts = [plan["accelerators"] for plan in on_nodes(case)["plans"]]
    assert counts
    assert all(count % 3 == 0 and count < 16 for count in counts)
    eights = on_nodes(case, tensor=8)
    assert not eights["feasible"]
    assert "not-enough-accelerators" in {r["code"] for r in eights["rejections"]}


def test_sixteen_ranks_are_not_put_on_twelve_devices() -> None:
    """Theirs cannot spread them evenly; ours counts four groups of four where three are."""
    case = "gs-topo-4x3_bad"
    assert "cannot evenly distribute" == CASES[case]["expect"]["error"]
    found = on_nodes(case)
    assert not found["feasible"]
    numbers = {"groups_needed": 4, "groups_available": 3}
    lacking = [r["numbers"] for r in found["rejections"] if r["code"] == "not-enough-accelerators"]
    assert all(numbers.items() <= each.items() for each in lacking)
    assert lacking
