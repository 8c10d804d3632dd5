"""A larger share of each device as a way out: the smallest that does, where it is what lacks."""

import bisect
from typing import Any

import msgspec
import pytest

from planning.asking import RESERVE, answer, fixed, nodes_of, request
from rackfit.catalog import load_catalog
from rackfit.planning.plan import plan
from rackfit.planning.question import PlanRequest

Json = dict[str, Any]
CATALOG = load_catalog()
H200 = "NVIDIA-H200"
V3, V4 = "deepseek-ai/DeepSeek-V3", "deepseek-ai/DeepSeek-V4-Pro"
QWEN = "Qwen/Qwen3-235B-A22B"
SHARE = "gpu_memory_utilization"
ATTENTION_DP = {"tensor": 1, "pipeline": 1, "data": 8, "expert": 8}
TENSOR = {"tensor": 8, "pipeline": 1}
BOTH = {"tensor": 4, "data": 2, "pipeline": 1}


def asked(engine: Json, constraints: Json, **more: Any) -> Json:  # noqa: ANN401
    """A question about eight devices."""
    about = {"engine": engine, "constraints": constraints, **more}
    return request(nodes_of(H200, 1), about.pop("model", V4), **about)


def shares(question: Json) -> list[Json]:
    """The ways out of an answer that give the engine a larger share."""
    rejections = answer(CATALOG, question)["rejections"]
    fixes = [r["nearest_fix"] for r in rejections if r["nearest_fix"]]
    return [fix for fix in fixes if fix["change"].startswith(SHARE)]


def with_share(question: Json, share: float) -> Json:
    """The same with an engine given so much of each device."""
    return {**question, "engine": {**question["engine"], SHARE: share}}


def test_a_published_deployment_is_found_by_its_share() -> None:
    """DeepSeek-V4-Pro at DP8 EP8 on eight H200: half a GiB short of 0.9, at home in 0.93."""
    question = asked({"name": "vllm"}, ATTENTION_DP)
    (fix,) = shares(question)
    assert (f"{SHARE}=0.93", True) == (fix["change"], fix["verified"])
    assert answer(CATALOG, fixed(question, fix))["feasible"]
    assert not answer(CATALOG, with_share(question, 0.92))["feasible"]


def one_too_many(engine: str, model: str, split: Json, free_bytes: int) -> Json:
    """A question for one sequence more than has room, found by bisection."""

    def of(sequences: int) -> Json:
        workload = {"context_tokens": 32_768, "sequences": sequences}
        constraints = {**split, "decode_context": 1}
        question = asked({"name": engine}, constraints, model=model, workload=workload)
        question["inventory"]["nodes"][0]["free_bytes"] = [free_bytes] * 8
        return question

    def lacks(sequences: int) -> int:
        return int(not answer(CATALOG, of(sequences))["feasible"])

    return of(1 + bisect.bisect(range(1, 2000), 0, key=lacks))


@pytest.mark.parametrize("free_bytes", [134 << 30, 139 << 30])
@pytest.mark.parametrize(
    ("engine", "model", "split"),
    [
        ("vllm", V4, TENSOR),
        ("vllm", V3, ATTENTION_DP),
        ("vllm", V3, BOTH),
        ("vllm", QWEN, TENSOR),
        ("sglang", V4, TENSOR),
        ("sglang", V3, ATTENTION_DP),
        ("sglang", V3, BOTH),
        ("sglang", QWEN, TENSOR),
        ("tensorrt-llm", V4, ATTENTION_DP),
        ("tensorrt-llm", QWEN, TENSOR),
    ],
)
def test_what_is_offered_does_and_a_hundredth_less_does_not(
    engine: str, model: str, split: Json, free_bytes: int
) -> None:
    """On devices that are partly occupied too; never more than 0.95, as a tenth is the reserve."""
    question = one_too_many(engine, model, split, free_bytes)
    offered = shares(question)
    assert offered
    for fix in offered:
        bound = fixed(question, fix)
        share = bound["engine"][SHARE]
        assert share <= 1 - RESERVE / 2
        assert answer(CATALOG, bound)["feasible"]
        less = with_share(bound, round(share - 0.01, 2))
        assert not answer(CATALOG, less)["feasible"]


@pytest.mark.parametrize(
    ("engine", "more"),
    [
        ({"name": "vllm", SHARE: 0.95}, {}),
        ({"name": "vllm"}, {"quantization": "bf16"}),
        ({"name": "vllm"}, {"constraints": {"tensor": 3}}),
        ({"name": "vllm", SHARE: 0.94, "max_sequences": 1}, {}),
        ({"name": "generic"}, {}),
    ],
)
def test_it_is_not_offered_where_it_is_not_what_lacks(engine: Json, more: Json) -> None:
    """Far too little room, another rule, the engine's own limit, an engine that takes none."""
    workload = {"context_tokens": 4096, "sequences": 100}
    assert [] == shares(
        asked(engine, **{"constraints": ATTENTION_DP, "workload": workload, **more})
    )


@pytest.mark.parametrize(("reserve", "offered"), [(0.1, 1), (0.13, 1), (0.2, 0)])
def test_half_the_reserve_of_each_device_is_left_alone(reserve: float, offered: int) -> None:
    """A named engine counts its own activations, so it needs no more than that."""
    question = asked({"name": "vllm"}, ATTENTION_DP)
    decoded = msgspec.convert(question, PlanRequest)
    found = plan(decoded, CATALOG, device_reserve=reserve, expired=lambda: False)
    fixes = [rejection.nearest_fix for rejection in found.rejections]
    assert offered == sum(fix is not None and fix.change.startswith(SHARE) for fix in fixes)
