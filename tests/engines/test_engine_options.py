"""What the options of an engine change: drafts, adapters, redundant experts, limits, versions."""

import json
from pathlib import Path
from typing import Any

import pytest

import truths
from rackfit.engines import ENGINES, engine_for
from rackfit.engines.choice import EngineChoice
from rackfit.engines.version import read_version
from rackfit.errors import InvalidInput
from rackfit.memory.question import MemoryAnswer

V3 = "deepseek-ai/DeepSeek-V3"
LLAMA = "meta-llama/Llama-3.1-8B-Instruct"


def ask(model: str, split: dict[str, int] | None = None, **options: Any) -> MemoryAnswer:  # noqa: ANN401 (any option)
    """Ask about one sequence of 4,096 tokens on vLLM with options."""
    engine = {"name": "vllm"} | options
    workload = {"context_tokens": 4096, "sequences": 1}
    question = {"model": {"id": model}, "engine": engine, "workload": workload}
    return truths.ask(question | ({"split": split} if split else {}))


def test_draft_layers_are_loaded_when_asked_for() -> None:
    """DeepSeek-V3's multi-token-prediction layer weighs 11.5 B parameters and keeps a row."""
    plain, drafting = ask(V3), ask(V3, speculative_tokens=1)
    more = drafting.weights_bytes - plain.weights_bytes
    assert 11.5e9 == pytest.approx(more, rel=0.05)
    rows = [answer.ranks[0].kv_cache_bytes_per_token for answer in (plain, drafting)]
    assert 576 * 2 == rows[1] - rows[0]


def test_nothing_can_be_drafted_without_layers_for_it() -> None:
    """Llama has none, and the answer says so where it was asked."""
    with pytest.raises(InvalidInput) as refused:
        ask(LLAMA, speculative_tokens=2)
    assert refused.value.violations[0].pointer == "/engine/speculative_tokens"


def test_a_last_stage_drafts_from_an_embedding_of_its_own() -> None:
    """With one stage the model's is shared; with two it is loaded again where drafts are made."""

    def drafting(stages: int) -> int:
        split = {"tensor": 8, "pipeline": stages}
        plain, more = (ask(V3, split, speculative_tokens=n).ranks[-1] for n in (0, 1))
        return more.weights_bytes - plain.weights_bytes

    embedding = 129_280 * 7168 * 2 / 8
    assert embedding == pytest.approx(drafting(2) - drafting(1), rel=0.02)


def test_adapters_take_two_low_rank_matrices_a_matrix() -> None:
    """Rank 16 on all seven matrices of 32 layers, twice."""
    widths = 2 * (4096 + 4096) + 2 * (4096 + 1024) + 3 * (4096 + 14_336)
    plain, adapted = ask(LLAMA), ask(LLAMA, lora_slots=2, lora_rank=16)
    assert 2 * 16 * 32 * widths * 2 == adapted.weights_bytes - plain.weights_bytes


@pytest.mark.parametrize(("version", "slots"), [("0.11", 0), ("0.19", 2)])
def test_adapters_have_slots_for_every_expert(version: str, slots: int) -> None:
    """Of Qwen3-30B-A3B: 128 of 48 layers, widths 2048 and an eighth of 768, gate, up and down."""
    model, split = "Qwen/Qwen3-30B-A3B", {"tensor": 8}
    answers = [ask(model, split, version=version, lora_slots=n).ranks[0] for n in (0, 2)]
    plain, adapted = (answer.weights_bytes for answer in answers)
    attention = 2 * 16 * 2 * 48 * (3 * 2048 + 3 * 4096)  # more than adapters of attention take
    experts = slots * 16 * 2 * 48 * 128 * 3 * (2048 + 96)

    assert 0 < adapted - plain - experts < attention


def test_redundant_experts_are_held_beside_the_others() -> None:
    """32 more slots over EP32 are one more expert on each rank."""
    split = {"tensor": 1, "data": 32, "expert": 32}
    plain, redundant = ask(V3, split), ask(V3, split, redundant_experts=32)
    expert = 58 * 3 * 2048 * 7168
    more = redundant.ranks[0].weights_bytes - plain.ranks[0].weights_bytes
    assert expert == pytest.approx(more, rel=0.01)


@pytest.mark.parametrize(("redundant", "legal"), [(0, True), (32, True), (33, False)])
def test_redundant_slots_divide_evenly(redundant: int, legal: bool) -> None:  # noqa: FBT001 (a parameter)
    """The rejection names the number that would fill the slots."""
    split = {"tensor": 1, "data": 32, "expert": 32}
    rejections = ask(V3, split, redundant_experts=redundant).rejections or ()
    assert legal is (not rejections)
    assert legal or "redundant_experts = 64" in rejections[0].detail


