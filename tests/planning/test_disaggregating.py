"""Prefill and decode on replicas of their own: enough of each, no device twice, all in time."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planning.asking import answer, nodes_of, request
from planning.checker import faults, pair_faults
from rackfit.catalog import load_catalog
from rackfit.errors import InvalidInput

Json = dict[str, Any]
CATALOG = load_catalog()
H200, B200 = "NVIDIA-H200", "NVIDIA-B200"
DENSE = "Qwen/Qwen3-32B"
WORKLOAD = {"context_tokens": 8192, "sequences": 256, "input_tokens": 4000, "output_tokens": 500}
FLAGS = json.loads((Path(__file__).parent.parent / "engines/data/flags.json").read_text())


def asked(nodes: list[Json], **more: Any) -> Json:  # noqa: ANN401 (any JSON)
    """A question about a dense model that is served to many."""
    question = {"engine": {"name": "vllm"}, "workload": WORKLOAD, "disaggregate": True, **more}
    return request(nodes, DENSE, **question)


def pairs(question: Json) -> list[Json]:
    """The pairs of an answer."""
    found: list[Json] = answer(CATALOG, question)["disaggregated"]
    return found


def test_fewest_accelerators_come_first_and_replicas_keep_up() -> None:
    """The prefill replicas are busy, and one fewer would be too few."""
    found = pairs(asked(nodes_of(H200, 4)))
    sizes = [pair["accelerators"] for pair in found]
    assert sorted(sizes) == sizes
    for pair in found:
        number = pair["prefill"]["split"]["replicas"]
        assert number - 1 < pair["prefill_busy"] * number <= number


def test_what_is_served_is_what_the_decode_replicas_write() -> None:
    """Requests a second are the sequences over the time one takes to be written."""
    for pair in pairs(asked(nodes_of(H200, 4))):
        seconds = pair["seconds_per_output_token"] * WORKLOAD["output_tokens"]
        assert pytest.approx(WORKLOAD["sequences"] / seconds) == pair["requests_per_second"]
        first = pair["seconds_to_first_token"], pair["seconds_to_transfer"]
        assert 0 < first[1] < first[0]


def test_the_fastest_decode_leaves_room_to_read() -> None:
    """By speed the decode replicas would take all accelerators; some are left to the others."""
    for objective in ("highest-throughput", "lowest-latency"):
        (pair, *_) = pairs(asked(nodes_of(H200, 4), objective=objective))
        assert pair["accelerators"] <= 32
        (slower, *_) = pairs(asked(nodes_of(H200, 4)))
        assert pair["seconds_per_output_token"] < slower["seconds_per_output_token"]


def test_a_time_to_the_first_token_leaves_what_keeps_it() -> None:
    """Prompts that follow one another are not read at once: one alone must be in time."""
    bare = pairs(asked(nodes_of(H200, 4), limit=100))
    found = pairs(asked(nodes_of(H200, 4), constraints={"max_seconds_to_first_token": 0.5}))
    late = [pair for pair in bare if pair["seconds_to_first_token"] > 0.5]
    assert len(late) < len(bare)
    assert found
    assert all(pair["seconds_to_first_token"] <= 0.5 for pair in found)


def test_an_inventory_too_small_for_both_has_none() -> None:
    """There is a plan of one kind all the same."""
    found = answer(CATALOG, asked(nodes_of(H200, 1, 5)))
    assert (True, []) == (found["feasible"], found["disaggregated"])


def test_no_pair_says_what_the_nearest_lacks() -> None:
    """R1 takes a node of eight: two of them are one more than there is."""
    workload = {**WORKLOAD, "sequences": 1}
    more = {"engine": {"name": "sglang"}, "workload": workload, "disaggregate": True}
    found = answer(CATALOG, request(nodes_of(H200, 1), "deepseek-ai/DeepSeek-R1", **more))
    assert (True, []) == (found["feasible"], found["disaggregated"])
    (told,) = [warning for warning in found["warnings"] if "prefill and decode" in warning]
    assert "accelerators; 8 are there and allowed." in told


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_engines_pair_the_stages_that_they_hand_on_between(engine: str) -> None:
    """Of one stage alone (vLLM); SGLang's decode replicas have as many as the others, or one."""
    workload = {**WORKLOAD, "context_tokens": 4500, "sequences": 1}
    more = {"engine": {"name": engine}, "workload": workload, "disaggregate": True, "limit": 100}
    found = answer(CATALOG, request(nodes_of(H200, 4), "zai-org/GLM-5", **more))
    stages = {
        tuple(pair[side]["split"]["pipeline"] for side in ("prefill", "decode"))
        for pair in found["disaggregated"]
    }
    assert stages
    if engine == "vllm":
        assert {(1, 1)} == stages
    else:
        assert all(decode in (1, prefill) for prefill, decode in stages)
    assert any("pairs of splits were left out" in warning for warning in found["warnings"])


def test_without_being_asked_there_are_none() -> None:
    """Nobody pays for what is not asked for."""
    assert [] == pairs(asked(nodes_of(H200, 4), disaggregate=False))


