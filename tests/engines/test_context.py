"""Devices that divide sequences: Helix while tokens are written, SGLang while prompts are read."""

from collections.abc import Mapping
from fractions import Fraction
from math import ceil
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines import named
from planning.asking import RESERVE
from rackfit.catalog import load_catalog
from rackfit.engines.launch import Launched
from rackfit.engines.split import Split
from rackfit.memory.answer import answer_memory
from rackfit.memory.inspection import inspect_model
from rackfit.memory.question import InspectRequest, MemoryRequest

Json = dict[str, Any]
CATALOG = load_catalog()
B200, H200, RTX = "NVIDIA-B200", "NVIDIA-H200", "rtx-pro-6000"
LATENT, SPARSE = "deepseek-ai/DeepSeek-V3", "deepseek-ai/DeepSeek-V3.2"
COMPRESSED, GROUPED = "deepseek-ai/DeepSeek-V4-Pro", "Qwen/Qwen3-30B-A3B"
HELIX, READING = ("tensorrt-llm", B200), ("sglang", H200)
TOKENS, SEQUENCES = 32_768, 4


def memory(model: str, on: tuple[str, str], split: Json, **more: Any) -> Json:  # noqa: ANN401
    """What a split takes under an engine on an accelerator."""
    engine, accelerator = on
    asked = {
        "model": {"id": model},
        "workload": {"context_tokens": TOKENS, "sequences": SEQUENCES},
        "split": split,
        "accelerator": accelerator,
        "engine": {"name": engine, **more},
    }
    question = msgspec.convert(asked, MemoryRequest)
    found: Json = msgspec.to_builtins(answer_memory(question, CATALOG, device_reserve=RESERVE))
    return found


def refusals(model: str, on: tuple[str, str], split: Json, **more: Any) -> set[str]:  # noqa: ANN401
    """The rules a split breaks, whether it has room or not."""
    room = {"weights-exceed-memory", "memory-exceeded"}
    return {r["code"] for r in memory(model, on, split, **more)["rejections"]} - room