def test_context_ranks_share_the_tokens() -> None:
    """Each of four context ranks keeps a quarter of a sequence."""
    whole, quarter = ask(LLAMA), ask(LLAMA, {"context": 4})
    assert whole.ranks[0].kv_cache_bytes == 4 * quarter.ranks[0].kv_cache_bytes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.19", (0, 19)),
        ("v0.11.2rc1", (0, 11, 2)),
        ("1.2.0", (1, 2, 0)),
        ("9.9", (9, 9, 3)),
        ("9.9.1", (9, 9, 1)),
        (None, (9, 9, 3)),
    ],
)
def test_versions_are_read_as_operators_write_them(
    text: str | None, expected: tuple[int, ...]
) -> None:
    """What is left out is the default, and so is a part of it."""
    assert expected == read_version(text, (9, 9, 3))


@pytest.mark.parametrize("engine", ["vllm", "sglang", "tensorrt-llm"])
@pytest.mark.parametrize("text", ["banana", "latest", "main", "", "99", "v1", "1.x", "12345.1"])
def test_what_is_no_version_is_refused(engine: str, text: str) -> None:
    """At its field, with how a version is written; nothing is planned for another one."""
    question = {
        "model": {"id": LLAMA},
        "engine": {"name": engine, "version": text},
        "workload": {"context_tokens": 1024},
        "accelerator": "h100",
    }
    with pytest.raises(InvalidInput) as refused:
        truths.ask(question)
    (violation,) = refused.value.violations
    assert violation.pointer == "/engine/version"
    assert "major and minor" in violation.detail


@pytest.mark.parametrize("text", ["b4567", "4567", "0.5.0", None])
def test_builds_of_llama_cpp_are_versions(text: str | None) -> None:
    """As its tags are named, as it prints them, and as it is numbered since 0.1."""
    assert (0, 5) == engine_for(EngineChoice(name="llama.cpp", version=text), 0.1).version[:2]


@pytest.mark.parametrize("text", ["banana", "master", "b", "b12x", "c4567", "b4567.1", ""])
def test_what_is_no_build_is_refused(text: str) -> None:
    """At its field, with both ways to write one."""
    with pytest.raises(InvalidInput) as refused:
        engine_for(EngineChoice(name="llama.cpp", version=text), 0.1)
    (violation,) = refused.value.violations
    assert violation.pointer == "/engine/version"
    assert "b4567" in violation.detail


def test_there_is_no_version_of_no_engine() -> None:
    """Generic stands for whatever serves."""
    with pytest.raises(InvalidInput) as refused:
        engine_for(EngineChoice(name="generic", version="0.19"), 0.1)
    assert "/engine/version" == refused.value.violations[0].pointer


@pytest.mark.parametrize(
    ("name", "version", "rules"),
    [
        ("vllm", "0.34.1", "newer than 0.33"),
        ("vllm", "1.0", "newer than 0.33"),
        ("vllm", "0.5.4", "older than 0.6"),
        ("sglang", "0.5.24", "newer than 0.5.23"),
        ("sglang", "0.6", "newer than 0.5.23"),
        ("sglang", "0.4.8", "older than 0.4.9"),
        ("tensorrt-llm", "1.4.0rc1", "newer than 1.3"),
        ("tensorrt-llm", "0.21", "older than 1.0"),
        ("llama.cpp", "0.6", "newer than 0.5"),
        ("llama.cpp", "b10760", "by the rules of 0.5"),
    ],
)
def test_versions_that_are_not_known_are_planned_for_by_the_nearest(
    name: str, version: str, rules: str
) -> None:
    """And the answer says whose rules those are."""
    (warning,) = engine_for(EngineChoice(name=name, version=version), 0.1).warnings()
    assert rules in warning


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("vllm", None),
        ("vllm", "0.33.7"),
        ("vllm", "0.6"),
        ("sglang", "0.5"),
        ("sglang", "0.5.23.post1"),
        ("tensorrt-llm", "1.3.0rc20"),
        ("llama.cpp", "0.5.2"),
    ],
)
def test_known_versions_need_no_warning(name: str, version: str | None) -> None:
    """Patches of the newest minor version are taken as known."""
    assert () == engine_for(EngineChoice(name=name, version=version), 0.1).warnings()


@pytest.mark.parametrize("name", ["vllm", "sglang"])
def test_the_newest_known_version_is_the_one_whose_options_were_read(name: str) -> None:
    """Whoever reads newer options in has its rules to read too."""
    newest = ENGINES[name].known[1]
    flags = json.loads((Path(__file__).parent / "data" / "flags.json").read_text())
    assert newest == read_version(flags[name]["version"], ())[: len(newest)]


