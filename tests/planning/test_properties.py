"""What holds of every answer: fixes work, shortfalls are exact, totals add up, nothing is missed.

Random inventories of one to three types, some devices partly used, and random constraints.
"""

from itertools import product
from typing import Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from planning.asking import RESERVE, answer, fixed, nodes_of, request, with_nodes
from planning.checker import faults
from rackfit.catalog import load_catalog
from rackfit.engines.split import Split
from rackfit.memory.answer import answer_memory
from rackfit.memory.question import MemoryRequest

Json = dict[str, Any]
CATALOG = load_catalog()
TYPES = ("NVIDIA-H100-80GB-HBM3", "NVIDIA-L40S", "NVIDIA-A10")
MODELS = (
    "meta-llama/Llama-3.1-8B-Instruct",
    "Qwen/Qwen3-32B",
    "Qwen/Qwen3-30B-A3B",
    "openai/gpt-oss-120b",
)
FREE = (None, None, None, 0.0, 0.3, 0.7, 0.95)
"""Shares of a node's first devices that are free; None leaves the node as it is."""


def _node(number: int, accelerator: str, count: int, shares: list[float | None]) -> Json:
    usable = CATALOG.accelerators[accelerator].usable_bytes
    node: Json = {"name": f"n{number}", "accelerator": accelerator, "count": count}
    free = [int(usable * (1.0 if share is None else share)) for share in shares]
    if any(share is not None for share in shares):
        node["free_bytes"] = (free * count)[:count]
    return node


@st.composite
def inventories(draw: st.DrawFn) -> list[Json]:
    """One to four nodes of one to eight devices, of up to three types."""
    types = draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=3, unique=True))
    drawn = st.tuples(
        st.sampled_from(types),
        st.integers(1, 8),
        st.lists(st.sampled_from(FREE), min_size=1, max_size=3),
    )
    nodes = draw(st.lists(drawn, min_size=1, max_size=4))
    return [_node(number, *node) for number, node in enumerate(nodes)]


CONSTRAINTS = st.fixed_dictionaries(
    {},
    optional={
        "tensor": st.sampled_from([1, 2, 3, 4, 16]),
        "pipeline": st.sampled_from([1, 2, 3, 90]),
        "data": st.sampled_from([1, 2, 3]),
        "expert": st.sampled_from([1, 2, 3, 8]),
        "replicas": st.sampled_from([1, 2, 3]),
        "max_accelerators": st.sampled_from([1, 2, 4, 8]),
        "accelerators": st.lists(st.sampled_from(TYPES), min_size=1, max_size=2, unique=True),
        "max_seconds_per_output_token": st.sampled_from([0.001, 0.01, 0.03, 0.1]),
        "max_seconds_to_first_token": st.sampled_from([0.01, 0.3, 2.0, 20.0]),
        "node_loss": st.sampled_from(["serve", "replan"]),
        "placement": st.sampled_from(["pack", "spread"]),
        "mix_accelerators": st.booleans(),
        "reserved": st.sampled_from(
            [
                {"nodes": 1},
                {"devices_per_node": 1},
                {"bytes_per_device": 8 << 30},
                {"nodes": 1, "devices_per_node": 2, "bytes_per_device": 1 << 30},
            ]
        ),
    },
)
ENGINES = st.sampled_from([None, "vllm", "sglang", "tensorrt-llm", "llama.cpp"])


@st.composite
def questions(draw: st.DrawFn) -> Json:
    """A plan request on a small inventory."""
    workload = {
        "context_tokens": draw(st.sampled_from([1000, 8192, 40_000])),
        "sequences": draw(st.sampled_from([1, 3, 16, 200])),
    }
    constraints = draw(CONSTRAINTS)
    if constraints.get("node_loss") == "serve" and constraints.get("replicas") == 1:
        constraints["replicas"] = 2  # one alone is refused
    question = request(
        draw(inventories()),
        draw(st.sampled_from(MODELS)),
        workload=workload,
        constraints=constraints,
        limit=1,
        rejection_limit=10_000,
    )
    engine = draw(ENGINES)
    if engine:
        question["engine"] = {"name": engine}
    if question["model"]["id"] in MODELS[2:]:
        more = draw(st.sampled_from([0, 0, 8, 32]))
        question.setdefault("engine", {"name": "generic"})["redundant_experts"] = more
    return question


