"""FP8 in tiles of 128: widths that ranks cut through, and scales that are refined instead."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import truths
from engines import named
from published import LLAMA

V4, V3 = "sgl-project/DeepSeek-V4-Pro-FP8", "deepseek-ai/DeepSeek-V3"
WIDE = 9728
"""The width of Qwen3-4B: 76 tiles, which four ranks divide and eight do not."""


def refused(model: dict[str, Any], engine: str, **split: int) -> dict[str, str]:
    """Rules that a split breaks, with what is said; `engine` is `name` or `name:version`."""
    question = {
        "model": model,
        "engine": named.asked(engine),
        "workload": {"context_tokens": 1024, "sequences": 1},
        "split": split,
        "accelerator": "NVIDIA-H200",
    }
    room = {"weights-exceed-memory", "memory-exceeded"}
    found = truths.ask(question).rejections or ()
    return {one.code: one.detail for one in found if one.code not in room}


def dense(width: int = WIDE, *, tiles: bool = True) -> dict[str, Any]:
    """A small dense model, in FP8 of tiles or of tensors."""
    stored = {"quant_method": "fp8"} | ({"weight_block_size": [128, 128]} if tiles else {})
    heads = {"num_attention_heads": 16, "num_key_value_heads": 16, "hidden_size": 2048}
    return {"config": LLAMA | heads | {"intermediate_size": width, "quantization_config": stored}}


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_dense_widths_keep_whole_tiles(engine: str) -> None:
    """1,216 is nine tiles and a half; 2,432 is nineteen, and a scale a tensor is cut anywhere."""
    assert not refused(dense(), engine, tensor=4)
    assert not refused(dense(tiles=False), engine, tensor=8)
    told = refused(dense(), engine, tensor=8)
    assert ["feed-forward-not-divisible"] == list(told)
    assert "9728/8 = 1216 is not a multiple of 128" in told["feed-forward-not-divisible"]


def test_attention_dp_divides_widths_by_engine() -> None:
    """SGLang's attention DP lies inside its tensor ranks, vLLM's beside them."""
    split = {"tensor": 4, "data": 2}
    assert not refused(dense(), "vllm", **split)
    assert "feed-forward-not-divisible" in refused(dense(), "sglang", **split)


@given(tiles=st.integers(1, 64), parts=st.sampled_from([1, 2, 4, 8, 16]))
def test_a_width_is_legal_where_ranks_have_whole_tiles(tiles: int, parts: int) -> None:
    """And only there."""
    told = refused(dense(tiles * 128), "vllm", tensor=parts)
    assert bool(told) == (tiles % parts != 0)


@pytest.mark.parametrize(
    ("model", "version", "tensor", "legal"),
    [
        (V4, "0.28", 16, False),
        (V4, "0.30", 16, True),  # 192 and 128 are whole numbers of 64
        (V4, "0.30", 64, False),  # 48 and 128 of 16 alone
        (V3, "0.30", 128, False),
        (V4, "0.30", 8, True),
    ],
)
def test_scales_of_experts_are_refined_by_version(
    model: str, version: str, tensor: int, *, legal: bool
) -> None:
    """To squares of 32 at least that both tiles and slices are whole numbers of."""
    told = refused({"id": model}, f"vllm:{version}", tensor=tensor)
    assert legal == ("expert-block-misaligned" not in told)
