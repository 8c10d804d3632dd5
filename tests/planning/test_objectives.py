"""What callers ask for is what the first plan is best at, of all plans there are."""

from collections.abc import Callable

import pytest

import truths
from planning.asking import Json, answer, nodes_of, request

MOST = 100
NODES = [*nodes_of("NVIDIA-H200", 2, prefix="a"), *nodes_of("NVIDIA-B200", 1, prefix="b")]
PRICES = {"h200": 2.0, "b200": 9.0}


def plans(model: str = "openai/gpt-oss-120b", **more: str | int | list[str] | Json) -> list[Json]:
    """Return plans on 16 H200 and 8 B200."""
    question = request(NODES, model, engine={"name": "vllm"}, **more)
    found: list[Json] = answer(truths.catalog(), question)["plans"]
    return found


def cost(plan: Json) -> float:
    """What a plan's accelerators cost an hour."""
    price = {"NVIDIA-H200": 2.0, "NVIDIA-B200": 9.0}[plan["accelerator"]]
    return price * float(plan["accelerators"])


AIMS: dict[str, Callable[[Json], float]] = {
    "fewest-accelerators": lambda plan: plan["accelerators"],
    "highest-throughput": lambda plan: -plan["performance"]["tokens_per_second"],
    "lowest-latency": lambda plan: plan["performance"]["seconds_per_output_token"],
    "lowest-cost": cost,
    "most-headroom": lambda plan: -plan["headroom_bytes"],
}


@pytest.mark.parametrize("objective", AIMS)
def test_plans_come_in_the_order_asked_for(objective: str) -> None:
    """And the first is as good as the best of the plans any other objective finds."""
    ranked = plans(objective=objective, limit=MOST, prices=PRICES)
    aims = [AIMS[objective](plan) for plan in ranked]
    assert aims == sorted(aims)
    others = [plan for other in AIMS for plan in plans(objective=other, limit=MOST, prices=PRICES)]
    assert len({str(plan["split"]) + plan["accelerator"] for plan in others}) > 1
    assert aims[0] <= min(map(AIMS[objective], others))


@pytest.mark.parametrize("objective", AIMS)
def test_the_best_does_not_depend_on_how_many_are_wanted(objective: str) -> None:
    """A search that stops early stops no earlier than it may."""
    one = plans(objective=objective, limit=1, prices=PRICES)
    assert one == plans(objective=objective, limit=MOST, prices=PRICES)[:1]


def test_prices_decide_between_types() -> None:
    """Cheap accelerators are taken though more are needed, and dear ones once they are cheap."""
    model = "deepseek-ai/DeepSeek-V3"
    (cheap,) = plans(model, objective="lowest-cost", limit=1, prices={"h200": 1.0, "b200": 50.0})
    (dear,) = plans(model, objective="lowest-cost", limit=1, prices={"h200": 50.0, "b200": 1.0})
    assert ("NVIDIA-H200", "NVIDIA-B200") == (cheap["accelerator"], dear["accelerator"])
    assert cheap["accelerators"] > dear["accelerators"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("fewest-accelerators", "lowest-latency"),
        ("lowest-cost", "highest-throughput"),
        ("most-headroom", "lowest-latency"),
        ("highest-throughput", "most-headroom"),
    ],
)
def test_two_objectives_give_the_plans_that_none_beats(first: str, second: str) -> None:
    """Of all plans there are, exactly those that no other equals in both and beats in one."""
    both = AIMS[first], AIMS[second]
    every = {
        tuple(aim(plan) for aim in both)
        for objective in AIMS
        for plan in plans(objective=objective, limit=MOST, prices=PRICES)
    }
    unbeaten = {
        aims
        for aims in every
        if not any(o != aims and o[0] <= aims[0] and o[1] <= aims[1] for o in every)
    }
    found = plans(objective=[first, second], limit=MOST, prices=PRICES)
    aims = [tuple(aim(plan) for aim in both) for plan in found]
    assert sorted(unbeaten) == aims
    assert len(aims) > 1


def test_two_objectives_are_the_best_of_each_at_their_ends() -> None:
    """The first plan is the first objective's best, the last the second's."""
    found = plans(objective=["fewest-accelerators", "lowest-latency"], limit=MOST)
    (smallest,) = plans(objective="fewest-accelerators", limit=1)
    (fastest,) = plans(objective="lowest-latency", limit=1)
    assert found[0]["accelerators"] == smallest["accelerators"]
    assert AIMS["lowest-latency"](found[-1]) == AIMS["lowest-latency"](fastest)


def test_prompts_found_in_the_cache_are_sooner_read() -> None:
    """Nine of ten tokens of a prompt that are there leave a tenth to read."""
    workload = {
        "context_tokens": 32_768,
        "sequences": 8,
        "input_tokens": 16_384,
        "output_tokens": 500,
    }
    none, most = (
        plans(workload={**workload, "prefix_hit": hit}, limit=1)[0]["performance"]
        for hit in (0, 0.9)
    )
    assert most["seconds_to_first_token"] < none["seconds_to_first_token"] / 4
    assert most["seconds_per_output_token"] < none["seconds_per_output_token"]


def test_drafts_that_are_right_more_often_make_tokens_sooner() -> None:
    """By the chance that the caller gives; the engine drafts one token a step."""
    question = request(NODES, "deepseek-ai/DeepSeek-V3", limit=1)
    question["engine"] = {"name": "vllm", "speculative_tokens": 1}
    workload = {"context_tokens": 4096, "sequences": 8}
    seconds = [
        answer(
            truths.catalog(), {**question, "workload": {**workload, "draft_acceptance": chance}}
        )["plans"][0]["performance"]["seconds_per_output_token"]
        for chance in (0.0, 0.85, 1.0)
    ]
    assert sorted(seconds, reverse=True) == seconds
    assert pytest.approx(seconds[0] / 2) == seconds[2]