def feasible(question: Json) -> bool:
    """Whether there is a plan."""
    found: bool = answer(CATALOG, {**question, "rejection_limit": 0})["feasible"]
    return found


@given(question=questions())
@settings(max_examples=40, deadline=None)
def test_verified_fixes_work(question: Json) -> None:
    """Every verified fix, its patch merged and its nodes added, makes a plan possible."""
    rejections = answer(CATALOG, {**question, "rejection_limit": 12})["rejections"]
    offered = {
        msgspec.json.encode(r["nearest_fix"]): r["nearest_fix"]
        for r in rejections
        if r["nearest_fix"] and r["nearest_fix"]["verified"]
    }
    assert [] == [fix for fix in offered.values() if not feasible(fixed(question, fix))]


CALIBRATED = (
    "nvidia/Llama-3.1-70B-Instruct-FP8",
    "nvidia/Qwen3.5-122B-A10B-NVFP4",
    "nvidia/Qwen3.5-397B-A17B-NVFP4",
)
"""Checkpoints with a KV cache type of their own."""


@given(
    model=st.sampled_from(CALIBRATED),
    engine=st.sampled_from([None, "vllm", "tensorrt-llm", "llama.cpp"]),
    accelerator=st.sampled_from(
        [
            "NVIDIA-L40S",
            "NVIDIA-H100-80GB-HBM3",
            "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition",
            "AMD-Instinct-MI300X",
        ]
    ),
    count=st.sampled_from([1, 2, 4, 8]),
    context=st.sampled_from([8192, 32_768, 131_072]),
    sequences=st.sampled_from([1, 8, 64]),
    asked=st.sampled_from(
        [{}, {"quantization": "bf16"}, {"quantization": "Q8_0"}, {"kv_cache_dtype": "fp8"}]
    ),
)
@example(
    model=CALIBRATED[2],
    engine=None,
    accelerator="NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition",
    count=8,
    context=32_768,
    sequences=64,
    asked={},
)
@settings(max_examples=40, deadline=None)
def test_other_weights_that_are_verified_work(
    *,
    model: str,
    engine: str | None,
    accelerator: str,
    count: int,
    context: int,
    sequences: int,
    asked: Json,
) -> None:
    """A fix that names another scheme is verified with the KV cache its patch leads to."""
    workload = {"context_tokens": context, "sequences": sequences}
    nodes = nodes_of(accelerator, 1, count)
    question = request(nodes, model, workload=workload, rejection_limit=12, **asked)
    if engine:
        question["engine"] = {"name": engine}
    offered = [r["nearest_fix"] for r in answer(CATALOG, question)["rejections"]]
    others = {
        fix["patch"]["quantization"]: fix
        for fix in offered
        if fix and fix["verified"] and "quantization" in (fix["patch"] or {})
    }
    assert [] == [name for name, fix in others.items() if not feasible(fixed(question, fix))]


@given(question=questions())
@settings(max_examples=60, deadline=None)
def test_plans_are_sound(question: Json) -> None:
    """Every plan passes the independent checker, its constraints, times and reserves with it."""
    usable = {
        node["name"]: CATALOG.accelerators[node["accelerator"]].usable_bytes
        for node in question["inventory"]["nodes"]
    }
    experts = 0 if question["model"]["id"] in MODELS[:2] else 128
    plans = answer(CATALOG, {**question, "limit": 20})["plans"]
    assert [] == [
        fault
        for one in plans
        for fault in faults(question, one, usable_bytes=usable, experts=experts)
    ]


@given(question=questions())
@settings(max_examples=40, deadline=None)
def test_what_may_be_replanned_can_be(question: Json) -> None:
    """Whichever node is lost, the first plan's split finds room on those that are left."""
    question["constraints"]["node_loss"] = "replan"
    question["constraints"].pop("reserved", None)  # which nodes are spare would change
    plans = answer(CATALOG, question)["plans"]
    if not plans:
        return
    kept = ("tensor", "pipeline", "data", "expert", "replicas")
    degrees = {name: plans[0]["split"][name] for name in kept}
    again = {**question, "constraints": {**degrees, "accelerators": [plans[0]["accelerator"]]}}
    nodes = question["inventory"]["nodes"]
    for lost in nodes:
        left = [node for node in nodes if node is not lost]
        assert left, "there was one node only"
        assert feasible({**again, "inventory": {"nodes": left}}), lost