@pytest.mark.parametrize(
    ("more", "pointer"),
    [
        ({"workload": {"context_tokens": 10, "input_tokens": 5}}, "/workload/output_tokens"),
        ({"workload": {"context_tokens": 10}}, "/workload/input_tokens"),
        ({"constraints": {"replicas": 2}}, "/constraints/replicas"),
        ({"constraints": {"node_loss": "serve"}}, "/constraints/node_loss"),
        ({"engine": {"name": "llama.cpp"}}, "/disaggregate"),
    ],
)
def test_what_two_kinds_of_replicas_cannot_have_is_refused(more: Json, pointer: str) -> None:
    """With a pointer to what is missing or too much."""
    with pytest.raises(InvalidInput) as raised:
        answer(CATALOG, asked(nodes_of(H200, 2), **more))
    assert [pointer] == [violation.pointer for violation in raised.value.violations]


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_engines_are_told_of_their_phase_in_options_of_their_own(engine: str) -> None:
    """Every option stands in the published parser; the two sides differ or have a connector."""
    question = asked(nodes_of(H200, 4), engine={"name": engine}, launch={"model": "/m"}, limit=1)
    (pair,) = pairs(question)
    told = {side: pair[side]["launch"] for side in ("prefill", "decode")}
    for launch in told.values():
        used = {word.partition("=")[0] for word in launch["arguments"]}
        assert set() == used - set(FLAGS[engine]["flags"])
    if engine == "sglang":
        modes = {f"--disaggregation-mode={side}" in told[side]["arguments"] for side in told}
        assert {True} == modes
    else:
        assert all("NixlConnector" in str(launch["arguments"]) for launch in told.values())
        lines = [c["command"] for launch in told.values() for c in launch["commands"]]
        assert all("VLLM_NIXL_SIDE_CHANNEL_HOST=node-" in line for line in lines)


def test_tensorrt_llm_reads_its_phase_from_the_file() -> None:
    """Both sides hand caches on; the one that reads prompts does not overlap its scheduler."""
    (pair,) = pairs(asked(nodes_of(H200, 4), engine={"name": "tensorrt-llm"}, limit=1))
    files = [json.loads(*pair[side]["launch"]["files"].values()) for side in ("prefill", "decode")]
    assert [True, None] == [file.get("disable_overlap_scheduler") for file in files]
    assert all("cache_transceiver_config" in file for file in files)


def test_sides_that_are_started_share_no_device() -> None:
    """Nor where a side's groups are dealt out evenly, as its launcher wants them."""
    workload = {**WORKLOAD, "context_tokens": 4500, "sequences": 1}
    question = request(
        nodes_of(H200, 3),
        "zai-org/GLM-5",
        engine={"name": "sglang"},
        workload=workload,
        disaggregate=True,
        limit=5,
    )
    found = pairs({**question, "launch": {"model": "m"}})
    assert found
    assert [] == [fault for pair in found for fault in pair_faults(question, pair)]
    bare = [(pair["prefill"]["ranks"], pair["decode"]["ranks"]) for pair in pairs(question)]
    assert bare == [(pair["prefill"]["ranks"], pair["decode"]["ranks"]) for pair in found]


QUESTIONS = st.fixed_dictionaries(
    {
        "objective": st.sampled_from(
            ["fewest-accelerators", "highest-throughput", "lowest-latency", "lowest-cost"]
        ),
        "workload": st.sampled_from(
            [WORKLOAD, {**WORKLOAD, "sequences": 3}, {**WORKLOAD, "input_tokens": 100}]
        ),
        "constraints": st.fixed_dictionaries(
            {},
            optional={
                "tensor": st.sampled_from([1, 2, 4]),
                "max_accelerators": st.sampled_from([2, 6, 12]),
                "max_seconds_per_output_token": st.sampled_from([0.01, 0.03]),
                "max_seconds_to_first_token": st.sampled_from([0.1, 0.5, 2.0]),
                "placement": st.just("spread"),
            },
        ),
    },
    optional={
        "launch": st.just({"model": "m"}),
        "engine": st.sampled_from([{"name": "sglang"}, {"name": "tensorrt-llm"}]),
    },
)


@given(
    more=QUESTIONS,
    sizes=st.lists(
        st.tuples(st.sampled_from([H200, B200]), st.integers(1, 8)), min_size=1, max_size=4
    ),
    model=st.sampled_from([DENSE, "Qwen/Qwen3-30B-A3B"]),
)
@settings(max_examples=40, deadline=None)
def test_pairs_are_sound(more: Json, sizes: list[tuple[str, int]], model: str) -> None:
    """Both plans pass the independent checker; they share no device and keep the constraints."""
    nodes = [
        {"name": f"n{n}", "accelerator": part, "count": count}
        for n, (part, count) in enumerate(sizes)
    ]
    usable = {n["name"]: CATALOG.accelerators[n["accelerator"]].usable_bytes for n in nodes}
    question = {**asked(nodes, **more), "model": {"id": model}}
    constraints = question["constraints"]
    experts = 0 if model == DENSE else 128
    for pair in pairs(question):
        assert [] == pair_faults(question, pair)
        for name in ("seconds_to_first_token", "seconds_per_output_token"):
            assert pair[name] <= constraints.get(f"max_{name}", pair[name]), name
        held = {"tensor": constraints["tensor"]} if "tensor" in constraints else {}
        plain = {**question, "constraints": held}
        one = {**plain, "workload": {**question["workload"], "sequences": 1}}
        assert [] == faults(plain, pair["decode"], usable_bytes=usable, experts=experts)
        assert [] == faults(one, pair["prefill"], usable_bytes=usable, experts=experts)