def test_an_older_sampler_takes_more() -> None:
    """Sorting all logits took 38 bytes each, today's kernel 14."""
    older, newer = ask(LLAMA, version="0.11"), ask(LLAMA, version="0.19")
    assert older.activation_bytes > 2 * newer.activation_bytes


@pytest.mark.parametrize(
    ("version", "accelerator", "share", "counted"),
    [
        ("0.19", "NVIDIA-H100-80GB-HBM3", 0.9, False),
        ("0.20", "NVIDIA-H100-80GB-HBM3", 0.92, True),
        ("0.20", "AMD-Instinct-MI300X", 0.92, False),
    ],
)
def test_graphs_count_from_a_version_on(
    version: str,
    accelerator: str,
    share: float,
    counted: bool,  # noqa: FBT001 (a parameter)
) -> None:
    """VLLM 0.20 estimates them before it sizes its cache, and takes a larger share for it."""
    question = {
        "model": {"id": LLAMA},
        "engine": {"name": "vllm", "version": version},
        "workload": {"context_tokens": 4096, "sequences": 1},
        "accelerator": accelerator,
    }
    answer = truths.ask(question)
    device = truths.catalog().accelerators[accelerator]
    assert answer.ranks[0].budget_bytes == int(share * device.usable_bytes)
    assert counted is ("CUDA graphs" in {term.name for term in answer.terms})
    assert counted is (not answer.unbudgeted_terms)


@pytest.mark.parametrize(
    ("accelerator", "version", "options", "sizes"),
    [
        ("NVIDIA-H100-80GB-HBM3", "0.29", {}, 51),
        ("NVIDIA-L40S", "0.30", {}, 51),
        ("NVIDIA-H100-80GB-HBM3", "0.30", {"max_sequences": 1024}, 51),
        ("NVIDIA-H100-80GB-HBM3", "0.30", {"max_sequences": 4}, 4),
        ("NVIDIA-H100-80GB-HBM3", "0.30", {"max_sequences": 8}, 5),
        ("NVIDIA-H100-80GB-HBM3", "0.30", {"max_sequences": 128}, 35),
        ("NVIDIA-H100-80GB-HBM3", "0.30", {"max_batched_tokens": 100}, 15),
        ("NVIDIA-B200", "0.26", {}, 51),
        ("NVIDIA-B200", "0.30", {}, 83),
    ],
)
def test_graphs_are_of_the_batches_that_are_captured(
    accelerator: str, version: str, options: dict[str, int], sizes: int
) -> None:
    """Of 1, 2, 4, each 8th and 16th up to twice the sequences: 15 MiB a layer for 51."""
    question = {
        "model": {"id": LLAMA},
        "engine": {"name": "vllm", "version": version, **options},
        "workload": {"context_tokens": 4096, "sequences": 1},
        "accelerator": accelerator,
    }
    (graphs,) = [t.bytes for t in truths.ask(question).terms if t.name == "CUDA graphs"]
    assert (420 << 20) + 32 * (15 << 20) * sizes // 51 == graphs


def test_graphs_of_sequences_that_draft_are_of_as_many_tokens() -> None:
    """Four sequences that draft one token are captured as eight are, not as four."""
    options = ((4, 1), (8, 0), (4, 0))
    graphs = [
        next(t.bytes for t in answer.terms if t.name == "CUDA graphs")
        for answer in (
            ask(V3, version="0.30", max_sequences=sequences, speculative_tokens=drafted)
            for sequences, drafted in options
        )
    ]
    assert graphs[0] == graphs[1] > graphs[2]


@pytest.mark.parametrize(("version", "large"), [("0.32", True), ("0.33", False)])
def test_a_gb10_is_a_small_device_from_a_version_on(version: str, *, large: bool) -> None:
    """For its memory it was a large one."""
    device = truths.catalog().accelerators["NVIDIA-GB10"]
    limits = engine_for(EngineChoice(name="vllm", version=version), 0.1).limits(device, 8192)
    assert ((8192, 1024) if large else (2048, 256)) == (limits.batched_tokens, limits.sequences)


def test_smaller_devices_prepare_for_smaller_batches() -> None:
    """2,048 tokens and 256 sequences below 70 GiB, and on every A100."""
    peaks = [
        truths.ask(
            {
                "model": {"id": LLAMA},
                "engine": {"name": "vllm"},
                "workload": {"context_tokens": 4096, "sequences": 1},
                "accelerator": accelerator,
            }
        ).activation_bytes
        for accelerator in ("NVIDIA-H100-80GB-HBM3", "NVIDIA-A100-SXM4-80GB", "NVIDIA-L40S")
    ]
    assert peaks[0] > 3 * peaks[1]
    assert peaks[1] == peaks[2]
