"""Plans whose devices divide sequences: found where an engine has them, in no other place."""

import json
from collections.abc import Sequence
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planning.asking import RESERVE, answer, nodes_of, request
from planning.checker import faults
from rackfit.catalog import load_catalog
from rackfit.engines.split import Split
from rackfit.inventory.model import Inventory
from rackfit.memory.answer import answer_memory
from rackfit.memory.question import MemoryRequest
from rackfit.memory.resolve import resolve_request
from rackfit.performance.estimate import Speeds
from rackfit.planning.asked import Question
from rackfit.planning.evaluation import Evaluator
from rackfit.planning.pools import read_pools
from rackfit.planning.question import Constraints
from rackfit.planning.ranking import Order
from rackfit.planning.search import Findings, search_pool
from rackfit.planning.seating import Ground

Json = dict[str, Any]
CATALOG = load_catalog()
B200, H200 = "NVIDIA-B200", "NVIDIA-H200"
LATENT, SPARSE = "deepseek-ai/DeepSeek-V3", "deepseek-ai/DeepSeek-V3.2"
EXPERTS = 256
LONG = {
    "context_tokens": 131_072,
    "sequences": 4,
    "input_tokens": 130_000,
    "output_tokens": 1000,
}
FLAGS = json.loads((Path(__file__).parent.parent / "engines/data/flags.json").read_text())


def asked(engine: str, model: str, accelerator: str, nodes: int, **more: Any) -> Json:  # noqa: ANN401
    """A question about few long sequences, by replicas of one phase each."""
    fixed = {"engine": {"name": engine}, "workload": LONG, "disaggregate": True}
    question = {**fixed, "launch": {"model": "/m"}, **more}
    return request(nodes_of(accelerator, nodes), model, **question)


def checked(question: Json) -> list[Json]:
    """The pairs of an answer, each side passed by the independent checker."""
    pairs: list[Json] = answer(CATALOG, question)["disaggregated"]
    assert [[]] * len(pairs) == [sound(question, pair) for pair in pairs]
    return pairs


def sound(question: Json, pair: Json) -> list[str]:
    """What the independent checker finds wrong with either side."""
    usable = {
        node["name"]: CATALOG.accelerators[node["accelerator"]].usable_bytes
        for node in question["inventory"]["nodes"]
    }
    reading = {**question, "workload": {**LONG, "sequences": 1}}
    return [
        *faults(question, pair["decode"], usable_bytes=usable, experts=EXPERTS),
        *faults(reading, pair["prefill"], usable_bytes=usable, experts=EXPERTS),
    ]


def test_helix_writes_long_sequences_faster_on_as_many_devices() -> None:
    """The engine is told so in its file of options, by names of its own documentation."""
    question = asked("tensorrt-llm", LATENT, B200, 2, limit=1)
    (pair,) = checked(question)
    split, launch = pair["decode"]["split"], pair["decode"]["launch"]
    assert (1, 1) == (pair["prefill"]["split"]["context"], split["data"])
    assert split["context"] > 1
    options = json.loads(*launch["files"].values())
    assert split["context"] == options["context_parallel_size"]
    assert {"cp_type": "HELIX", "tokens_per_block": 32} == options["cp_config"]
    cache = {"tokens_per_block": 32, "enable_block_reuse": False, "free_gpu_memory_fraction": 0.9}
    assert cache == options["kv_cache_config"]
    degrees = [word for word in launch["arguments"] if "_size" in word.partition("=")[0]]
    assert [f"--ep_size={split['expert']}"] == [d for d in degrees if d.startswith("--ep")]
    assert "--tp_size=1" in degrees


def test_tensor_ranks_that_are_asked_for_stay_tensor_ranks() -> None:
    """Slower they are; no plan of one kind of replicas has context ranks at all."""
    question = asked("tensorrt-llm", LATENT, B200, 2, limit=1)
    (free,) = checked(question)
    (bound,) = checked({**question, "constraints": {"tensor": 1}})
    assert 1 == bound["decode"]["split"]["context"]
    assert free["seconds_per_output_token"] < bound["seconds_per_output_token"]
    plans = answer(CATALOG, {**question, "disaggregate": False, "limit": 100})["plans"]
    assert {1} == {plan["split"]["context"] for plan in plans}


def test_nodes_have_room_for_cells_with_all_their_context_ranks() -> None:
    """Where replicas are kept apart as well."""
    inventory = msgspec.convert({"nodes": nodes_of(B200, 2, 7)}, Inventory)
    (pool,) = read_pools(inventory, CATALOG.accelerator).pools
    grounds = (
        Ground(split=split, pool=pool, level=0, cells=2)
        for split in (Split(tensor=4), Split(context=4), Split(tensor=2, context=2))
    )
    tensor, *others = [ground.rooms for ground in grounds]
    assert [tensor, tensor] == others


@given(
    on=st.sampled_from([("tensorrt-llm", LATENT, B200), ("sglang", SPARSE, H200)]),
    sizes=st.lists(st.integers(1, 8), min_size=1, max_size=8),
    objective=st.sampled_from(["fewest-accelerators", "lowest-latency"]),
    constraints=st.fixed_dictionaries(
        {},
        optional={
            "placement": st.just("spread"),
            "max_accelerators": st.sampled_from([8, 15, 21]),
            "max_seconds_per_output_token": st.sampled_from([0.008, 0.014]),
        },
    ),
)
@settings(max_examples=30, deadline=None)
def test_pairs_with_context_ranks_are_sound(
    on: tuple[str, str, str], sizes: list[int], objective: str, constraints: Json
) -> None:
    """On nodes of any size, spread or packed, by the independent checker."""
    nodes = [
        {"name": f"n{number}", "accelerator": on[2], "count": count}
        for number, count in enumerate(sizes)
    ]
    question = asked(*on, 0, objective=objective)
    question = {**question, "inventory": {"nodes": nodes}}
    plain = {**question, "constraints": {}}
    limits = {**question, "constraints": constraints}
    most = constraints.get("max_accelerators", 64)
    for pair in answer(CATALOG, limits)["disaggregated"]:
        assert pair["accelerators"] <= most
        assert [] == sound(plain, pair)


