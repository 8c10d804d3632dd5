"""Pipelines whose stages are on two accelerator types."""

from typing import Any

import pytest

from planning.asking import answer, fixed, nodes_of, request
from planning.checker import faults
from rackfit.catalog import load_catalog

Json = dict[str, Any]
CATALOG = load_catalog()
H100, A100 = "NVIDIA-H100-80GB-HBM3", "NVIDIA-A100-SXM4-80GB"
H200, B200 = "NVIDIA-H200", "NVIDIA-B200"
MODEL, EXPERTS, LAYERS = "Qwen/Qwen3-235B-A22B", 128, 94
"""438 GiB in 16 bits: more than four of these hold, and less than eight."""


def asked(**more: Any) -> Json:  # noqa: ANN401 (any JSON)
    """A question that four accelerators of each type only answer together."""
    nodes = [*nodes_of(H100, 1, 4, prefix="h"), *nodes_of(A100, 1, 4, prefix="a")]
    return request(nodes, MODEL, **{"engine": {"name": "vllm"}, **more})


def mixing(**more: Any) -> Json:  # noqa: ANN401 (any JSON)
    """The same, with both allowed in one pipeline."""
    return asked(constraints={"mix_accelerators": True}, **more)


def usable(question: Json) -> dict[str, int]:
    """What an engine sees of a device, by node."""
    nodes = question["inventory"]["nodes"]
    return {n["name"]: CATALOG.accelerators[n["accelerator"]].usable_bytes for n in nodes}


@pytest.mark.parametrize("engine", ["vllm", "sglang", "generic"])
def test_two_types_hold_what_neither_does(engine: str) -> None:
    """Every plan is sound; all layers are there, and the stages of a type follow each other."""
    question = mixing(engine={"name": engine}, limit=20)
    plans = answer(CATALOG, question)["plans"]
    assert plans
    types = {n["name"]: n["accelerator"] for n in question["inventory"]["nodes"]}
    for plan in plans:
        assert [] == faults(question, plan, usable_bytes=usable(question), experts=EXPERTS)
        assert sum(plan["layers_by_stage"]) == LAYERS
        by_stage = {rank["stage"]: types[rank["node"]] for rank in plan["ranks"]}
        told = [share["accelerator"] for share in plan["mixed"] for _ in range(share["stages"])]
        assert told == [by_stage[stage] for stage in range(plan["split"]["pipeline"])]
        devices = sum(share["accelerators"] for share in plan["mixed"])
        assert devices == plan["accelerators"]


def test_mixing_is_offered_where_neither_type_has_room() -> None:
    """Nobody's types are mixed unasked; the nearest fix says so, and works."""
    question = asked()
    found = answer(CATALOG, question)
    fixes = [r["nearest_fix"] for r in found["rejections"] if r["nearest_fix"]]
    (fix, *_) = [fix for fix in fixes if fix["change"] == "mix_accelerators=true"]
    assert not found["feasible"]
    assert answer(CATALOG, fixed(question, fix))["feasible"]


@pytest.mark.parametrize("apart", [{"placement": "spread"}, {"node_loss": "replan"}])
def test_mixing_is_not_offered_where_replicas_are_kept_apart(apart: Json) -> None:
    """It would not be planned then."""
    found = answer(CATALOG, asked(constraints=apart))
    fixes = [r["nearest_fix"] for r in found["rejections"] if r["nearest_fix"]]
    assert "mix_accelerators=true" not in {fix["change"] for fix in fixes}


def test_the_faster_type_gets_more_layers() -> None:
    """B200 reads 8 TB a second, H200 4.8: layers are divided nearly so."""
    nodes = [*nodes_of(H200, 2, prefix="h"), *nodes_of(B200, 1, prefix="b")]
    question = request(
        nodes,
        "deepseek-v4-pro",
        quantization="Q4_K_M",
        workload={"context_tokens": 200_000, "sequences": 16},
        objective="highest-throughput",
        constraints={"mix_accelerators": True, "tensor": 8, "pipeline": 3},
        limit=1,
    )
    (plan,) = answer(CATALOG, question)["plans"]
    layers = dict(zip(plan["layers_by_stage"], ("b" in n for n in plan["nodes"]), strict=False))
    assert 80 == sum(plan["layers_by_stage"])
    assert max(plan["layers_by_stage"]) == pytest.approx(80 * 8 / (8 + 2 * 4.8), abs=1)
    assert layers[max(layers)]


def test_a_type_whose_speed_is_not_known_gets_as_many_layers() -> None:
    """Nothing says that it is slower."""
    unknown = {"id": "mine", "usable_bytes": CATALOG.accelerators[H100].usable_bytes}
    nodes = [*nodes_of(H100, 1, 4, prefix="h"), {"name": "m", "accelerator": unknown, "count": 4}]
    constraints = {"mix_accelerators": True, "tensor": 4, "pipeline": 2}
    question = request(nodes, MODEL, constraints=constraints, limit=1)
    (plan,) = answer(CATALOG, question)["plans"]
    assert [LAYERS // 2] * 2 == plan["layers_by_stage"]


def test_types_are_mixed_only_where_it_is_better() -> None:
    """With room on one type the plans of one come first, by the same order."""
    nodes = [*nodes_of(H200, 1, prefix="h"), *nodes_of(A100, 1, prefix="a")]
    question = request(nodes, MODEL, constraints={"mix_accelerators": True}, limit=1)
    (plan,) = answer(CATALOG, question)["plans"]
    assert plan["mixed"] is None


def test_engines_that_do_not_mix_say_what_they_lack() -> None:
    """TensorRT-LLM has one engine for all ranks of a type."""
    found = answer(CATALOG, mixing(engine={"name": "tensorrt-llm"}))
    assert not found["feasible"]


def test_prices_are_those_of_both_types() -> None:
    """The cheaper type gets more stages where cost decides."""
    prices = {H100: 4.0, A100: 1.0}
    question = mixing(objective="lowest-cost", prices=prices, limit=1)
    (plan,) = answer(CATALOG, question)["plans"]
    each = {share["accelerator"]: share["accelerators"] for share in plan["mixed"]}
    assert each[A100] == 4
