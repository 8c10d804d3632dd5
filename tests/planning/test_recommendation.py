"""Recommendations: every part planned on its own, cheapest first, each with its reason."""

from typing import Any

import msgspec
import pytest

import truths
from rackfit.errors import InvalidInput
from rackfit.planning.plan import plan
from rackfit.planning.question import PlanRequest
from rackfit.planning.recommendation import (
    RecommendationAnswer,
    RecommendationRequest,
    recommend,
)

QUESTION = {
    "model": {"id": "Qwen/Qwen3-32B"},
    "workload": {"context_tokens": 32_768, "sequences": 4},
    "engine": {"name": "vllm"},
}


def ask(**more: Any) -> RecommendationAnswer:  # noqa: ANN401 (parts of a request)
    """Ask for the right parts."""
    request = msgspec.convert(QUESTION | more, RecommendationRequest)
    return recommend(request, truths.catalog(), device_reserve=0.1, expired=lambda: False)


def test_cheapest_comes_first_and_unpriced_parts_last() -> None:
    """Costs are the caller's prices times the number of accelerators."""
    prices = {"h100": 3.0, "l40s": 0.9}
    found = ask(accelerators=["h100", "l40s", "h200"], prices=prices).recommendations
    costs = [one.price_per_hour for one in found]
    assert costs[-1] is None
    assert sorted(c for c in costs if c is not None) == costs[:-1]
    for one in found[:-1]:
        price = prices["h100" if "H100" in one.accelerator else "l40s"]
        assert one.accelerators * price == one.price_per_hour


def test_without_prices_the_least_memory_is_bought() -> None:
    """Smallest first."""
    sizes = [one.memory_bytes for one in ask(limit=100).recommendations]
    assert len(sizes) > 10
    assert sorted(sizes) == sizes


def test_parts_without_kernels_for_the_models_attention_are_not_recommended() -> None:
    """However many would hold DeepSeek-V3.2: its sparse attention begins with Hopper."""
    parts, catalog = ["a100-80gb", "a30", "l40s", "rtx-pro-6000", "h200"], truths.catalog()
    model = {"id": "deepseek-ai/DeepSeek-V3.2"}
    found = ask(model=model, accelerators=parts, limit=100).recommendations
    assert {catalog.accelerator("h200")[0].id} == {one.accelerator for one in found}


def test_every_recommendation_is_a_plan_on_its_own_nodes() -> None:
    """Planned anew on so many usual nodes and no more, it fits; the split is the same."""
    for one in ask(limit=5).recommendations:
        nodes = [
            {"name": f"n{i}", "accelerator": one.accelerator, "count": one.node_devices}
            for i in range(one.nodes)
        ]
        question = QUESTION | {"inventory": {"nodes": nodes}}
        request = msgspec.convert(question, PlanRequest)
        answer = plan(request, truths.catalog(), device_reserve=0.1, expired=lambda: False)
        assert answer.feasible
        assert answer.plans[0].accelerators == one.accelerators


def test_what_does_not_do_says_why() -> None:
    """A part that is too small, and one the engine does not run on, have their rejection."""
    engine = {"name": "tensorrt-llm"}
    answer = ask(accelerators=["l4", "h200"], max_accelerators=2, engine=engine)
    assert ["NVIDIA-L4"] == [part.accelerator for part in answer.unsuitable]
    assert answer.unsuitable[0].rejection is not None


def test_nothing_within_the_limit_is_an_answer() -> None:
    """Not an error: every part says why it does not do."""
    answer = ask(model={"id": "deepseek-v4-pro"}, max_accelerators=1, accelerators=["h200"])
    assert not answer.feasible
    assert len(answer.unsuitable) == 1


def test_an_unknown_part_is_named_where_it_stands() -> None:
    """The pointer leads to the list's entry, or to the price."""
    with pytest.raises(InvalidInput) as refused:
        ask(accelerators=["h200", "h2000"])
    assert refused.value.violations[0].pointer == "/accelerators/1"
    with pytest.raises(InvalidInput) as refused:
        ask(prices={"a/b": 1.0})
    assert refused.value.violations[0].pointer == "/prices/a~1b"


def test_out_of_time_the_rest_is_untried() -> None:
    """The answer says so."""
    request = msgspec.convert(QUESTION, RecommendationRequest)
    answer = recommend(request, truths.catalog(), device_reserve=0.1, expired=lambda: True)
    assert not answer.complete


@pytest.mark.parametrize(
    ("objective", "aim"),
    [
        ("fewest-accelerators", lambda one: one.accelerators),
        ("most-headroom", lambda one: -one.headroom_bytes),
        ("lowest-latency", lambda one: one.performance.seconds_per_output_token),
        ("highest-throughput", lambda one: -one.performance.tokens_per_second),
    ],
)
def test_the_objective_orders_the_parts_too(objective: str, aim: Any) -> None:  # noqa: ANN401 (a key)
    """Not only the plans of each; a part without a figure comes last."""
    found = ask(objective=objective, limit=100).recommendations
    aims = [aim(one) for one in found if one.performance]
    assert aims == sorted(aims)
    assert len(set(aims)) > 1


def test_kinds_choose_among_the_parts_named() -> None:
    """Both say what comes into question, so that what is recommended is of both."""
    answer = ask(accelerators=["4090", "h100"], kinds=["datacenter"])
    parts = [*answer.recommendations, *answer.unsuitable]
    assert ["NVIDIA-H100-80GB-HBM3"] == [part.accelerator for part in parts]
