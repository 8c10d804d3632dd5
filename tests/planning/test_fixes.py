"""The nearest fix of a rejected split: what it changes, and that it works."""

from typing import Any

import pytest

from planning.asking import answer, fixed, nodes_of, request
from rackfit.catalog import load_catalog

Json = dict[str, Any]
CATALOG = load_catalog()
H200, H100, L40S, L4 = "NVIDIA-H200", "NVIDIA-H100-80GB-HBM3", "NVIDIA-L40S", "NVIDIA-L4"
MIXTURE, DENSE, LARGE = "Qwen/Qwen3-30B-A3B", "Qwen/Qwen3-32B", "deepseek-ai/DeepSeek-V3.1"
CARD = "deepseek-v4-pro"


def fixes(question: Json) -> list[Json | None]:
    """The fixes of all rejections listed."""
    return [rejection["nearest_fix"] for rejection in answer(CATALOG, question)["rejections"]]


def unmet(question: Json) -> list[str]:
    """Verified fixes that do not work when they are applied."""
    return [
        fix["change"]
        for fix in fixes(question)
        if fix and fix["verified"] and not answer(CATALOG, fixed(question, fix))["feasible"]
    ]


CROWDED = request(
    nodes_of(L40S, 1),
    DENSE,
    workload={"context_tokens": 40_960, "sequences": 20},
    constraints={"max_accelerators": 4},
)


def test_no_fix_takes_more_accelerators_than_the_caller_allows() -> None:
    """With four of eight L40S allowed, every verified fix works with four."""
    assert [] == unmet(CROWDED)


def test_too_many_accelerators_are_the_constraints_fault() -> None:
    """What needs more than is allowed is refused with `constraint`, and no number of more helps."""
    found = answer(CATALOG, CROWDED)
    codes = {r["code"] for r in found["rejections"] if r["split"]["replicas"] > 1}
    assert ({"constraint"}, {}) == (codes, found["shortfall"]["accelerators"])


def test_a_larger_allowance_is_offered_where_it_is_what_lacks() -> None:
    """Three replicas of one H200 each with two allowed need three."""
    question = request(
        nodes_of(H200, 1),
        DENSE,
        quantization="bf16",
        constraints={"max_accelerators": 2, "replicas": 3, "tensor": 1},
    )
    nearest = answer(CATALOG, question)["rejections"][0]
    told = (nearest["code"], nearest["nearest_fix"]["change"], unmet(question))
    assert ("constraint", "max_accelerators=3", []) == told
    assert nearest["detail"].startswith("3 replicas need 3 NVIDIA-H200; the constraints allow 2")


def test_more_nodes_are_counted_for_splits_the_caller_allows() -> None:
    """With one stage of TP4 insisted on, the nodes offered make that fit and say what they are."""
    question = request(nodes_of(L40S, 1), LARGE, constraints={"tensor": 4, "pipeline": 1})
    (fix, *_) = fixes(question)
    assert fix is not None
    assert {"number": 2, "accelerator": L40S, "count": 8} == fix["nodes"]
    assert [] == unmet(question)


def test_a_pipeline_insisted_on_is_given_up_last_and_by_a_patch() -> None:
    """Where no number of nodes helps one stage of one rank, more stages are offered."""
    question = request(
        nodes_of(L40S, 1),
        DENSE,
        quantization="bf16",
        engine={"name": "tensorrt-llm"},
        constraints={"tensor": 1, "pipeline": 1, "max_accelerators": 8},
        workload={"context_tokens": 1024},
    )
    patches = [fix["patch"]["constraints"]["pipeline"] for fix in fixes(question) if fix]
    assert ([1], []) == (patches, unmet(question))


