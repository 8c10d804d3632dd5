"""Plans end to end: from a request's JSON to an answer's, checked from first principles."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planning.asking import answer, nodes_of, request
from planning.checker import faults
from rackfit.catalog import load_catalog
from rackfit.errors import InvalidInput
from rackfit.planning.plan import plan
from rackfit.planning.question import PlanRequest

Json = dict[str, Any]
CATALOG = load_catalog()
H200, H100, L40S = "NVIDIA-H200", "NVIDIA-H100-80GB-HBM3", "NVIDIA-L40S"
CARD = "deepseek-v4-pro"
LONG = {"context_tokens": 1_048_576, "sequences": 1}


def check(question: Json, found: Json, experts: int) -> list[str]:
    """Faults of all plans of an answer."""
    usable = {
        node["name"]: CATALOG.accelerator(node["accelerator"], "")[0].usable_bytes
        for node in question["inventory"]["nodes"]
    }
    return [
        fault
        for one in found["plans"]
        for fault in faults(question, one, usable_bytes=usable, experts=experts)
    ]


def test_card_at_q4_and_a_million_tokens_fits_four_nodes_of_h200() -> None:
    """The reference workload has sound plans on 32 H200, fewest accelerators first."""
    question = request(nodes_of(H200, 4), quantization="Q4_K_M", workload=LONG)
    found = answer(CATALOG, question)
    counts = [one["accelerators"] for one in found["plans"]]
    assert (found["feasible"], found["complete"], len(counts)) == (True, True, 5)
    assert counts == sorted(counts)
    assert check(question, found, experts=256) == []


def test_card_does_not_fit_one_node_of_h100_and_the_answer_says_what_lacks() -> None:
    """One node of 8 H100 is short; bytes and accelerators say by how much."""
    question = request(nodes_of(H100, 1), quantization="Q4_K_M", workload=LONG)
    found = answer(CATALOG, question)
    assert (found["feasible"], found["plans"]) == (False, [])
    assert found["shortfall"]["bytes"] > 0
    more = found["shortfall"]["accelerators"][H100]
    larger = request(nodes_of(H100, 1 + more // 8), quantization="Q4_K_M", workload=LONG)
    assert answer(CATALOG, larger)["feasible"]
    smaller = request(nodes_of(H100, more // 8), quantization="Q4_K_M", workload=LONG)
    assert not answer(CATALOG, smaller)["feasible"]


def test_no_smaller_plan_exists_than_the_first_one() -> None:
    """With one accelerator fewer allowed, nothing fits."""
    question = request(nodes_of(H200, 4), quantization="Q4_K_M", workload=LONG)
    fewest = answer(CATALOG, question)["plans"][0]["accelerators"]
    question["constraints"] = {"max_accelerators": fewest - 1}
    assert not answer(CATALOG, question)["feasible"]


def test_each_replica_stays_on_one_type_of_a_mixed_inventory() -> None:
    """On H200 beside H100 every plan names one type and uses its nodes only."""
    nodes = [*nodes_of(H100, 3, prefix="old"), *nodes_of(H200, 2, prefix="new")]
    question = request(nodes, quantization="Q4_K_M", workload=LONG)
    found = answer(CATALOG, question)
    prefixes = {H100: "old", H200: "new"}
    kept = [
        all(name.startswith(prefixes[one["accelerator"]]) for name in one["nodes"])
        for one in found["plans"]
    ]
    assert found["feasible"]
    assert all(kept)
    assert check(question, found, experts=256) == []


def test_expert_parallel_ranks_hold_each_expert_once() -> None:
    """TP8 DP2 EP16 puts experts 0-15 on the first rank and all 256 on one rank each."""
    degrees = {"tensor": 8, "data": 2, "pipeline": 1, "expert": 16}
    question = request(nodes_of(H200, 4), quantization="Q4_K_M", constraints=degrees)
    found = answer(CATALOG, question)
    (one,) = found["plans"]
    assert one["ranks"][0]["experts"] == "0-15"
    assert one["ranks"][15]["experts"] == "240-255"
    assert check(question, found, experts=256) == []


def test_expert_tensor_ranks_hold_all_experts() -> None:
    """Under expert tensor parallelism alone each rank holds a slice of every expert."""
    degrees = {"tensor": 8, "data": 1, "pipeline": 2, "expert": 1}
    question = request(nodes_of(H200, 4), quantization="Q4_K_M", constraints=degrees)
    (one,) = answer(CATALOG, question)["plans"]
    assert {rank["experts"] for rank in one["ranks"]} == {"0-255"}


def test_dense_models_have_no_experts_and_grow_by_replicas() -> None:
    """More sequences than one replica holds are served by more replicas."""
    workload = {"context_tokens": 32_768, "sequences": 64}
    question = request(
        nodes_of(L40S, 4),
        "meta-llama/Llama-3.1-8B-Instruct",
        workload=workload,
        constraints={"tensor": 1, "pipeline": 1},
    )
    found = answer(CATALOG, question)
    assert found["plans"][0]["split"]["replicas"] > 1
    assert {rank["experts"] for rank in found["plans"][0]["ranks"]} == {None}
    assert check(question, found, experts=0) == []


def test_tensor_groups_span_nodes_of_one_nvl72_domain_only() -> None:
    """GB200 trays of 4 that share a rack's domain can hold a tensor group of 8."""
    rack = [{**node, "domain": "rack-1"} for node in nodes_of("NVIDIA-GB200", 4, each=4)]
    question = request(rack, quantization="Q4_K_M", constraints={"tensor": 8})
    found = answer(CATALOG, question)
    assert found["feasible"]
    assert check(question, found, experts=256) == []
    apart = request(
        nodes_of("NVIDIA-GB200", 4, each=4), quantization="Q4_K_M", constraints={"tensor": 8}
    )
    refused = answer(CATALOG, apart)
    assert [r["code"] for r in refused["rejections"]] == ["domain-too-small"]


