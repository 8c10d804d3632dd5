"""Times a caller insists on: as many replicas as it takes, and why not where none would do."""

from typing import Any

import msgspec
import pytest

from planning.asking import answer, fixed, nodes_of, request
from rackfit.catalog import load_catalog
from rackfit.planning.recommendation import RecommendationRequest, recommend

Json = dict[str, Any]
CATALOG = load_catalog()
H200 = "NVIDIA-H200"
LARGE, DENSE = "deepseek-ai/DeepSeek-V3", "Qwen/Qwen3-32B"
EACH, FIRST = "max_seconds_per_output_token", "max_seconds_to_first_token"
CHAT = {"context_tokens": 8192, "sequences": 64, "input_tokens": 4000, "output_tokens": 500}


def asked(nodes: int, model: str = DENSE, accelerator: str = H200, **constraints: float) -> Json:
    """A question about 64 chats at once under vLLM."""
    there = nodes_of(accelerator, nodes)
    engine = {"name": "vllm"}
    return request(there, model, workload=CHAT, engine=engine, constraints=constraints)


def seconds(plan: Json) -> float:
    """Seconds a token of a plan."""
    value: float = plan["performance"]["seconds_per_output_token"]
    return value


def test_shorter_times_take_more_accelerators_and_are_kept() -> None:
    """What is asked for is kept; each shorter time takes as many accelerators or more."""
    limits = (1.0, 0.05, 0.03, 0.02)
    best = [answer(CATALOG, asked(4, **{EACH: limit}))["plans"][0] for limit in limits]
    counts = [plan["accelerators"] for plan in best]
    assert all(seconds(plan) <= limit for plan, limit in zip(best, limits, strict=True))
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


def test_no_smaller_plan_keeps_the_time() -> None:
    """With one accelerator fewer allowed, nothing is in time."""
    fewest = answer(CATALOG, asked(4, **{EACH: 0.03}))["plans"][0]["accelerators"]
    assert not answer(CATALOG, asked(4, max_accelerators=fewest - 1, **{EACH: 0.03}))["feasible"]


def test_the_first_token_can_be_asked_for_too() -> None:
    """Reading a prompt in time is a constraint of its own."""
    plans = answer(CATALOG, asked(4, **{FIRST: 0.2}))["plans"]
    assert plans
    assert all(plan["performance"]["seconds_to_first_token"] <= 0.2 for plan in plans)


def test_too_slow_is_told_with_its_numbers_and_a_time_that_would_do() -> None:
    """A split that serves not one sequence in time says how long it takes; the fix works."""
    question = asked(4, LARGE, **{EACH: 0.001})
    found = answer(CATALOG, question)
    slow = [r for r in found["rejections"] if r["code"] == "too-slow"]
    assert not found["feasible"]
    assert all(r["numbers"][EACH] == 0.001 for r in slow)
    assert all(r["numbers"]["seconds_per_output_token"] > 0.001 for r in slow)
    assert "allowed are 0.001 s a token." in slow[0]["detail"]
    fix = next(r["nearest_fix"] for r in slow if r["nearest_fix"])
    assert fix["change"].startswith(f"{EACH}=0.0")
    assert answer(CATALOG, fixed(question, fix))["feasible"]


def test_too_few_devices_for_the_time_says_why_so_many() -> None:
    """Replicas needed only because of the time are explained by it."""
    found = answer(CATALOG, asked(1, DENSE, **{EACH: 0.02}))
    few = [r for r in found["rejections"] if r["code"] == "not-enough-accelerators"]
    assert "In the times allowed a data rank serves" in few[0]["detail"]


def test_what_is_not_known_to_be_fast_is_not_in_time() -> None:
    """An accelerator without a bandwidth gets no plan where a time is asked for."""
    inline = {"id": "X", "vendor": "x", "generation": "x", "kind": "datacenter"}
    inline |= {"usable_bytes": 80 << 30, "memory_bandwidth": 0.0, "sources": ["test"]}
    question = asked(1, **{EACH: 10.0})
    question["inventory"]["nodes"][0]["accelerator"] = {**inline, "name": "X"}
    del question["engine"]
    (rejection, *_) = answer(CATALOG, question)["rejections"]
    assert rejection["code"] == "too-slow"
    assert "No bandwidth is known of X" in rejection["detail"]


def test_recommendations_keep_times_too() -> None:
    """The times are a recommendation's as well."""
    body = {"model": {"id": DENSE}, "workload": CHAT, EACH: 0.02, "accelerators": [H200, "l4"]}
    found = recommend(
        msgspec.convert(body, RecommendationRequest),
        CATALOG,
        device_reserve=0.1,
        expired=lambda: False,
    )
    assert [one.accelerator for one in found.recommendations] == [H200]
    speed = found.recommendations[0].performance
    assert speed is not None
    assert speed.seconds_per_output_token <= 0.02


@pytest.mark.parametrize("wrong", [0, -1.0, 1e7])
def test_times_are_above_none(wrong: float) -> None:
    """No time at all is no constraint."""
    with pytest.raises(msgspec.ValidationError, match=EACH):
        answer(CATALOG, asked(1, **{EACH: wrong}))
