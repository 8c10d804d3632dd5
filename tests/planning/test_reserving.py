"""What is kept for others: bytes of each device, devices of each node, whole nodes."""

from typing import Any

from planning.asking import answer, nodes_of, request
from rackfit.catalog import load_catalog
from rackfit.planning.reserving import TAKEN, Reserved

Json = dict[str, Any]
CATALOG = load_catalog()
H200, H100 = "NVIDIA-H200", "NVIDIA-H100-80GB-HBM3"
DENSE = "Qwen/Qwen3-32B"


def asked(there: list[Json], **reserved: int) -> Json:
    """A question that keeps something back."""
    return request(there, DENSE, constraints={"reserved": reserved})


def test_devices_with_least_free_are_kept_back_first() -> None:
    """The fullest devices go to others, the last of equals; bytes come off the rest."""
    reserved = Reserved(devices_per_node=2, bytes_per_device=10)
    assert (90, TAKEN, 90, TAKEN) == reserved.left((100, 50, 100, 100))


def test_never_less_than_nothing_is_left_of_a_device() -> None:
    """A device fuller than what is reserved of it is simply full."""
    assert (0, 5) == Reserved(bytes_per_device=20).left((10, 25))


def test_spares_are_the_smallest_unused_nodes_the_last_of_equals() -> None:
    """Adding a node can only give one back."""
    reserved = Reserved(nodes=2)
    assert {3, 2} == reserved.spares([(8, 0), (8, 1), (8, 2), (4, 3)])
    assert {4, 3} == reserved.spares([(8, 0), (8, 1), (8, 2), (4, 3), (2, 4)])


def test_a_spare_node_is_left_out_of_every_plan() -> None:
    """Of three nodes two are planned on, and what takes three says what lacks."""
    found = answer(CATALOG, {**asked(nodes_of(H200, 3), nodes=1), "limit": 100})
    assert found["feasible"]
    assert {"node-2"}.isdisjoint(name for plan in found["plans"] for name in plan["nodes"])


def test_too_few_unused_nodes_to_keep_a_spare_is_a_constraint() -> None:
    """A node partly used is no spare; the answer counts those that are."""
    nodes = nodes_of(H200, 2)
    nodes[0]["free_bytes"] = nodes[1]["free_bytes"] = [1 << 30] + [140 << 30] * 7
    found = answer(CATALOG, asked(nodes, nodes=1))
    (rejection,) = found["rejections"]
    assert (False, "constraint") == (found["feasible"], rejection["code"])
    assert "1 whole node of NVIDIA-H200 shall be spare; 0 nodes of it" in rejection["detail"]


def test_all_devices_reserved_is_a_constraint() -> None:
    """Nothing is left, which is told and is no error."""
    found = answer(CATALOG, asked(nodes_of(H200, 1), devices_per_node=8))
    (rejection,) = found["rejections"]
    assert rejection["detail"] == "What is reserved leaves no NVIDIA-H200."


def test_a_type_whose_spare_is_missing_leaves_the_others_to_plan_on() -> None:
    """Each type keeps its own spares; the one that cannot says so beside the plan."""
    nodes = [*nodes_of(H200, 2, prefix="new"), *nodes_of(H100, 1, prefix="old")]
    nodes[2]["free_bytes"] = [60 << 30] * 8
    found = answer(CATALOG, asked(nodes, nodes=1))
    assert {plan["accelerator"] for plan in found["plans"]} == {H200}
    assert H100 in {rejection["accelerator"] for rejection in found["rejections"]}


def test_a_type_whose_spare_is_missing_is_no_way_out() -> None:
    """What the caller left out is offered only where it could be planned on."""
    nodes = [*nodes_of(H200, 1, prefix="new"), *nodes_of(H100, 1, prefix="old")]
    question = asked(nodes, nodes=1)
    question["constraints"] |= {"accelerators": [H200], "tensor": 1}
    (rejection,) = answer(CATALOG, question)["rejections"]
    assert rejection["nearest_fix"] is None


def test_reserved_bytes_lower_the_share_an_engine_is_started_with() -> None:
    """VLLM is told to take less of each device."""
    question = asked(nodes_of(H200, 1), bytes_per_device=40 << 30) | {"engine": {"name": "vllm"}}
    launch = answer(CATALOG, question)["plans"][0]["launch"]
    assert launch["gpu_memory_utilization"] < 0.75