def shares(engine: str, split: Split) -> Mapping[str, Fraction]:
    """The part of each tensor one rank holds, by the end of its name, written down by hand."""
    tensor, everywhere = Fraction(1, split.tensor), Fraction(1, split.stage_ranks)
    cell = Fraction(1, split.tensor * split.context)
    if engine == "tensorrt-llm":
        out, wide = cell, cell if split.data == 1 else Fraction(1)
        ends = {"embed_tokens": wide, "lm_head": wide}
    else:
        out, wide = tensor, Fraction(1)
        ends = {"embed_tokens": tensor, "lm_head": everywhere}
    heads = dict.fromkeys(("q_b_proj", "kv_b_proj"), tensor)
    feed = dict.fromkeys(("shared_experts", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"), wide)
    return {"mlp.experts.": everywhere, "o_proj": out, **heads, **feed, **ends}


def held(name: str, parts: Mapping[str, Fraction]) -> Fraction:
    """The part of a tensor of this name, whole where no part is written down."""
    return next((part for middle, part in parts.items() if middle in name), Fraction(1))


@pytest.mark.parametrize(
    ("on", "split"),
    [
        (HELIX, Split(context=8, expert=8)),
        (HELIX, Split(tensor=2, context=4, expert=2)),
        (HELIX, Split(data=4, context=2, expert=8)),
        (READING, Split(context=8, expert=8)),
        (READING, Split(data=2, context=4, expert=8)),
    ],
)
def test_a_rank_holds_its_part_of_each_tensor(on: tuple[str, str], split: Split) -> None:
    """Summed up from the list of all tensors, by shares read in the engines' own sources."""
    lines = inspect_model(msgspec.convert({"model": {"id": LATENT}}, InspectRequest), CATALOG)
    parts = shares(on[0], split)
    size = sum(
        line.bytes * held(line.name, parts) for line in lines.tensors if line.component != "draft"
    )
    found = memory(LATENT, on, msgspec.to_builtins(split))["ranks"]
    if on is READING:  # SGLang's w_kc and w_vc, and its rotary table
        size += 61 * 128 // split.tensor * (128 + 128) * 512 * 2 + 163_840 * 64 * 4
    assert float(size) == pytest.approx(found[0]["weights_bytes"], rel=2e-3)


def test_helix_ranks_divide_rows_and_reading_ranks_keep_them() -> None:
    """Blocks of 32 tokens by turns, 61 layers of 576 elements in 16 bits; or all of it."""
    blocks = ceil(TOKENS / 32 / 8)
    row = 61 * 576 * 2
    split = {"context": 8, "expert": 8}
    written, read = memory(LATENT, HELIX, split), memory(LATENT, READING, split)
    assert [SEQUENCES * blocks * 32 * row] * 8 == [r["kv_cache_bytes"] for r in written["ranks"]]
    assert [SEQUENCES * TOKENS * row] * 8 == [r["kv_cache_bytes"] for r in read["ranks"]]


def test_helix_holds_as_many_tokens_more() -> None:
    """Tensor ranks repeat latent rows, so that eight of them hold hardly an eighth of it."""
    whole = memory(LATENT, HELIX, {"tensor": 8, "expert": 8})["capacity"]["kv_cache_tokens"]
    divided = memory(LATENT, HELIX, {"context": 8, "expert": 8})["capacity"]["kv_cache_tokens"]
    assert 7.5 * whole < divided < 8 * whole


@pytest.mark.parametrize(
    ("model", "on", "split", "expected"),
    [
        (LATENT, HELIX, {"context": 8, "expert": 8}, set()),
        (LATENT, HELIX, {"tensor": 2, "pipeline": 2, "context": 2, "expert": 4}, set()),
        (LATENT, HELIX, {"data": 2, "context": 2, "expert": 4}, set()),
        ("Qwen/Qwen3-32B", HELIX, {"tensor": 4, "context": 2}, set()),
        (LATENT, HELIX, {"tensor": 2, "data": 2, "context": 2}, {"degree-unsupported"}),
        ("Qwen/Qwen3-32B", HELIX, {"context": 3}, {"heads-not-divisible"}),
        ("Qwen/Qwen3-14B", HELIX, {"context": 40}, {"feed-forward-not-divisible"}),
        (GROUPED, HELIX, {"context": 64}, {"heads-not-divisible"}),
        (SPARSE, HELIX, {"context": 8}, {"degree-unsupported"}),
        (COMPRESSED, HELIX, {"context": 8}, {"degree-unsupported"}),
        ("openai/gpt-oss-120b", HELIX, {"context": 8, "expert": 8}, {"degree-unsupported"}),
        ("Qwen/Qwen3-Next-80B-A3B-Instruct", HELIX, {"context": 2}, {"degree-unsupported"}),
        (LATENT, ("tensorrt-llm", H200), {"context": 8, "expert": 8}, {"hardware-unsupported"}),
        (LATENT, ("tensorrt-llm", RTX), {"context": 8, "expert": 8}, {"hardware-unsupported"}),
        (LATENT, READING, {"context": 8, "expert": 8}, set()),
        (LATENT, READING, {"data": 2, "context": 4, "expert": 8}, set()),
        (LATENT, READING, {"context": 8, "expert": 4}, {"degree-unsupported"}),
        (LATENT, READING, {"tensor": 2, "context": 4, "expert": 8}, {"degree-unsupported"}),
        (SPARSE, READING, {"context": 8}, set()),
        (SPARSE, READING, {"data": 2, "context": 4}, set()),
        (SPARSE, READING, {"tensor": 2, "context": 4}, set()),
        (SPARSE, READING, {"tensor": 2, "data": 2, "context": 2, "expert": 8}, set()),
        (SPARSE, READING, {"tensor": 4, "context": 4}, {"degree-unsupported"}),
        (COMPRESSED, READING, {"tensor": 2, "context": 4}, {"degree-unsupported"}),
        (COMPRESSED, READING, {"data": 2, "context": 4}, {"degree-unsupported"}),
        (SPARSE, READING, {"context": 16, "expert": 16}, {"degree-unsupported"}),
        (COMPRESSED, READING, {"context": 8, "expert": 8}, set()),
        (GROUPED, READING, {"tensor": 2, "context": 2, "expert": 2}, set()),
        ("Qwen/Qwen3-32B", READING, {"context": 2}, {"degree-unsupported"}),
        (
            "Qwen/Qwen3-Next-80B-A3B-Instruct",
            READING,
            {"context": 2},
            {"degree-unsupported"},
        ),
        (LATENT, ("vllm", H200), {"context": 8, "expert": 8}, {"degree-unsupported"}),
    ],
)
def test_what_each_engine_divides(
    model: str, on: tuple[str, str], split: Json, expected: set[str]
) -> None:
    """By kind of attention, by what the other degrees are, and by device."""
    assert expected == refusals(model, on, split)


def test_too_many_reading_ranks_are_told_as_the_product_that_is_too_many() -> None:
    """Not as context ranks, of which eight would do."""
    split = {"data": 2, "context": 8, "expert": 16}
    (refused,) = [
        rejection
        for rejection in memory(SPARSE, READING, split)["rejections"]
        if rejection["code"] == "degree-unsupported"
    ]
    assert "data 2 x context 8 = 16." in refused["detail"]
    assert {"context": 8, "data": 2, "ranks": 16} == refused["numbers"]


def test_helix_does_not_draft() -> None:
    """Its ranks write one token a step."""
    assert {"degree-unsupported"} == refusals(
        LATENT, HELIX, {"context": 8, "expert": 8}, speculative_tokens=1
    )


def test_who_names_context_ranks_is_told_what_they_are_for() -> None:
    """The memory question knows no phase; nothing is said of other splits."""
    for on in (HELIX, READING):
        told, untold = (
            memory(LATENT, on, split)["warnings"] for split in ({"context": 8, "expert": 8}, {})
        )
        assert ["Context ranks"] == [line[:13] for line in told if line not in untold]


def test_experts_repeated_on_context_ranks_are_refused_and_not_malformed() -> None:
    """What a body could say before context ranks held experts of their own it still can."""
    split = {"tensor": 4, "context": 2, "expert": 2, "expert_tensor": 2}
    assert {"degree-unsupported"} == refusals(LATENT, HELIX, split)


@given(
    degrees=st.tuples(*[st.integers(1, 8)] * 4),
    expert_tensor=st.none() | st.integers(1, 8),
)
def test_experts_are_divided_over_all_ranks_of_a_stage(
    degrees: tuple[int, int, int, int], expert_tensor: int | None
) -> None:
    """Expert x expert_tensor is tensor x data x context, or it is malformed; or told as refused."""
    tensor, data, context, expert = degrees
    body = {"tensor": tensor, "data": data, "context": context, "expert": expert}
    body |= {} if expert_tensor is None else {"expert_tensor": expert_tensor}
    stage = tensor * data * context
    told = expert * (expert_tensor or Fraction(stage, expert))
    if stage % expert or told not in {stage, tensor * data}:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(body, Split)
        return
    split = msgspec.convert(body, Split)
    assert split.repeats_experts == (told != stage)
    assert split.devices == stage


@pytest.mark.parametrize(
    ("model", "on", "split", "version", "expected"),
    [
        (SPARSE, ("sglang", "AMD-Instinct-MI355X"), {"context": 8}, "0.5.23", "hardware"),
        (COMPRESSED, ("sglang", "AMD-Instinct-MI355X"), {"context": 8}, "0.5.23", ""),
        (SPARSE, READING, {"context": 8}, "0.5.3", "degree"),
        (SPARSE, READING, {"context": 8}, "0.5.9", ""),
        (SPARSE, READING, {"tensor": 2, "context": 4}, "0.5.21", "degree"),
        (SPARSE, READING, {"tensor": 2, "context": 4}, "0.5.22", ""),
        (SPARSE, READING, {"data": 2, "context": 4}, "0.5.21", "degree"),
        (SPARSE, READING, {"data": 2, "context": 4}, "0.5.22", ""),
        (LATENT, READING, {"context": 8, "expert": 8}, "0.5.9", "degree"),
        (GROUPED, READING, {"context": 2, "expert": 2}, "0.5.9", "degree"),
        ("mistralai/Mixtral-8x7B-v0.1", READING, {"context": 2}, "0.5.23", "degree"),
        ("XiaomiMiMo/MiMo-V2-Flash", READING, {"context": 2}, "0.5.23", ""),
        ("meta-llama/Llama-3.1-8B-Instruct", HELIX, {"tensor": 4, "context": 2}, "1.3", "degree"),
        (LATENT, HELIX, {"context": 8, "expert": 8}, "1.1", "degree"),
    ],
)
def test_what_a_version_divides_of_a_model(
    model: str, on: tuple[str, str], split: Json, version: str, expected: str
) -> None:
    """What a named engine cannot load is refused: by its version, its models and its devices."""
    found = memory(model, on, split, version=version)
    codes = {one["code"] for one in found["rejections"]}
    assert ({f"{expected}-unsupported"} if expected else set()) == codes - {"weights-exceed-memory"}


@pytest.mark.parametrize(
    ("model", "version", "words"),
    [
        (SPARSE, "0.5.23", ("--enable-prefill-cp", "--cp-strategy=interleave")),
        (
            SPARSE,
            "0.5.9",
            ("--enable-nsa-prefill-context-parallel", "--nsa-prefill-cp-mode=round-robin-split"),
        ),
        (
            LATENT,
            "0.5.12",
            ("--enable-prefill-context-parallel", "--prefill-cp-mode=in-seq-split"),
        ),
        ("XiaomiMiMo/MiMo-V2-Flash", "0.5.23", ("--enable-prefill-cp", "--cp-strategy=zigzag")),
    ],
)
def test_reading_ranks_are_told_of_as_the_version_spells_it(
    model: str, version: str, words: tuple[str, ...]
) -> None:
    """0.5.14 gave one name to what each attention had one of its own for."""
    served, engine = named.served(model), named.started(f"sglang:{version}")
    launched = Launched(
        model=served, split=Split(context=8), utilization=0.9, context_tokens=8192, sequences=1
    )
    about = ("--enable", "--cp-strategy", "--prefill-cp", "--nsa")
    told = [word for word in engine.arguments(launched) if word.startswith(about)]
    assert list(words) == told
