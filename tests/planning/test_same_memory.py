"""A plan's ranks take what `/v1/memory` says of its split, whatever was sized before it."""

from typing import Any

import msgspec
import pytest

from planning.asking import RESERVE, answer, nodes_of, request
from rackfit.catalog import load_catalog
from rackfit.memory.answer import answer_memory
from rackfit.memory.question import MemoryRequest

Json = dict[str, Any]
CATALOG = load_catalog()
H100 = "NVIDIA-H100-80GB-HBM3"

ENGINES = [
    {"name": "vllm", "version": "0.10"},
    {"name": "vllm", "version": "0.19"},
    {"name": "vllm", "version": "0.30"},
    {"name": "sglang", "version": "0.5.23"},
    {"name": "tensorrt-llm"},
]


def memories(question: Json, plan: Json) -> list[Json]:
    """What each rank of a plan's split takes, asked for on its own."""
    asked = {name: question[name] for name in ("model", "engine", "workload")}
    stages = {name: plan[name] for name in ("split", "layers_by_stage")}
    memory = msgspec.convert({**asked, **stages, "accelerator": H100}, MemoryRequest)
    ranks = answer_memory(memory, CATALOG, device_reserve=RESERVE).ranks
    found: list[Json] = msgspec.to_builtins(ranks)
    return [_taken(rank) for rank in found]


def _taken(memory: Json) -> Json:
    parts = ("weights", "kv_cache", "activation", "overhead", "total")
    return {part: memory[f"{part}_bytes"] for part in parts}


@pytest.mark.parametrize("engine", ENGINES, ids=lambda e: "-".join(e.values()))
@pytest.mark.parametrize("model", ["Qwen/Qwen3-32B", "Qwen/Qwen3-30B-A3B"])
def test_each_plan_takes_what_its_split_takes_alone(engine: Json, model: str) -> None:
    """Splits of many pipeline degrees are sized after one another, and share what is alike."""
    question = request(
        nodes_of(H100, 2),
        model,
        engine=engine,
        workload={"context_tokens": 8192, "sequences": 4},
        limit=50,
    )
    plans = answer(CATALOG, question)["plans"]
    assert len({plan["split"]["pipeline"] for plan in plans}) >= 3
    for plan in plans:
        planned = [_taken(rank["memory"]) for rank in plan["ranks"]]
        assert memories(question, plan)[: len(planned)] == planned, plan["split"]


def test_a_plan_of_uneven_stages_is_asked_about_as_it_is() -> None:
    """Its layers fit where the engine's own division does not."""
    model = "nvidia/GLM-5-NVFP4"
    workload = {"context_tokens": 32768, "sequences": 1}
    asked_for = request(nodes_of(H100, 1), model, engine={"name": "vllm"}, workload=workload)
    uneven = [p for p in answer(CATALOG, asked_for)["plans"] if p["layers_by_stage"] is not None]
    assert uneven
    for plan in uneven:
        planned = [_taken(rank["memory"]) for rank in plan["ranks"]]
        assert memories(asked_for, plan)[: len(planned)] == planned
