"""Plans that know how much each expert is used, and experts that ranks hold twice."""

from typing import Any

import pytest

from planning.asking import answer, nodes_of, request
from planning.checker import faults
from rackfit.balancing.answer import answer_placement
from rackfit.balancing.question import PlacementRequest
from rackfit.catalog import load_catalog
from rackfit.errors import InvalidInput

Json = dict[str, Any]
CATALOG = load_catalog()
H200 = "NVIDIA-H200"
MODEL = "Qwen/Qwen3-30B-A3B"
LAYERS, EXPERTS = 48, 128
HOT = [[1000.0 if expert == 5 else 1.0 for expert in range(EXPERTS)] for _ in range(LAYERS)]
EVEN = [[3.0] * EXPERTS] * LAYERS
LINEAR = [[1.0 + (expert + layer) % 7 for expert in range(EXPERTS)] for layer in range(LAYERS)]


def asked(engine: str = "sglang", redundant: int = 0, **more: Any) -> Json:  # noqa: ANN401
    """A question about experts on eight ranks."""
    return request(
        nodes_of(H200, 1),
        MODEL,
        engine={"name": engine, "redundant_experts": redundant},
        workload={"context_tokens": 4096, "sequences": 64},
        constraints={"tensor": 1, "data": 8, "pipeline": 1, "expert": 8},
        limit=1,
        **more,
    )


def first(question: Json) -> Json:
    """The best plan."""
    plan: Json = answer(CATALOG, question)["plans"][0]
    return plan


def test_hot_experts_slow_a_plan_that_even_ones_do_not() -> None:
    """One rank does most of the work; a token takes longer."""
    hot, even = (first(asked(expert_loads=loads)) for loads in (HOT, EVEN))
    assert hot["expert_balancedness"]["mean"] < 0.2
    assert pytest.approx(1) == even["expert_balancedness"]["worst"]
    seconds = [plan["performance"]["seconds_per_output_token"] for plan in (even, hot)]
    assert seconds[0] * 1.1 < seconds[1]


def test_commands_that_do_not_place_experts_are_told_of() -> None:
    """With loads and a launch; without either nobody is promised anything."""
    launch = {"model": "/m"}
    told = [
        any("equal ranges" in text for text in answer(CATALOG, asked(**more))["warnings"])
        for more in (
            {"expert_loads": HOT, "launch": launch},
            {"expert_loads": HOT},
            {"launch": launch},
        )
    ]
    assert [True, False, False] == told


def test_redundant_experts_help_where_one_is_hot() -> None:
    """Eight more slots, all of them for it, if need be."""
    few, more = (first(asked(redundant=number, expert_loads=HOT)) for number in (0, 64))
    assert few["expert_balancedness"]["mean"] < more["expert_balancedness"]["mean"] / 3
    seconds = [plan["performance"]["seconds_per_output_token"] for plan in (more, few)]
    assert seconds[0] < seconds[1]
    weights = [plan["ranks"][0]["memory"]["weights_bytes"] for plan in (few, more)]
    assert weights[0] < weights[1]


def test_balance_is_that_of_an_expert_placement() -> None:
    """The same figures as the operation of its own gives for these ranks and slots."""
    plan = first(asked(redundant=16, expert_loads=LINEAR))
    placed = answer_placement(
        PlacementRequest(ranks=8, loads=LINEAR, redundant_experts=16, prove=False), lambda: False
    )
    told = plan["expert_balancedness"]
    assert (placed.balancedness.mean, placed.balancedness.worst) == (told["mean"], told["worst"])


def test_nothing_is_told_of_balance_without_loads() -> None:
    """Nor where there is but one expert rank."""
    assert first(asked())["expert_balancedness"] is None
    one = asked(expert_loads=HOT)
    one["constraints"] = {"tensor": 1, "data": 1, "pipeline": 1}
    assert first(one)["expert_balancedness"] is None


@pytest.mark.parametrize(
    ("loads", "pointer"),
    [
        (HOT[:-1], "/expert_loads"),
        ([], "/expert_loads"),
        ([row[:-1] for row in HOT], "/expert_loads/0"),
        ([*HOT[:-1], HOT[0][:-1]], "/expert_loads/47"),
        ([*HOT[:-1], [-1.0, *HOT[0][1:]]], "/expert_loads/47/0"),
    ],
)
def test_loads_that_are_not_the_models_are_refused(loads: list[list[float]], pointer: str) -> None:
    """Too few layers or experts, ragged ones, and loads below nothing."""
    with pytest.raises(InvalidInput) as raised:
        answer(CATALOG, asked(expert_loads=loads))
    assert pointer == raised.value.violations[0].pointer


def test_too_many_redundant_experts_are_told_of_where_they_stand() -> None:
    """In the engine, not among the loads."""
    with pytest.raises(InvalidInput) as raised:
        answer(CATALOG, asked(redundant=5000, expert_loads=EVEN))
    assert ["/engine/redundant_experts"] == [each.pointer for each in raised.value.violations]


def test_loads_of_a_dense_model_are_refused() -> None:
    """It has no experts."""
    question = request(nodes_of(H200, 1), "Qwen/Qwen3-32B", expert_loads=EVEN)
    with pytest.raises(InvalidInput, match="no experts"):
        answer(CATALOG, question)


@pytest.mark.parametrize(
    ("engine", "last"),
    [("vllm", "126-127,0-15"), ("sglang", "126-127,0-15"), ("tensorrt-llm", "112-127,0-1")],
)
def test_ranks_hold_redundant_experts_as_engines_start_with_them(engine: str, last: str) -> None:
    """128 and 16 more on eight ranks, 18 each: in order or from where each rank would begin."""
    question = asked(engine, redundant=16)
    plan = first(question)
    ranges = [rank["experts"] for rank in plan["ranks"]]
    assert ("0-17", last) == (ranges[0], ranges[-1])
    usable = {"node-0": CATALOG.accelerators[H200].usable_bytes}
    assert [] == faults(question, plan, usable_bytes=usable, experts=EXPERTS)


def test_plans_of_two_kinds_tell_how_even_each_is() -> None:
    """Replicas that read and replicas that write have expert ranks of their own."""
    question = request(
        nodes_of(H200, 2),
        MODEL,
        engine={"name": "sglang"},
        workload={
            "context_tokens": 4096,
            "sequences": 64,
            "input_tokens": 2000,
            "output_tokens": 200,
        },
        constraints={"expert": 4},
        disaggregate=True,
        expert_loads=LINEAR,
    )
    pairs = answer(CATALOG, question)["disaggregated"]
    assert pairs
    for pair in pairs:
        for side in (pair["prefill"], pair["decode"]):
            assert 4 == side["split"]["expert"]
            assert 0.9 < side["expert_balancedness"]["mean"] <= 1