def test_illegal_tensor_degree_is_refused_with_the_nearest_legal_one() -> None:
    """TP3 of 64 heads is a rejection that offers a degree which works, and its patch does."""
    question = request(nodes_of(H200, 4), quantization="Q4_K_M", constraints={"tensor": 3})
    found = answer(CATALOG, question)
    (refusal,) = found["rejections"]
    assert refusal["code"] == "heads-not-divisible"
    assert refusal["numbers"] == {"heads": 64, "tensor": 3}
    patched = {**question, **refusal["nearest_fix"]["patch"]}
    assert answer(CATALOG, patched)["feasible"] == refusal["nearest_fix"]["verified"]


def test_verified_fixes_work_when_they_are_applied() -> None:
    """Every verified fix with a patch makes its split feasible once merged into the request."""
    question = request(nodes_of(H200, 2), quantization="Q8_0", workload=LONG)
    found = answer(CATALOG, question)
    fixes = [r["nearest_fix"] for r in found["rejections"] if r["nearest_fix"]]
    patches = [fix["patch"] for fix in fixes if fix["verified"] and fix["patch"]]
    assert patches
    for patch in patches:
        workload = {**question["workload"], **patch.get("workload", {})}
        assert answer(CATALOG, {**question, **patch, "workload": workload})["feasible"], patch


def test_partly_used_devices_lower_the_utilization_that_is_printed() -> None:
    """Half-free devices are planned for what is free, and the launch says so."""
    free = [70 << 30] * 8
    nodes = [{**node, "free_bytes": free} for node in nodes_of(H200, 1)]
    engine = {"name": "vllm"}
    question = request(nodes, "Qwen/Qwen3-30B-A3B", engine=engine)
    found = answer(CATALOG, question)
    launch = found["plans"][0]["launch"]
    usable = CATALOG.accelerators[H200].usable_bytes
    assert launch["gpu_memory_utilization"] == (70 << 30) * 1000 // usable / 1000
    assert f"--gpu-memory-utilization={launch['gpu_memory_utilization']:g}" in launch["arguments"]
    assert check(question, found, experts=128) == []


