"""Integers in groups of columns: what ranks would cut is refused, or loaded in smaller groups."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import truths
from published import LLAMA
from rackfit.engines.rejection import Rejection
from rackfit.engines.torch_memory import allocated_bytes
from rackfit.memory.question import MemoryAnswer

ROOM = {"weights-exceed-memory", "memory-exceeded"}
INT4 = ("awq-int4", "gptq-int4", "gptq-int4-ordered", "autoround-int4", "int4-g128")
WIDE, PADDED = "Qwen/Qwen2.5-72B-Instruct", "Qwen/Qwen2.5-72B-Instruct-AWQ"


def ask(model: str | dict[str, Any], scheme: str | None, engine: str, **split: int) -> MemoryAnswer:
    """What the memory answer says; `engine` is `name` or `name:version`."""
    name, _, version = engine.partition(":")
    question = {
        "model": {"id": model} if isinstance(model, str) else model,
        "engine": {"name": name} | ({"version": version} if version else {}),
        "workload": {"context_tokens": 1024, "sequences": 1},
        "split": split,
        "accelerator": "NVIDIA-H100-80GB-HBM3",
    }
    return truths.ask(question | ({"quantization": scheme} if scheme else {}))


def broken(
    model: str | dict[str, Any], scheme: str | None, engine: str, **split: int
) -> dict[str, Rejection]:
    """Rules that a split breaks."""
    found = ask(model, scheme, engine, **split).rejections or ()
    return {one.code: one for one in found if one.code not in ROOM}


@pytest.mark.parametrize("engine", ["vllm:0.6", "vllm", "vllm:0.33", "sglang"])
@pytest.mark.parametrize("scheme", INT4)
@pytest.mark.parametrize(
    ("model", "tensor", "legal"),
    [
        ("Qwen/Qwen2.5-14B-Instruct", 4, True),
        ("Qwen/Qwen2.5-14B-Instruct", 8, False),  # 13824/8 = 1728
        ("Qwen/Qwen3-4B", 8, False),
        ("Qwen/Qwen2.5-1.5B-Instruct", 4, False),
        (WIDE, 2, False),  # 231 groups
        (WIDE, 1, True),
    ],
)
def test_feed_forwards_keep_whole_groups(
    model: str, scheme: str, engine: str, tensor: int, *, legal: bool
) -> None:
    """Where ranks would cut through a group, its scale is on none of them or on both."""
    told = broken(model, scheme, engine, tensor=tensor)
    assert ([] if legal else ["feed-forward-not-divisible"]) == list(told)


@pytest.mark.parametrize(
    ("scheme", "file"), [("awq-int4", "awq"), ("gptq-int4", "marlin"), ("int4-g128", "wNa16")]
)
def test_what_is_refused_cites_its_own_format(scheme: str, file: str) -> None:
    """And compares what the loader does."""
    (told,) = broken(WIDE, scheme, "vllm", tensor=2).values()
    assert file in (told.source or "")
    assert "29568/2 = 14784 is not a multiple of 128" in told.detail
    assert {"width": 29568, "ranks": 2, "block": 128} == told.numbers


@pytest.mark.parametrize("engine", ["vllm", "vllm:0.33", "sglang"])
@pytest.mark.parametrize("tensor", [2, 4, 8])
def test_padded_feed_forwards_are_divided(engine: str, tensor: int) -> None:
    """As Qwen's own AWQ of the 72B is, for that."""
    assert not broken(PADDED, None, engine, tensor=tensor)


@pytest.mark.parametrize("scheme", ["int4-channel", "bf16", "fp8", "awq-int4-g64"])
def test_smaller_groups_and_none_are_cut_anywhere(scheme: str) -> None:
    """1,728 is 27 groups of 64; a scale a channel knows no columns."""
    assert not broken("Qwen/Qwen2.5-14B-Instruct", scheme, "vllm", tensor=8)


@given(
    heads=st.sampled_from([4, 8, 16, 32]),
    size=st.sampled_from([32, 64, 96, 128]),
    parts=st.sampled_from([1, 2, 4]),
)
def test_what_leads_out_of_attention_keeps_whole_groups(heads: int, size: int, parts: int) -> None:
    """A rank's heads together are as wide as its part of the matrix."""
    config = {"num_attention_heads": heads, "num_key_value_heads": heads, "head_dim": size}
    model = {"config": LLAMA | config | {"hidden_size": 2048, "intermediate_size": 8192}}
    told = broken(model, "awq-int4", "sglang", tensor=parts)
    cut = parts > 1 and heads * size // parts % 128 != 0
    assert (["heads-not-divisible"] if cut else []) == list(told)


def test_attention_dp_divides_widths_by_engine() -> None:
    """SGLang's attention DP lies inside its tensor ranks, vLLM's beside them."""
    split = {"tensor": 4, "data": 2}
    assert not broken("Qwen/Qwen3-4B", "awq-int4", "vllm", **split)
    assert "feed-forward-not-divisible" in broken("Qwen/Qwen3-4B", "awq-int4", "sglang", **split)


MIXTURE = "Qwen/Qwen3-30B-A3B"  # an expert of 768 on four ranks is a group and a half
LAYERS, EXPERTS, HIDDEN = 48, 128, 2048


@pytest.mark.parametrize(
    ("scheme", "engine", "legal"),
    [
        ("awq-int4", "vllm:0.8.4", False),
        ("awq-int4", "vllm:0.8.5", True),
        ("awq-int4", "vllm:0.19", True),
        ("gptq-int4", "vllm:0.33", True),
        ("gptq-int4-ordered", "vllm:0.33", False),
        ("int4-g128", "vllm:0.33", False),
        ("awq-int4", "sglang:0.4.9", False),
        ("awq-int4", "sglang:0.4.10", True),
        ("awq-int4", "sglang", True),
        ("gptq-int4", "sglang", False),
        ("int4-g128", "sglang", False),
    ],
)
def test_groups_of_experts_are_halved_by_format_and_version(
    scheme: str, engine: str, *, legal: bool
) -> None:
    """192 is three groups of 64; who has no way out says so of its own format."""
    told = broken(MIXTURE, scheme, engine, tensor=4)
    assert ([] if legal else ["expert-block-misaligned"]) == list(told)
    assert all("Fp8" not in (one.source or "") for one in told.values())


def test_groups_are_not_halved_below_32() -> None:
    """768/16 = 48 is a multiple of 16 alone; 768/8 = 96 is three groups of 32."""
    assert not broken(MIXTURE, "awq-int4", "vllm", tensor=8)
    assert "expert-block-misaligned" in broken(MIXTURE, "awq-int4", "vllm", tensor=16)


@pytest.mark.parametrize(("tensor", "more"), [(2, 0), (4, 1), (8, 3)])
def test_halved_groups_repeat_their_scales(tensor: int, more: int) -> None:
    """A scale and a zero point, 2.5 bytes, for every group of 128 of each expert's elements."""
    engines = ("vllm:0.8.5", "vllm:0.8.4")
    regrouped, stored = (ask(MIXTURE, "awq-int4", e, tensor=tensor).ranks[0] for e in engines)
    down = EXPERTS * HIDDEN * 768 // tensor

    def layer(scales: int) -> int:
        each = [size // 2 + scales * size // 128 * 5 // 2 for size in (2 * down, down)]
        return sum(map(allocated_bytes, each))

    wanted = LAYERS * (layer(more + 1) - layer(1))
    assert wanted == regrouped.weights_bytes - stored.weights_bytes
