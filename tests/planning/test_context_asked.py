"""Context ranks a caller insists on: had where the engine has them, else explained."""

from typing import Any

import pytest

from planning.asking import answer, fixed, nodes_of, request
from rackfit.catalog import load_catalog

Json = dict[str, Any]
CATALOG = load_catalog()
B200, H200 = "NVIDIA-B200", "NVIDIA-H200"
LATENT, SPARSE = "deepseek-ai/DeepSeek-V3", "deepseek-ai/DeepSeek-V3.2"
LONG = {
    "context_tokens": 131_072,
    "sequences": 4,
    "input_tokens": 130_000,
    "output_tokens": 1000,
}


def asked(engine: str, model: str, accelerator: str, **more: Any) -> Json:  # noqa: ANN401
    """A question about few long sequences on four nodes."""
    about = {"engine": {"name": engine}, "workload": LONG, "rejection_limit": 100, **more}
    return request(nodes_of(accelerator, 4), model, **about)


def degrees(answered: Json, name: str) -> set[int]:
    """The degrees of an answer's plans."""
    return {plan["split"][name] for plan in answered["plans"]}


def test_a_context_degree_is_asked_for_like_any_other() -> None:
    """Alone and with others, devices counted; a plan without it is none."""
    for constraints in ({"context": 4}, {"context": 4, "pipeline": 3, "expert": 2}, {"context": 1}):
        found = answer(CATALOG, asked("sglang", SPARSE, H200, constraints=constraints))
        assert found["feasible"]
        for name, degree in constraints.items():
            assert {degree} == degrees(found, name)
        for plan in found["plans"]:
            split = plan["split"]
            each = split["tensor"] * split["pipeline"] * split["data"] * split["context"]
            assert each * split["replicas"] == plan["accelerators"]


@pytest.mark.parametrize(
    ("engine", "model", "accelerator", "side"),
    [("tensorrt-llm", LATENT, B200, "decode"), ("sglang", SPARSE, H200, "prefill")],
)
def test_of_two_kinds_of_replicas_those_have_it_that_can(
    engine: str, model: str, accelerator: str, side: str
) -> None:
    """The other kind has none, as the engine has no such there."""
    constraints = {"context": 4}
    question = asked(engine, model, accelerator, disaggregate=True, constraints=constraints)
    pairs = answer(CATALOG, question)["disaggregated"]
    other = {"decode": "prefill", "prefill": "decode"}[side]
    assert {(4, 1)} == {tuple(p[s]["split"]["context"] for s in (side, other)) for p in pairs}


@pytest.mark.parametrize(
    ("on", "degree", "code", "says"),
    [
        (("vllm", LATENT, H200), 4, "degree-unsupported", "TensorRT-LLM and SGLang alone"),
        (("tensorrt-llm", LATENT, H200), 4, "hardware-unsupported", "Blackwell"),
        (("tensorrt-llm", LATENT, B200), 4, "degree-unsupported", "replicas that only write"),
        (("sglang", SPARSE, H200), 3, "experts-not-divisible", "256 slots over EP3"),
        (("sglang", SPARSE, H200), 16, "domain-too-small", "TP1 CP16"),
        (("sglang", SPARSE, H200), 600, "domain-too-small", "TP1 CP600"),
    ],
)
def test_a_degree_that_cannot_be_says_why_and_what_would_do(
    on: tuple[str, str, str], degree: int, code: str, says: str
) -> None:
    """Each with a change of the degree that was planned, and works when it is made."""
    question = asked(*on, constraints={"context": degree})
    found = answer(CATALOG, question)
    assert not found["feasible"]
    told = [r for r in found["rejections"] if r["code"] == code and says in r["detail"]]
    assert told
    fix = told[0]["nearest_fix"]
    assert fix["verified"]
    assert degree != fix["patch"]["constraints"]["context"]
    assert answer(CATALOG, fixed(question, fix))["feasible"]


def test_degrees_that_contradict_each_other_are_named() -> None:
    """Tensor, data and context ranks together are what experts are divided over."""
    constraints = {"tensor": 1, "data": 1, "context": 4, "expert": 3}
    found = answer(CATALOG, asked("sglang", SPARSE, H200, constraints=constraints))
    (rejection,) = found["rejections"]
    assert "constraint" == rejection["code"]
    assert "context = 4" in rejection["detail"]
    assert "expert must divide tensor x data x context" in rejection["detail"]


def test_no_pair_says_which_rule_leaves_none() -> None:
    """Three context ranks do not divide 128 heads."""
    constraints = {"context": 3}
    question = asked("tensorrt-llm", LATENT, B200, disaggregate=True, constraints=constraints)
    said = answer(CATALOG, question)["warnings"]
    assert any("Replicas that write: " in warning for warning in said)


@pytest.mark.parametrize("more", [{}, {"context": 2}])
def test_rows_that_ranks_cannot_divide_are_given_up_not_moved_to_other_degrees(
    more: Json,
) -> None:
    """A degree is legal only beside the `decode_context` that stays in the request."""
    constraints, engine = {"decode_context": 2, **more}, {"name": "sglang"}
    question = request(nodes_of(H200, 2), SPARSE, engine=engine, constraints=constraints)
    found = answer(CATALOG, question)
    fixes = [rejection["nearest_fix"] for rejection in found["rejections"]]
    assert not found["feasible"]
    assert fixes
    for fix in fixes:
        assert fix["verified"]
        assert answer(CATALOG, fixed(question, fix))["feasible"]