def test_adding_a_node_never_makes_a_feasible_inventory_infeasible() -> None:
    """Feasibility is monotone in nodes, whatever type is added."""
    for count in range(1, 5):
        nodes = nodes_of(H200, count)
        if answer(CATALOG, request(nodes, quantization="Q4_K_M", workload=LONG))["feasible"]:
            more = [*nodes, *nodes_of(L40S, 1, each=3, prefix="odd")]
            again = request(more, quantization="Q4_K_M", workload=LONG)
            assert answer(CATALOG, again)["feasible"]


def test_identical_nodes_cost_nothing_more() -> None:
    """A thousand nodes of one shape evaluate no more splits than a hundred."""
    few = answer(CATALOG, request(nodes_of(H200, 100), quantization="Q4_K_M", workload=LONG))
    many = answer(CATALOG, request(nodes_of(H200, 1000), quantization="Q4_K_M", workload=LONG))
    assert many["splits_evaluated"] == few["splits_evaluated"]


def test_of_very_many_ranks_the_first_replicas_are_listed() -> None:
    """A deployment of 12,000 ranks names every node and lists whole replicas within a bound."""
    workload = {"context_tokens": 8192, "sequences": 1_500_000}
    question = request(nodes_of(H200, 4000), "Qwen/Qwen2.5-7B-Instruct", workload=workload, limit=1)
    (one,) = answer(CATALOG, question)["plans"]
    replica = one["accelerators"] // one["split"]["replicas"]
    assert one["accelerators"] > len(one["ranks"]) == one["replicas_listed"] * replica
    assert len(one["nodes"]) * 8 >= one["accelerators"]


def test_expired_search_says_that_it_is_incomplete() -> None:
    """A search without time returns what it has and is marked incomplete."""
    decoded = msgspec.convert(request(nodes_of(H200, 4)), PlanRequest)
    found = plan(decoded, CATALOG, device_reserve=0.1, expired=lambda: True)
    assert not found.complete


def test_every_fault_of_an_inventory_is_told_at_once() -> None:
    """Unknown accelerators, duplicate names and impossible free memory are listed together."""
    nodes = [
        {"name": "a", "accelerator": "h1000", "count": 8},
        {"name": "a", "accelerator": H200, "count": 1, "free_bytes": [1 << 40]},
        {"name": "b", "accelerator": H200, "count": 2, "free_bytes": [1]},
    ]
    with pytest.raises(InvalidInput) as caught:
        answer(CATALOG, request(nodes))
    pointers = [violation.pointer for violation in caught.value.violations]
    assert pointers == [
        "/inventory/nodes/0/accelerator",
        "/inventory/nodes/1/name",
        "/inventory/nodes/1/free_bytes/0",
        "/inventory/nodes/2/free_bytes",
    ]


def test_context_beyond_the_models_is_refused() -> None:
    """The card's context ends at 1,048,576 tokens."""
    workload = {"context_tokens": 1_048_577, "sequences": 1}
    with pytest.raises(InvalidInput) as caught:
        answer(CATALOG, request(nodes_of(H200, 4), workload=workload))
    assert caught.value.violations[0].pointer == "/workload/context_tokens"


@pytest.mark.parametrize(
    ("constraints", "code"),
    [
        ({"pipeline": 81}, "more-stages-than-layers"),
        ({"tensor": 8, "data": 2, "expert": 3}, "constraint"),
        ({"tensor": 8, "pipeline": 5}, "not-enough-accelerators"),
        ({"accelerators": ["NVIDIA-L4"]}, "constraint"),
        ({"max_accelerators": 1}, "weights-exceed-memory"),
        ({"replicas": 9, "tensor": 8, "pipeline": 2, "data": 1}, "not-enough-accelerators"),
        ({"tensor": 16}, "domain-too-small"),
    ],
)
def test_contradictory_constraints_explain_themselves(constraints: Json, code: str) -> None:
    """What cannot be met is refused with the code that says why."""
    question = request(nodes_of(H200, 4), quantization="Q4_K_M", constraints=constraints)
    found = answer(CATALOG, question)
    assert not found["feasible"]
    assert code in [refusal["code"] for refusal in found["rejections"]]


