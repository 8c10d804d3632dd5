"""The cache that tensor ranks repeat, divided among them by tokens (decode context parallelism)."""

from typing import Any

import msgspec
import pytest

from planning.asking import RESERVE, answer, nodes_of, request
from rackfit.catalog import load_catalog
from rackfit.memory.answer import answer_memory
from rackfit.memory.question import MemoryRequest

Json = dict[str, Any]
CATALOG = load_catalog()
H200 = "NVIDIA-H200"
LATENT, GROUPED, SPARSE = (
    "deepseek-ai/DeepSeek-V3",
    "Qwen/Qwen3-30B-A3B",
    "deepseek-ai/DeepSeek-V3.2",
)


def memory(model: str, tensor: int, divided: int, engine: str = "vllm", **more: Any) -> Json:  # noqa: ANN401
    """What one replica takes, its cache divided or not."""
    asked = {
        "model": {"id": model},
        "engine": {"name": engine},
        "workload": {"context_tokens": 32_768, "sequences": 4},
        "split": {"tensor": tensor, "decode_context": divided},
        "accelerator": H200,
        **more,
    }
    question = msgspec.convert(asked, MemoryRequest)
    found: Json = msgspec.to_builtins(answer_memory(question, CATALOG, device_reserve=RESERVE))
    return found


def test_a_divided_cache_takes_its_part_and_holds_as_many_tokens_more() -> None:
    """Eight ranks repeat a latent row; four of them hold a fourth of the tokens each."""
    whole, divided = memory(LATENT, 8, 1), memory(LATENT, 8, 4)
    caches = [found["ranks"][0]["kv_cache_bytes"] for found in (whole, divided)]
    tokens = [found["capacity"]["kv_cache_tokens"] for found in (whole, divided)]
    assert caches[0] == 4 * caches[1]
    assert tokens[1] == pytest.approx(4 * tokens[0], rel=0.001)
    assert whole["ranks"][0]["weights_bytes"] == divided["ranks"][0]["weights_bytes"]


def test_the_longest_context_grows_with_the_parts() -> None:
    """The question turned round divides as well."""
    whole, divided = memory(LATENT, 8, 1), memory(LATENT, 8, 8)
    reaches = [found["reach"]["longest_context_tokens"] for found in (whole, divided)]
    assert reaches[0] < reaches[1]


@pytest.mark.parametrize(
    ("model", "tensor", "divided", "engine", "legal"),
    [
        (LATENT, 8, 8, "vllm", True),
        (LATENT, 8, 3, "vllm", False),
        (LATENT, 8, 8, "sglang", True),
        (LATENT, 8, 8, "tensorrt-llm", False),
        (GROUPED, 8, 2, "vllm", True),  # four KV heads on eight ranks
        (GROUPED, 8, 4, "vllm", False),
        (GROUPED, 4, 2, "vllm", False),
        (GROUPED, 8, 2, "sglang", False),
        (SPARSE, 8, 2, "vllm", False),
        ("google/gemma-3-27b-it", 8, 2, "vllm", False),
    ],
)
def test_only_repeated_rows_are_divided(
    model: str, tensor: int, divided: int, engine: str, *, legal: bool
) -> None:
    """By as many ranks as keep the same ones; not with windows, indexers or states."""
    codes = {r["code"] for r in memory(model, tensor, divided, engine)["rejections"]}
    assert legal == ("degree-unsupported" not in codes)


def test_a_plan_divides_the_cache_where_it_lacks_room() -> None:
    """One node holds what without it takes attention on data ranks, or more nodes."""
    question = request(
        nodes_of(H200, 1),
        LATENT,
        engine={"name": "vllm"},
        workload={"context_tokens": 131_072, "sequences": 16},
        constraints={"tensor": 8},
        launch={"model": "/m"},
    )
    (plan, *_) = answer(CATALOG, question)["plans"]
    assert (8, 1) < (plan["split"]["tensor"], plan["split"]["decode_context"])
    degree = plan["split"]["decode_context"]
    assert f"--decode-context-parallel-size={degree}" in plan["launch"]["arguments"]
    whole = {**question, "constraints": {"tensor": 8, "decode_context": 1}}
    assert not answer(CATALOG, whole)["feasible"]


def test_a_plan_leaves_a_cache_whole_that_has_room() -> None:
    """Dividing it costs exchanges."""
    workload = {"context_tokens": 4096, "sequences": 4}
    question = request(nodes_of(H200, 1), LATENT, engine={"name": "vllm"}, workload=workload)
    degrees = {plan["split"]["decode_context"] for plan in answer(CATALOG, question)["plans"]}
    assert {1} == degrees