@given(question=questions())
@settings(max_examples=40, deadline=None)
def test_shortfalls_are_exact(question: Json) -> None:
    """As many nodes of a type as are lacking make a plan on it possible, one fewer does not."""
    nodes = question["inventory"]["nodes"]
    shortfall = answer(CATALOG, question)["shortfall"] or {"accelerators": {}}
    for accelerator, lacking in shortfall["accelerators"].items():
        each = max(node["count"] for node in nodes if node["accelerator"] == accelerator)
        number, odd = divmod(lacking, each)
        alone = {**question["constraints"], "accelerators": [accelerator]}
        there = {**question, "constraints": alone}
        verdicts = [
            feasible(with_nodes(there, accelerator, more, each)) for more in (number - 1, number)
        ]
        assert ([False, True], 0) == (verdicts, odd)


@given(question=questions(), more=st.sampled_from(TYPES), each=st.integers(1, 8))
@settings(max_examples=40, deadline=None)
def test_more_nodes_never_hurt(question: Json, more: str, each: int) -> None:
    """A feasible inventory stays so when a node of any type is added."""
    assert feasible(question) <= feasible(with_nodes(question, more, 1, each))


@given(question=questions())
@settings(max_examples=40, deadline=None)
def test_rejections_add_up(question: Json) -> None:
    """Over all rejections listed, `alike` sums up to the total; an infeasible answer has some."""
    found = answer(CATALOG, question)
    alike = [rejection["alike"] for rejection in found["rejections"]]
    assert found["rejections_total"] == sum(alike)
    assert found["feasible"] or alike


@given(
    model=st.sampled_from(MODELS),
    accelerator=st.sampled_from(TYPES),
    count=st.sampled_from([1, 2, 4, 6]),
    engine=ENGINES,
    tokens=st.sampled_from([1000, 32_000]),
)
@settings(max_examples=12, deadline=None)
def test_no_split_is_missed(
    model: str, accelerator: str, count: int, engine: str | None, tokens: int
) -> None:
    """On one node the plans are the splits that the memory question finds feasible, all of them.

    And those beside them that take a list of layers.
    """
    workload = {"context_tokens": tokens, "sequences": 1}
    question = request(nodes_of(accelerator, 1, count), model, workload=workload, limit=100)
    if engine:
        question["engine"] = {"name": engine}
    plans = answer(CATALOG, question)["plans"]
    even = {_degrees(one["split"]) for one in plans if one["layers_by_stage"] is None}
    uneven = {_degrees(one["split"]) for one in plans if one["layers_by_stage"] is not None}
    fitting = _by_brute_force(question, count)
    assert (fitting, set()) == (even, uneven & fitting)


def _degrees(split: Json) -> tuple[int, ...]:
    return split["tensor"], split["pipeline"], split["data"], split["expert"]


def _by_brute_force(question: Json, count: int) -> set[tuple[int, ...]]:
    """The splits of up to `count` devices that fit; dense models are not repeated as data ranks."""
    mixture = any(name in question["model"]["id"] for name in ("A3B", "oss"))
    asked = {name: question[name] for name in ("model", "workload", "engine") if name in question}
    accelerator = question["inventory"]["nodes"][0]["accelerator"]
    degrees = range(1, count + 1)
    found = set()
    for tensor, pipeline, data in product(degrees, degrees, degrees if mixture else (1,)):
        if tensor * pipeline * data > count:
            continue
        for expert in range(1, (tensor * data if mixture else 1) + 1):
            if tensor * data % expert:
                continue
            split = Split(tensor=tensor, pipeline=pipeline, data=data, expert=expert)
            if _fits({**asked, "accelerator": accelerator, "split": msgspec.to_builtins(split)}):
                found.add((tensor, pipeline, data, expert))
    return found


def _fits(question: Json) -> bool:
    asked = msgspec.convert(question, MemoryRequest)
    return bool(answer_memory(asked, CATALOG, device_reserve=RESERVE).feasible)
