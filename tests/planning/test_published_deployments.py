"""Deployments of DeepSeek V4-Pro that were published, planned as they were started.

Sources: vllm-project/recipes, models/deepseek-ai/DeepSeek-V4-Pro.yaml and its pull request 380
(eight H200); SGLang cookbook, DeepSeek-V4; AMD's Infera, DeepSeek-V4-Pro on MI355X; NVIDIA Dynamo,
recipe DeepSeek-V4-Pro (NVFP4).
"""

from typing import Any

import pytest

import truths
from planning.asking import answer, nodes_of, request
from planning.checker import faults

Json = dict[str, Any]
MODEL, NVFP4 = "deepseek-ai/DeepSeek-V4-Pro", "nvidia/DeepSeek-V4-Pro-NVFP4"
FP8 = "sgl-project/DeepSeek-V4-Pro-FP8"
H100, H200 = "NVIDIA-H100-80GB-HBM3", "NVIDIA-H200"
EXPERTS = 384
H200_OPTIONS = {
    "name": "vllm",
    "gpu_memory_utilization": 0.95,
    "max_sequences": 512,
    "max_batched_tokens": 512,
}
LONG = {"context_tokens": 800_000, "sequences": 1}


def joined(nodes: list[Json]) -> list[Json]:
    """Nodes whose devices are in one scale-up domain."""
    return [{**node, "domain": "rack-1"} for node in nodes]


def degrees(tensor: int, data: int, expert: int, pipeline: int = 1) -> Json:
    """Constraints that leave one split."""
    return {"tensor": tensor, "data": data, "expert": expert, "pipeline": pipeline}


def planned(model: str, nodes: list[Json], engine: Json | str, split: Json, **more: Any) -> Json:  # noqa: ANN401 (any JSON)
    """Plan one split of a model under an engine."""
    named = {"name": engine} if isinstance(engine, str) else engine
    question = request(nodes, model, engine=named, constraints=split, **more)
    found = answer(truths.catalog(), question)
    usable = {
        node["name"]: truths.catalog().accelerator(node["accelerator"], "")[0].usable_bytes
        for node in nodes
    }
    for plan in found["plans"]:
        assert not faults(question, plan, usable_bytes=usable, experts=EXPERTS)
    return found


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
@pytest.mark.parametrize(
    ("nodes", "tensor", "data"),
    [
        (nodes_of("NVIDIA-B200", 1), 8, 1),
        (nodes_of("NVIDIA-B200", 1), 1, 8),
        (nodes_of("NVIDIA-B300", 1), 8, 1),
        (nodes_of("NVIDIA-B300", 1), 1, 8),
        (nodes_of("NVIDIA-GB300", 1, 4), 4, 1),
        (joined(nodes_of("NVIDIA-GB200", 2, 4)), 8, 1),
        (nodes_of("AMD-Instinct-MI355X", 1), 8, 1),
        (nodes_of("AMD-Instinct-MI355X", 1), 1, 8),
    ],
    ids=lambda value: str(value[0]["accelerator"]) if isinstance(value, list) else str(value),
)
def test_deployments_of_one_domain_are_feasible(
    engine: str, nodes: list[Json], tensor: int, data: int
) -> None:
    """TP with EP, or attention DP with EP, over all devices there are."""
    ranks = tensor * data
    found = planned(MODEL, nodes, engine, degrees(tensor, data, ranks))
    assert found["feasible"]
    assert {ranks} == {plan["accelerators"] for plan in found["plans"]}


def test_eight_h200_take_tensor_ranks_with_experts_apart() -> None:
    """TP8 with EP8, by the engine's defaults."""
    assert planned(MODEL, nodes_of(H200, 1), "vllm", degrees(8, 1, 8))["feasible"]


def test_eight_h200_take_data_ranks_with_the_options_of_the_recipe_alone() -> None:
    """DP8 with EP8 at 800,000 tokens: it did not start before the recipe had these options."""
    split, nodes = degrees(1, 8, 8), nodes_of(H200, 1)
    assert planned(MODEL, nodes, H200_OPTIONS, split, workload=LONG)["feasible"]
    without = planned(MODEL, nodes, "vllm", split, workload=LONG)
    assert {"memory-exceeded", "weights-exceed-memory"} >= {
        r["code"] for r in without["rejections"]
    }
    assert not without["feasible"]


@pytest.mark.parametrize("model", [MODEL, NVFP4])
@pytest.mark.parametrize("split", [degrees(8, 2, 16), degrees(8, 1, 1, 2)])
def test_sixteen_h100_hold_it_in_four_bits(model: str, split: Json) -> None:
    """Two nodes, TP8 in each; the first eight alone do not."""
    assert planned(model, nodes_of(H100, 2), "vllm", split)["feasible"]
    assert not planned(model, nodes_of(H100, 1), "vllm", degrees(8, 1, 8))["feasible"]


@pytest.mark.parametrize(("model", "more"), [(FP8, {}), (MODEL, {"quantization": "fp8"})])
def test_sixteen_h200_hold_it_in_eight_bits(model: str, more: Json) -> None:
    """SGLang with TP16 of which two groups attend; one node is too small for it."""
    assert planned(model, nodes_of(H200, 2), "sglang", degrees(8, 2, 16), **more)["feasible"]
    alone = planned(model, nodes_of(H200, 1), "sglang", degrees(8, 1, 8), **more)
    assert {"weights-exceed-memory"} == {r["code"] for r in alone["rejections"]}


@pytest.mark.parametrize("engine", ["vllm", "sglang", "tensorrt-llm", "generic"])
@pytest.mark.parametrize(("model", "more"), [(FP8, {}), (MODEL, {"quantization": "fp8"})])
def test_sixteen_slices_of_an_expert_in_eight_bits_are_refused(
    engine: str, model: str, more: Json
) -> None:
    """3072 / 16 = 192 is not a whole number of tiles of 128; experts whole on 16 ranks are."""
    nodes = joined(nodes_of(H200, 2))
    sliced = planned(model, nodes, engine, degrees(16, 1, 1), **more)
    (refused,) = sliced["rejections"]
    assert "expert-block-misaligned" == refused["code"]
    assert "3072/16 = 192 is not a multiple of 128" in refused["detail"]
    assert {"expert_width": 3072, "expert_tensor": 16, "block": 128} == refused["numbers"]
    assert planned(model, nodes, engine, degrees(16, 1, 16), **more)["feasible"]


def test_four_bits_have_other_blocks() -> None:
    """192 is six blocks of 32: the checkpoint's own experts may be cut into sixteen."""
    nodes = joined(nodes_of(H200, 2))
    assert planned(MODEL, nodes, "vllm", degrees(16, 1, 1))["feasible"]
    assert not planned(MODEL, nodes, "vllm", degrees(64, 1, 1))["feasible"]


def test_tensor_ranks_do_not_leave_a_node() -> None:
    """Sixteen of two nodes of eight are no domain, whatever their experts."""
    found = planned(FP8, nodes_of(H200, 2), "sglang", degrees(16, 1, 16))
    assert {"domain-too-small"} == {r["code"] for r in found["rejections"]}
