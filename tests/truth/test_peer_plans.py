"""What other planners placed, refused or found too small, asked of Rackfit as a caller would.

Where an answer differs from theirs, its test has both numbers and what lies between them.
"""

from typing import Any

import pytest

import truths
from planning.asking import answer, nodes_of, request
from published import CONFIGS

Json = dict[str, Any]
CASES = {case["id"]: case for case in truths.cases("peer_cases.json")}
GIB = truths.GIB
H100, H200 = "NVIDIA-H100-80GB-HBM3", "NVIDIA-H200"
RTX_3090, RTX_4090 = "NVIDIA-GeForce-RTX-3090", "NVIDIA-GeForce-RTX-4090"
RTX_4080: Any = {"id": "NVIDIA-GeForce-RTX-4080", "usable_bytes": 16_750_372_454}
"""An accelerator of 15.6 GiB that the catalog does not have, as a caller describes it."""

LLAMA_CPP = {"name": "llama.cpp"}
VLLM = {"name": "vllm", "gpu_memory_utilization": 0.9}
R1, V3 = "deepseek-ai/DeepSeek-R1", "deepseek-ai/DeepSeek-V3"
QWEN = "Qwen/Qwen3-32B"
EIGHT_THOUSAND = {"context_tokens": 8192, "sequences": 1}


def expect(case: str) -> Json:
    """Return what a case expects."""
    expected: Json = CASES[case]["expect"]
    return expected


def planned(nodes: list[Json], model: str, **more: Any) -> Json:  # noqa: ANN401 (any JSON)
    """Plan a model on nodes."""
    return answer(truths.catalog(), request(nodes, model, **more))


def asked(nodes: list[Json], card: Json, **more: Any) -> Json:  # noqa: ANN401 (any JSON)
    """Plan a model as a card describes it."""
    return answer(truths.catalog(), request(nodes, **more) | {"model": {"card": card}})


def codes(found: Json) -> set[str]:
    """Return what an answer refuses splits for."""
    return {rejection["code"] for rejection in found["rejections"]}


def test_r1_skips_consumer_nodes_and_one_node_of_eight() -> None:
    """Theirs takes two whole nodes of H100; as many hold it here, and 12 of their devices do."""
    nodes = [*nodes_of(RTX_4090, 2, 1, "old"), *nodes_of(H100, 4, prefix="new")]
    theirs = expect("gs-r1-2x8h100")
    whole = planned(nodes, R1, engine=VLLM, constraints={"tensor": 8, "pipeline": 2, "data": 1})
    plan = whole["plans"][0]
    assert (theirs["gpus"], theirs["nodes"]) == (plan["accelerators"], len(plan["nodes"]))
    assert ["new-0", "new-1"] == plan["nodes"]
    claimed = theirs["per_gpu_claim"]
    assert claimed > max(rank["memory"]["total_bytes"] for rank in plan["ranks"])

    fewest = planned(nodes, R1, engine=VLLM)["plans"][0]
    assert 12 == fewest["accelerators"]
    assert theirs["nodes"] == len(fewest["nodes"])
    assert {"tensor": 4, "data": 3, "expert": 12}.items() <= fewest["split"].items()
    assert not planned(nodes[:3], R1, engine=VLLM)["feasible"]


def test_v32_takes_one_node_and_six_of_its_devices_would_do() -> None:
    """Theirs claims nine tenths of eight; ours has the rows it caches, and room for more."""
    theirs = expect("gs-v32-h200")
    nodes, model = nodes_of(H200, 1), "deepseek-ai/DeepSeek-V3.2"
    plan = planned(nodes, model, engine=VLLM, constraints={"tensor": 8})["plans"][0]
    assert (theirs["gpus"], theirs["nodes"]) == (plan["accelerators"], len(plan["nodes"]))
    assert theirs["per_gpu_claim"] > plan["ranks"][0]["memory"]["total_bytes"]
    assert 6 == planned(nodes, model, engine=VLLM)["plans"][0]["accelerators"]
    assert not planned(nodes, model, engine=VLLM, constraints={"max_accelerators": 5})["feasible"]


