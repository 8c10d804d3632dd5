"""Rejections as they are counted and listed, and what an infeasible inventory lacks."""

from typing import Any

import pytest

from planning.asking import answer, nodes_of, request, with_nodes
from rackfit.catalog import load_catalog
from rackfit.errors import InvalidInput

Json = dict[str, Any]
CATALOG = load_catalog()
H200, H100, L40S, L4 = "NVIDIA-H200", "NVIDIA-H100-80GB-HBM3", "NVIDIA-L40S", "NVIDIA-L4"
MIXTURE, DENSE, LARGE = "Qwen/Qwen3-30B-A3B", "Qwen/Qwen3-32B", "deepseek-ai/DeepSeek-V3.1"
GIB = 1 << 30


@pytest.mark.parametrize("reverse", [False, True])
def test_every_type_of_accelerator_says_why_not(reverse: bool) -> None:  # noqa: FBT001 (a parameter of the test)
    """Two L4, too few for four stages, do not hide what is wrong with eight L40S."""
    nodes = [*nodes_of(L40S, 1, prefix="a"), *nodes_of(L4, 1, each=2, prefix="b")]
    nodes = nodes[::-1] if reverse else nodes
    question = request(nodes, LARGE, constraints={"pipeline": 4})
    found = answer(CATALOG, question)
    assert {L40S, L4} == {rejection["accelerator"] for rejection in found["rejections"]}
    assert {L40S: 16, L4: 38} == found["shortfall"]["accelerators"]


def test_a_type_with_nothing_to_try_says_so_beside_a_plan_on_another() -> None:
    """A plan on H200 leaves the two L4 that cannot hold four stages among the rejections."""
    nodes = [*nodes_of(H200, 1, prefix="a"), *nodes_of(L4, 1, each=2, prefix="b")]
    found = answer(CATALOG, request(nodes, DENSE, constraints={"pipeline": 4}))
    codes = {r["code"] for r in found["rejections"] if r["accelerator"] == L4}
    assert (True, {"not-enough-accelerators"}) == (found["feasible"], codes)


@pytest.mark.parametrize("engine", ["vllm", "sglang", "tensorrt-llm", "llama.cpp"])
def test_splits_refused_alike_are_counted_so_that_all_add_up(engine: str) -> None:
    """Over all rejections of a mixed inventory, `alike` sums up to the total."""
    nodes = [*nodes_of(L40S, 1, prefix="a"), *nodes_of(L4, 1, prefix="b")]
    question = request(nodes, LARGE, engine={"name": engine}, rejection_limit=10_000)
    found = answer(CATALOG, question)
    alike = [rejection["alike"] for rejection in found["rejections"]]
    assert found["rejections_total"] == sum(alike)


def test_the_domain_label_is_offered_to_tensor_groups_across_nodes() -> None:
    """TP8 over trays of four that do not say that they share a domain is told how to."""
    trays = nodes_of("NVIDIA-GB200", 4, each=4)
    question = request(trays, quantization="Q4_K_M", constraints={"tensor": 8})
    (refusal,) = answer(CATALOG, question)["rejections"]
    assert "are joined by giving them the same `domain`" in refusal["detail"]
    assert "no engine's rule" in refusal["source"]


def test_groups_larger_than_a_domain_are_refused_whatever_else_they_break() -> None:
    """TP16 of experts that it would cut through is too large for a node of eight all the same."""
    question = request(nodes_of(H200, 4), LARGE, constraints={"tensor": 16})
    (refusal,) = answer(CATALOG, question)["rejections"]
    assert "domain-too-small" == refusal["code"]


def test_the_bytes_that_lack_are_those_of_the_whole_workload() -> None:
    """100 sequences on three L40S lack bytes in keeping with the accelerators that lack."""
    question = request(
        nodes_of(L40S, 1, each=3),
        DENSE,
        engine={"name": "vllm"},
        workload={"context_tokens": 32_768, "sequences": 100},
    )
    short = answer(CATALOG, question)["shortfall"]
    each = CATALOG.accelerators[L40S].usable_bytes
    more = short["accelerators"][L40S]
    assert more * each // 2 < short["bytes"] < more * each


