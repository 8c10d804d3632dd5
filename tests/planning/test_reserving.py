"""What is kept for others: bytes of each device, devices of each node, whole nodes."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planning.asking import RESERVE, answer, fixed, nodes_of, request
from rackfit.catalog import load_catalog
from rackfit.engines.split import Split
from rackfit.planning.asked import Question
from rackfit.planning.evaluation import Evaluator
from rackfit.planning.fixes import Fixer
from rackfit.planning.outcomes import Miss
from rackfit.planning.plan import subject
from rackfit.planning.pools import read_pools
from rackfit.planning.question import PlanRequest
from rackfit.planning.reserving import TAKEN, Reserved
from rackfit.planning.sizing import Prepared

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


def test_a_device_of_which_all_is_reserved_is_not_there() -> None:
    """Nor is one fuller than that; one that is full without it stays."""
    assert (TAKEN, TAKEN, 5) == Reserved(bytes_per_device=20).left((10, 20, 25))
    assert (TAKEN, 0) == Reserved(devices_per_node=1).left((0, 0))[::-1]


def test_bytes_that_leave_no_device_are_told_with_what_devices_have() -> None:
    """At once, not split by split."""
    found = answer(CATALOG, asked(nodes_of(H200, 4), bytes_per_device=10**12))
    (rejection,) = found["rejections"]
    assert (False, "constraint", 0) == (
        found["feasible"],
        rejection["code"],
        found["splits_evaluated"],
    )
    assert "1,000,000,000,000 bytes of each device are more than" in rejection["detail"]


@pytest.mark.parametrize("engine", ["vllm", "sglang", "tensorrt-llm"])
@pytest.mark.parametrize("left", [1, 1 << 30, 4 << 30])
def test_bounds_spare_some_of_the_evaluations(
    engine: str, left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing has room, what weights and the engine take rules out a fifth of all."""
    usable = CATALOG.accelerators[H200].usable_bytes
    constraints = {"reserved": {"bytes_per_device": usable - left}}
    question = request(nodes_of(H200, 4), engine={"name": engine}, constraints=constraints)
    monkeypatch.setattr(Fixer, "for_miss", lambda *_: None)  # not what is asked otherwise
    evaluated: list[Split] = []
    sized = Prepared.stages
    monkeypatch.setattr(
        Prepared,
        "stages",
        lambda self, split, tokens: (evaluated.append(split), sized(self, split, tokens))[1],
    )
    found = answer(CATALOG, question)
    assert not found["feasible"]
    assert "memory" in found["rejections"][0]["code"]
    assert len(evaluated) <= 0.8 * found["rejections_total"]


@given(
    engine=st.sampled_from(
        [
            {"name": "generic"},
            {"name": "vllm"},
            {"name": "vllm", "version": "0.30"},
            {"name": "sglang"},
            {"name": "tensorrt-llm"},
            {"name": "llama.cpp"},
        ]
    ),
    model=st.sampled_from(
        ["deepseek-ai/DeepSeek-V3", DENSE, "openai/gpt-oss-20b", "Qwen/Qwen3-30B-A3B"]
    ),
    quantization=st.sampled_from([None, "gptq-int4", "gptq-int4-ordered", "awq-int4", "fp8"]),
    split=st.builds(
        Split,
        tensor=st.sampled_from([1, 2, 4, 8]),
        pipeline=st.integers(1, 12),
        data=st.integers(1, 4),
    ),
    free=st.integers(1 << 30, 140 << 30),
)
@settings(max_examples=60, deadline=None)
def test_the_bound_never_exceeds_what_a_split_lacks(
    engine: Json, model: str, quantization: str | None, split: Split, free: int
) -> None:
    """What is ruled out by it does not fit, and lacks that much at least."""
    nodes = nodes_of(H200, 64)
    for node in nodes:
        node["free_bytes"] = [free] * 8
    about = {
        "model": {"id": model},
        "quantization": quantization,
        "inventory": {"nodes": nodes},
        "engine": engine,
        "workload": {"context_tokens": 4096, "sequences": 1},
    }
    asked_for = msgspec.convert(about, PlanRequest)
    known = subject(asked_for, CATALOG, RESERVE)
    sizing = known.sizing
    question = Question(model=sizing.model, engine=sizing.engine, tokens=4096, sequences=1)
    evaluator = Evaluator(question, sizing)
    (pool,) = read_pools(asked_for.inventory, CATALOG.accelerator).pools
    kept = Reserved(bytes_per_device=pool.new_node[1] - free)
    bound = evaluator.bounds.surely_short(split, msgspec.structs.replace(pool, reserved=kept))
    outcome = evaluator.evaluate(split, pool)
    if isinstance(outcome, Miss):
        assert bound <= outcome.short_bytes or outcome.lacks != "memory"
    else:
        assert bound <= 0


def test_weights_that_share_a_table_are_not_ruled_out_by_its_copies() -> None:
    """GPTQ's checkpoint names each column's group in every matrix; those kept as one share it."""
    question = request(
        [{"name": "a", "accelerator": "NVIDIA-L40S", "count": 1}],
        "Qwen/Qwen3-30B-A3B",
        quantization="gptq-int4",
        workload={"context_tokens": 26450, "sequences": 10},
        constraints={"replicas": 1},
    )
    assert answer(CATALOG, question)["feasible"]


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
    """What the caller left out is offered only where it could be planned on; the spare is."""
    nodes = [*nodes_of(H200, 1, prefix="new"), *nodes_of(H100, 1, prefix="old")]
    question = asked(nodes, nodes=1)
    question["constraints"] |= {"accelerators": [H200], "tensor": 1}
    (rejection,) = answer(CATALOG, question)["rejections"]
    assert "reserved=null" == rejection["nearest_fix"]["change"]


def test_reserved_bytes_lower_the_share_an_engine_is_started_with() -> None:
    """VLLM is told to take less of each device."""
    question = asked(nodes_of(H200, 1), bytes_per_device=40 << 30) | {"engine": {"name": "vllm"}}
    launch = answer(CATALOG, question)["plans"][0]["launch"]
    assert launch["gpu_memory_utilization"] < 0.75


@pytest.mark.parametrize(
    "reserved", [{"nodes": 1}, {"devices_per_node": 8}, {"bytes_per_device": 10**12}]
)
def test_what_is_reserved_is_a_way_out(reserved: Json) -> None:
    """Where it leaves nothing the fix is to reserve nothing, and it works."""
    question = asked(nodes_of(H200, 1), **reserved)
    found = answer(CATALOG, question)
    fix = found["rejections"][0]["nearest_fix"]
    assert (False, "reserved=null", True) == (found["feasible"], fix["change"], fix["verified"])
    assert answer(CATALOG, fixed(question, fix))["feasible"]


def test_reserving_nothing_is_no_way_out_where_that_has_no_room_either() -> None:
    """A model that is too large for all there is."""
    question = request(
        nodes_of(H200, 1),
        "deepseek-ai/DeepSeek-V4-Pro",
        quantization="bf16",
        constraints={"reserved": {"nodes": 1}},
    )
    assert answer(CATALOG, question)["rejections"][0]["nearest_fix"] is None