def test_three_stages_are_on_three_nodes_of_one_device() -> None:
    """As theirs, once three stages are insisted on; one device would do."""
    theirs, nodes = expect("gs-pp3"), nodes_of(RTX_4090, 3, 1)
    (plan,) = planned(nodes, "Qwen/Qwen3-0.6B", engine=VLLM, constraints={"pipeline": 3})["plans"]
    assert theirs["nodes"] == len(plan["nodes"])
    each = {node: [r["node"] for r in plan["ranks"]].count(node) for node in plan["nodes"]}
    assert {theirs["gpus_per_node"]} == set(each.values())
    assert 1 == planned(nodes, "Qwen/Qwen3-0.6B", engine=VLLM)["plans"][0]["accelerators"]


def test_qwen_does_not_fit_two_nodes_of_two_small_devices() -> None:
    """Refused by both: 0.9 of 4 x 15.6 GiB is less than the weights alone."""
    found = planned(nodes_of(RTX_4080, 2, 2), QWEN, engine=VLLM)
    assert expect("gs-qwen32-nofit-2n")["fits"] == found["feasible"]
    assert codes(found) == {"weights-exceed-memory"}
    theirs = expect("gs-qwen32-nofit-2n")["effective_gib"]
    ours = 4 * found["rejections"][0]["numbers"]["budget_bytes"] / GIB
    weights = truths.ask({"model": {"id": QWEN}, "workload": EIGHT_THOUSAND}).weights_bytes / GIB
    assert ours < theirs < weights


def test_an_odd_vocabulary_is_padded_and_not_refused() -> None:
    """Theirs divides 10,001 rows by 4; vLLM divides 10,048, the next multiple of 64.

    Rows are of 6,272 elements: of memory taken in 2 MiB, 2,501 take one less than 2,512.
    """
    assert "10001" in expect("gs-omni-vocab")["why"]
    config = CONFIGS["meta-llama/Meta-Llama-3.1-8B"] | {"hidden_size": 6272, "head_dim": 128}
    sizes = {}
    for rows in (9_984, 10_001, 10_048):
        question = {
            "model": {"config": config | {"vocab_size": rows}},
            "engine": VLLM,
            "workload": EIGHT_THOUSAND,
            "split": {"tensor": CASES["gs-omni-vocab"]["input"]["gpus"]},
            "accelerator": H100,
        }
        found = truths.ask(question)
        assert found.feasible
        sizes[rows] = found.ranks[0].weights_bytes
    assert sizes[9_984] < sizes[10_001] == sizes[10_048]


def test_llama_70b_takes_three_small_devices() -> None:
    """As many as theirs; 5 % less in all, whose estimate has more of the engine's own."""
    theirs = expect("gs-gguf-llama70b-3x4080")
    model = "meta-llama/Meta-Llama-3-70B"
    question = {"engine": LLAMA_CPP, "quantization": "Q4_K_M", "workload": EIGHT_THOUSAND}
    nodes = nodes_of(RTX_4080, 1, 4)
    plan = planned(nodes, model, **question)["plans"][0]
    assert theirs["gpus"] == plan["accelerators"]
    ours = sum(rank["memory"]["total_bytes"] for rank in plan["ranks"])
    assert ours / sum(theirs["vram"]) == pytest.approx(0.949, abs=0.005)
    assert not planned(nodes_of(RTX_4080, 1, 2), model, **question)["feasible"]


def test_llama_8b_is_wholly_on_one_device() -> None:
    """All 33 layers, theirs and ours within 1 %; the embedding stays in the host's memory."""
    theirs = expect("gs-gguf-llama8b-4090")
    question = {"engine": LLAMA_CPP, "quantization": "Q4_K_M", "workload": EIGHT_THOUSAND}
    plan = planned(nodes_of(RTX_4090, 1, 1), "meta-llama/Meta-Llama-3-8B", **question)["plans"][0]
    (rank,) = plan["ranks"]
    assert theirs["vram"][0] == pytest.approx(rank["memory"]["total_bytes"], rel=0.01)