def test_bytes_lack_in_proportion_to_the_sequences() -> None:
    """Twice the sequences on the same devices lack twice the cache more."""

    def lacking(sequences: int) -> int:
        workload = {"context_tokens": 32_768, "sequences": sequences}
        question = request(nodes_of(H100, 1, each=1), DENSE, workload=workload)
        short: int = answer(CATALOG, question)["shortfall"]["bytes"]
        return short

    a_sequence = 64 * 2 * 8 * 128 * 2 * 32_768
    assert [100 * a_sequence] * 2 == [lacking(200) - lacking(100), lacking(300) - lacking(200)]


def test_the_first_fix_on_a_mixed_inventory_loses_least() -> None:
    """Of the sequences that fit on L4, L40S or H100, the most are offered first."""
    nodes = [
        *nodes_of(L4, 1, each=4, prefix="a"),
        *nodes_of(L40S, 1, each=2, prefix="b"),
        *nodes_of(H100, 1, each=1, prefix="c"),
    ]
    question = request(
        nodes,
        DENSE,
        engine={"name": "llama.cpp"},
        quantization="Q8_0",
        kv_cache_dtype="q4_0",
        workload={"context_tokens": 40_960, "sequences": 24},
        constraints={"replicas": 1},
    )
    changes = [r["nearest_fix"] for r in answer(CATALOG, question)["rejections"]]
    offered = [int(c["change"].split("=")[1]) for c in changes if c and "sequences" in c["change"]]
    assert len(set(offered)) > 1
    assert max(offered) == offered[0]


def test_one_node_fewer_than_the_shortfall_is_too_few() -> None:
    """Partly used nodes lack as many more as it says, and not one fewer."""
    nodes = [{**node, "free_bytes": [20 * GIB, *[46 * GIB] * 3]} for node in nodes_of(L40S, 2, 4)]
    for node in nodes:
        node["free_bytes"] = [min(free, 44 * GIB) for free in node["free_bytes"]]
    question = request(nodes, DENSE, workload={"context_tokens": 40_960, "sequences": 40})
    more = answer(CATALOG, question)["shortfall"]["accelerators"][L40S] // 4
    verdicts = [
        answer(CATALOG, with_nodes(question, L40S, number, 4))["feasible"]
        for number in (more - 1, more)
    ]
    assert [False, True] == verdicts


@pytest.mark.parametrize("hosts", [35, 36, 40, 70])
def test_any_number_of_different_amounts_of_free_memory_is_looked_at(hosts: int) -> None:
    """35 replicas fit 35 of the hosts, each with half a GiB less free than the one before."""
    most = CATALOG.accelerators[H200].usable_bytes - GIB
    nodes = nodes_of(H200, hosts, each=1)
    for number, node in enumerate(nodes):
        node["free_bytes"] = [most - number * (GIB // 2)]
    question = request(
        nodes,
        DENSE,
        quantization="bf16",
        workload={"context_tokens": 40_960, "sequences": 175},
        constraints={"tensor": 1, "pipeline": 1, "replicas": 35},
    )
    (one,) = answer(CATALOG, question)["plans"]
    assert [node["name"] for node in nodes[:35]] == one["nodes"]


def test_prices_are_refused_where_they_stand() -> None:
    """A price of 0, and one of an unknown accelerator, have pointers to themselves."""

    def pointers(prices: Json) -> list[str]:
        with pytest.raises(InvalidInput) as caught:
            answer(CATALOG, request(nodes_of(H200, 1), MIXTURE, prices=prices))
        return [violation.pointer for violation in caught.value.violations]

    assert ["/prices/h100", "/prices/l40s"] == pointers({"h100": 0, "h200": 1, "l40s": -1})
    assert ["/prices/a~1b~0c"] == pointers({"a/b~c": 1.0})
    assert ["/prices/NVIDIA-H200"] == pointers({"h200": 1.0, "NVIDIA-H200": 2.0})


@pytest.mark.parametrize(
    ("described", "pointer"),
    [
        ({"input_tokens": 10_000, "output_tokens": 240}, "/workload/input_tokens"),
        ({"input_tokens": 1025}, "/workload/input_tokens"),
        ({"output_tokens": 1025}, "/workload/output_tokens"),
    ],
)
def test_a_request_longer_than_its_context_is_refused(described: Json, pointer: str) -> None:
    """Input and output together fit the context."""
    workload = {"context_tokens": 1024, **described}
    with pytest.raises(InvalidInput) as caught:
        answer(CATALOG, request(nodes_of(H200, 1), MIXTURE, workload=workload))
    assert pointer == caught.value.violations[0].pointer