@pytest.mark.parametrize(
    ("engine", "model", "accelerator"),
    [
        ("tensorrt-llm", LATENT, H200),
        ("tensorrt-llm", "deepseek-ai/DeepSeek-V2-Lite", "rtx-pro-6000"),
        ("tensorrt-llm", SPARSE, B200),
        ("tensorrt-llm", "Qwen/Qwen3-Next-80B-A3B-Instruct", B200),
        ("sglang", SPARSE, B200),
        ("vllm", LATENT, B200),
    ],
)
def test_where_an_engine_has_none_no_plan_has(engine: str, model: str, accelerator: str) -> None:
    """Another device, another kind of attention, another engine."""
    pairs = answer(CATALOG, asked(engine, model, accelerator, 4, limit=20))["disaggregated"]
    found = {pair[side]["split"]["context"] for pair in pairs for side in ("prefill", "decode")}
    assert {1} == found


def test_sglang_reads_sparse_rows_by_context_ranks() -> None:
    """An indexer that tensor ranks would each repeat is divided; replicas that write have none."""
    question = asked("sglang", SPARSE, H200, 4, limit=20)
    divided = [p for p in checked(question) if p["prefill"]["split"]["context"] > 1]
    assert divided
    assert {1} == {pair["decode"]["split"]["context"] for pair in divided}
    for pair in divided:
        split, arguments = pair["prefill"]["split"], pair["prefill"]["launch"]["arguments"]
        used = {word.partition("=")[0] for word in arguments}
        assert set() == used - set(FLAGS["sglang"]["flags"])
        ranks = split["tensor"] * split["data"] * split["context"]
        told = {f"--tp-size={ranks}", f"--attn-cp-size={split['context']}"}
        assert {"--enable-prefill-cp", "--cp-strategy=interleave"} | told <= set(arguments)


@pytest.mark.parametrize(("version", "divided"), [("0.5.21", False), ("0.5.22", True)])
def test_sglang_divides_heads_besides_by_version(version: str, *, divided: bool) -> None:
    """Context ranks are all tensor ranks of a group, or some where the others divide heads."""
    question = asked("sglang", SPARSE, H200, 4, limit=100)
    question["engine"]["version"] = version
    splits = [pair["prefill"]["split"] for pair in checked(question)]
    reading = [split for split in splits if split["context"] > 1]
    assert reading
    assert divided == any(split["tensor"] * split["data"] > 1 for split in reading)


DEGREES = ("tensor", "data", "context", "pipeline")
ONE = {"context_tokens": 32_768, "sequences": 1}


def test_context_ranks_are_counted_as_devices() -> None:
    """Of two nodes of three none has room for four of a cell; five devices are five at most."""
    for nodes, most in (([3, 3], 6), ([8], 5)):
        found = _by_search(nodes, most)
        assert any(split.context > 1 for split in found)
        for split in found:
            cells = sum(size // (split.tensor * split.context) for size in nodes)
            assert split.data * split.pipeline <= cells
            assert prod(getattr(split, name) for name in DEGREES) <= most


def test_decode_splits_are_all_that_fit() -> None:
    """On one node: those that the memory question finds feasible, Helix's by brute force too."""
    found = _by_search([8])
    assert any(split.context > 1 for split in found)
    assert _by_brute_force(8) == found


def _by_search(nodes: Sequence[int], most: int | None = None) -> set[Split]:
    """The splits that the search finds for replicas that write."""
    about = {"model": {"id": LATENT}, "engine": {"name": "tensorrt-llm"}, "workload": ONE}
    asked_for = msgspec.convert(about, MemoryRequest)
    engine, subject = resolve_request(asked_for, CATALOG, RESERVE)
    question = Question(
        model=subject.model, engine=engine, tokens=32_768, sequences=1, most=most, phase="decode"
    )
    named = [node for n, size in enumerate(nodes) for node in nodes_of(B200, 1, size, f"n{n}")]
    inventory = msgspec.convert({"nodes": named}, Inventory)
    (pool,) = read_pools(inventory, CATALOG.accelerator).pools
    speeds = Speeds(subject.model, engine, CATALOG.efficiencies, 32_768)
    order = Order(objective="fewest-accelerators", speeds=speeds, workload=asked_for.workload)
    findings = Findings(limit=10_000, order=order)
    search_pool(Evaluator(question), pool, Constraints(), findings, lambda: False)
    return {fit.split for fit in findings.fits}


def _by_brute_force(devices: int) -> set[Split]:
    """Every split of so many devices at most that the memory question finds feasible."""
    every = product(*[range(1, devices + 1)] * len(DEGREES))
    found = set()
    for degrees in (degrees for degrees in every if prod(degrees) <= devices):
        stage = prod(degrees[:3])
        for expert in (degree for degree in range(1, stage + 1) if stage % degree == 0):
            split = Split(**dict(zip(DEGREES, degrees, strict=True)), expert=expert)
            if _feasible(split):
                found.add(split)
    return found


def _feasible(split: Split) -> bool:
    question = {
        "model": {"id": LATENT},
        "engine": {"name": "tensorrt-llm"},
        "workload": ONE,
        "accelerator": B200,
        "split": msgspec.to_builtins(split),
    }
    asked_for = msgspec.convert(question, MemoryRequest)
    return bool(answer_memory(asked_for, CATALOG, device_reserve=RESERVE).feasible)