def test_r1_fits_eight_devices_once_its_cache_is_counted_as_latent_rows() -> None:
    """Theirs caches 128 heads of 192 + 128 and offloads 55 layers of 62; llama.cpp keeps 576."""
    theirs = expect("gs-gguf-r1-iq2xxs-8x3090")
    question = {"engine": LLAMA_CPP, "quantization": "IQ2_XXS", "workload": EIGHT_THOUSAND}
    nodes = nodes_of(RTX_3090, 1)
    plan = planned(nodes, R1, **question)["plans"][0]
    ours = [rank["memory"] for rank in plan["ranks"]]
    rows = sum(rank["kv_cache_bytes"] for rank in ours)
    heads = 61 * 128 * (192 + 128) * 2 * 8192
    assert 61 * 576 * 2 * 8192 == rows
    total = sum(rank["total_bytes"] for rank in ours)
    room = 8 * truths.catalog().accelerator(RTX_3090, "")[0].usable_bytes
    assert total < room < total - rows + heads < int(theirs["note"].split()[-2])
    assert theirs["offload_layers"] < 62


def test_v3_takes_twelve_devices_where_theirs_rounds_ten_up_to_sixteen() -> None:
    """Two are far too few and ten do not divide its heads; three data ranks of TP4 hold it.

    Theirs counts 656.5 GiB of weights and ours 626.9, without the layer that drafts.
    """
    theirs = expect("bl-dsv3-h100")
    two = planned(nodes_of(H100, 1, 2), V3, engine=VLLM, constraints={"tensor": 2})
    assert theirs["fits"] == two["feasible"]
    nodes = nodes_of(H100, 4)
    asked = {"tensor": theirs["min_gpus"], "pipeline": 1, "data": 1}
    assert {"heads-not-divisible"} == codes(planned(nodes, V3, engine=VLLM, constraints=asked))
    ten = planned(nodes, V3, engine=VLLM, constraints={"max_accelerators": theirs["min_gpus"]})
    assert not ten["feasible"]
    assert 12 == planned(nodes, V3, engine=VLLM)["plans"][0]["accelerators"]
    weights = truths.ask({"model": {"id": V3}, "workload": EIGHT_THOUSAND}).weights_bytes / GIB
    assert weights == pytest.approx(626.9, abs=0.1)
    assert weights < theirs["breakdown"]["weights"]


def test_tensor_ranks_alone_are_sixteen_for_671_gib() -> None:
    """Theirs lets them leave a node; ours where nodes share a domain, and else makes stages."""
    theirs, given = expect("aic-mintp-multi"), CASES["aic-mintp-multi"]["input"]
    device: Any = {"id": "accelerator-of-80-gib", "usable_bytes": given["gpu_gib"] * GIB}
    card = {
        "parameters": given["weights_gib"] * GIB,
        "layers": 64,
        "hidden_size": 8192,
        "heads": 64,
        "kv_heads": 8,
        "head_dim": 128,
        "context_tokens": 8192,
    }
    more = {"quantization": "fp8", "workload": EIGHT_THOUSAND}
    number = given["total"] // given["gpus_per_node"]
    joined = [{**node, "domain": "rack"} for node in nodes_of(device, number)]
    tensor = {"pipeline": 1, "data": 1}
    found = asked(joined, card, **more, constraints=tensor)["plans"][0]
    assert theirs["tp_needed"] == theirs["min_gpus"] == found["split"]["tensor"]
    apart = nodes_of(device, number)
    sixteen = {"tensor": theirs["tp_needed"]}
    assert {"domain-too-small"} == codes(asked(apart, card, **more, constraints=sixteen))
    staged = asked(apart, card, **more, constraints={"tensor": given["gpus_per_node"]})["plans"][0]
    assert theirs["min_gpus"] == staged["accelerators"]