def test_given_replicas_share_the_sequences() -> None:
    """Too many sequences for the replicas insisted on is a lack of memory, in numbers."""
    question = request(
        nodes_of(H200, 4),
        quantization="Q4_K_M",
        workload={"context_tokens": 1_048_576, "sequences": 40},
        constraints={"tensor": 8, "pipeline": 2, "data": 1, "replicas": 2, "expert": 8},
    )
    (refusal,) = answer(CATALOG, question)["rejections"]
    assert refusal["code"] == "memory-exceeded"
    assert refusal["numbers"]["kv_cache_bytes"] == 20 * 40 * 1024 * 1_048_576 // 2


def test_the_same_request_gives_the_same_bytes() -> None:
    """Planning is deterministic."""
    question = request(nodes_of(H200, 4), quantization="Q4_K_M", workload=LONG)
    assert answer(CATALOG, question) == answer(CATALOG, question)


NODES = st.lists(
    st.fixed_dictionaries(
        {
            "accelerator": st.sampled_from([H200, H100, L40S, "NVIDIA-GB200"]),
            "count": st.sampled_from([1, 2, 3, 4, 8]),
            "domain": st.sampled_from([None, None, "rack-1", "rack-2"]),
            "free": st.sampled_from([None, None, 0.25, 0.7]),
        }
    ),
    min_size=1,
    max_size=5,
)


def _named(drawn: list[Json]) -> list[Json]:
    nodes = []
    for number, node in enumerate(drawn):
        usable = CATALOG.accelerators[node["accelerator"]].usable_bytes
        made = {"name": f"n{number}", "accelerator": node["accelerator"], "count": node["count"]}
        if node["domain"]:
            made["domain"] = f"{node['domain']}-{node['accelerator']}"
        if node["free"]:
            made["free_bytes"] = [usable, *[int(usable * node["free"])] * (node["count"] - 1)]
        nodes.append(made)
    return nodes


def test_nodes_are_in_the_order_of_their_first_rank() -> None:
    """A stage's data ranks share a node, but ranks count through the stages of each data rank."""
    least = CATALOG.accelerators[H100].usable_bytes // 2
    free = [2 * least, *[least] * 3]
    nodes = [
        {"name": name, "accelerator": H100, "count": 4, "domain": "rack", "free_bytes": bytes_free}
        for name, bytes_free in (("a", free), ("b", free), ("c", [2 * least] * 4))
    ]
    question = request(
        nodes,
        "deepseek-ai/DeepSeek-V2-Lite-Chat",
        workload={"context_tokens": 32_768, "sequences": 300},
        engine={"name": "tensorrt-llm"},
        constraints={"pipeline": 3, "data": 2},
    )
    plan = answer(CATALOG, question)["plans"][0]
    assert ["a", "c", "b"] == plan["nodes"]
    assert ["a", "c", "c", "b", "c", "c"] == [rank["node"] for rank in plan["ranks"]]


@given(
    drawn=NODES,
    model=st.sampled_from(
        [
            ("meta-llama/Llama-3.1-8B-Instruct", 0),
            ("Qwen/Qwen3-30B-A3B", 128),
            ("openai/gpt-oss-120b", 128),
            ("deepseek-ai/DeepSeek-V2-Lite-Chat", 64),
        ]
    ),
    engine=st.sampled_from([None, "vllm", "sglang", "tensorrt-llm"]),
    tokens=st.sampled_from([1, 4096, 32_768]),
    sequences=st.sampled_from([1, 7, 300]),
)
@settings(max_examples=60, deadline=None)
def test_every_plan_is_sound(
    drawn: list[Json], model: tuple[str, int], engine: str | None, tokens: int, sequences: int
) -> None:
    """Whatever the inventory, no plan overfills a device, splits a domain or loses an expert."""
    name, experts = model
    question = request(
        _named(drawn), name, workload={"context_tokens": tokens, "sequences": sequences}
    )
    if engine:
        question["engine"] = {"name": engine}
    found = answer(CATALOG, question)
    assert check(question, found, experts) == []
    assert found["feasible"] == bool(found["plans"])
    assert found["rejections_total"] >= len(found["rejections"])
