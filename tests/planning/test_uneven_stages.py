"""Layers divided otherwise than an engine would, where that makes room on the fullest rank."""

from typing import Any

import msgspec
import pytest

from planning.asking import RESERVE, answer, nodes_of, request
from planning.checker import faults
from rackfit.catalog import load_catalog
from rackfit.memory.answer import answer_memory
from rackfit.memory.question import MemoryRequest

Json = dict[str, Any]
CATALOG = load_catalog()
H100 = "NVIDIA-H100-80GB-HBM3"
MODEL, LAYERS, STAGES = "google/gemma-2-27b-it", 46, 4
"""A large vocabulary: its ends are much fuller than what is between."""

WORKLOAD = {"context_tokens": 4096, "sequences": 1}


def ranks(engine: str) -> list[Json]:
    """The ranks of an even division."""
    asked = {
        "model": {"id": MODEL},
        "engine": {"name": engine},
        "workload": WORKLOAD,
        "split": {"pipeline": STAGES},
        "accelerator": H100,
    }
    question = msgspec.convert(asked, MemoryRequest)
    answered = answer_memory(question, CATALOG, device_reserve=RESERVE)
    found: list[Json] = msgspec.to_builtins(answered.ranks)
    return found


def asked(engine: str) -> Json:
    """Devices with less free than the fullest rank of an even division takes."""
    totals = [rank["total_bytes"] for rank in ranks(engine)]
    free = (sum(totals) // STAGES + max(totals)) // 2
    (node,) = nodes_of(H100, 1, STAGES)
    share = 0.95 if engine == "sglang" else 1.0
    return request(
        [{**node, "free_bytes": [free] * STAGES}],
        MODEL,
        engine={"name": engine, "gpu_memory_utilization": share},
        workload=WORKLOAD,
        constraints={"tensor": 1, "pipeline": STAGES, "replicas": 1},
        launch={"model": "/m", "slurm": True, "kubernetes_image": "engine:1"},
    )


@pytest.mark.parametrize(
    ("engine", "variable"),
    [("vllm", "VLLM_PP_LAYER_PARTITION"), ("sglang", "SGLANG_PP_LAYER_PARTITION")],
)
def test_a_full_stage_hands_layers_to_others(engine: str, variable: str) -> None:
    """The plan is sound, all layers are there, and the engine is told in every way it starts."""
    question = asked(engine)
    (plan, *_) = answer(CATALOG, question)["plans"]
    layers = plan["layers_by_stage"]
    assert (STAGES, LAYERS) == (len(layers), sum(layers))
    usable = {"node-0": CATALOG.accelerators[H100].usable_bytes}
    assert [] == faults(question, plan, usable_bytes=usable, experts=0)
    told = f"{variable}={','.join(map(str, layers))}"
    assert {variable: told.partition("=")[2]} == plan["launch"]["environment"]
    assert all(told in command["command"] for command in plan["launch"]["commands"])
    assert told in plan["launch"]["slurm"]
    (container,) = plan["launch"]["kubernetes"]["spec"]["leaderWorkerTemplate"]["leaderTemplate"][
        "spec"
    ]["containers"]
    assert [{"name": variable, "value": told.partition("=")[2]}] == container["env"]


def test_engines_without_layer_lists_say_what_is_full() -> None:
    """TensorRT-LLM divides evenly; the same devices do not hold it."""
    found = answer(CATALOG, asked("tensorrt-llm"))
    assert not found["feasible"]
    assert found["rejections"][0]["code"] in {"memory-exceeded", "weights-exceed-memory"}


def test_layers_are_left_to_the_engine_where_they_fit() -> None:
    """There is nothing to be told then."""
    question = asked("vllm")
    del question["inventory"]["nodes"][0]["free_bytes"]
    (plan, *_) = answer(CATALOG, question)["plans"]
    assert (None, {}) == (plan["layers_by_stage"], plan["launch"]["environment"])