@pytest.mark.parametrize(
    ("engine", "degrees", "changes"),
    [
        ("vllm", {"tensor": 2, "data": 2, "expert": 2}, {"expert": 4}),
        ("sglang", {"tensor": 2, "data": 3, "expert": 6}, {"expert": 2}),
        ("tensorrt-llm", {"tensor": 2, "data": 2, "expert": 1}, {"data": 1}),
        ("llama.cpp", {"tensor": 1, "data": 2}, {"data": 1}),
        ("vllm", {"tensor": 3}, {"tensor": 4}),
        ("vllm", {"tensor": 3, "data": 1, "expert": 3}, {"tensor": 1, "expert": 1}),
    ],
)
def test_the_nearest_legal_degree_of_what_is_at_fault_is_offered(
    engine: str, degrees: Json, changes: Json
) -> None:
    """The fix names every degree it changes, and none that it does not."""
    scheme = {"quantization": "Q4_K_M"} if engine == "llama.cpp" else {}
    question = request(
        nodes_of(H200, 1), MIXTURE, engine={"name": engine}, constraints=degrees, **scheme
    )
    fix = next(fix for fix in fixes(question) if fix)
    named = dict(part.split("=") for part in fix["change"].split(","))
    assert {name: str(degree) for name, degree in changes.items()} == named
    assert (True, []) == (fix["verified"], unmet(question))


@pytest.mark.parametrize(
    ("constraints", "change"),
    [
        ({"pipeline": 81}, "pipeline=32"),
        ({"tensor": 8, "data": 2, "expert": 3}, "expert=4"),
        ({"tensor": 8, "data": 128}, "data=4"),
        ({"tensor": 16}, "tensor=8"),
        ({"accelerators": [L4]}, f"accelerators={H200}"),
        ({"max_accelerators": 1}, "max_accelerators=8"),
    ],
)
def test_what_the_caller_insists_on_is_moved_to_the_nearest_that_fits(
    constraints: Json, change: str
) -> None:
    """Constraints that leave no split, or none that fits, come with one that does."""
    question = request(nodes_of(H200, 4), quantization="Q4_K_M", constraints=constraints)
    fix = fixes(question)[0]
    assert fix is not None
    assert (change, True, []) == (fix["change"], fix["verified"], unmet(question))


def test_a_split_without_a_fix_of_its_own_gets_what_the_answer_knows() -> None:
    """A rejected split of an infeasible inventory is told the nodes that make any split fit."""
    question = request(
        nodes_of(L40S, 1, each=3),
        DENSE,
        engine={"name": "vllm"},
        workload={"context_tokens": 32_768, "sequences": 100},
    )
    misses = [r for r in answer(CATALOG, question)["rejections"] if "divisible" not in r["code"]]
    assert [] == [r["split"] for r in misses if r["nearest_fix"] is None]
    assert [] == unmet(question)


def test_no_context_is_offered_that_a_typical_request_does_not_fit() -> None:
    """Requests of 20,000 tokens are not answered with a context of fewer."""
    workload = {"context_tokens": 40_960, "sequences": 1, "input_tokens": 19_000}
    question = request(
        nodes_of(L40S, 1, each=2), DENSE, workload={**workload, "output_tokens": 1000}
    )
    contexts = [
        fix["patch"]["workload"]["context_tokens"]
        for fix in fixes(question)
        if fix and fix["change"].startswith("context_tokens")
    ]
    assert [] == [tokens for tokens in contexts if tokens < 20_000]
    assert [] == unmet(question)


def test_formats_the_devices_cannot_hold_are_no_fix() -> None:
    """On A100, whose engine holds no FP8 cache, none is offered; the model's own type is."""
    question = request(
        nodes_of("NVIDIA-A100-SXM4-80GB", 1),
        MIXTURE,
        engine={"name": "tensorrt-llm"},
        kv_cache_dtype="fp8",
    )
    (refusal,) = answer(CATALOG, question)["rejections"]
    fix = refusal["nearest_fix"]
    told = (refusal["code"], fix and fix["change"], unmet(question))
    assert ("hardware-unsupported", "kv_cache_dtype=bf16", []) == told


def test_more_sequences_than_the_engine_is_started_for_need_more_replicas_or_a_higher_limit() -> (
    None
):
    """One replica of an engine started for two sequences is refused eight, with the way out."""
    question = request(
        nodes_of(H200, 1),
        MIXTURE,
        engine={"name": "vllm", "max_sequences": 2},
        workload={"context_tokens": 4096, "sequences": 8},
        constraints={"replicas": 1, "data": 1},
    )
    nearest = answer(CATALOG, question)["rejections"][0]
    told = (nearest["code"], nearest["nearest_fix"]["change"], unmet(question))
    assert ("sequence-limit", "max_sequences=8", []) == told
