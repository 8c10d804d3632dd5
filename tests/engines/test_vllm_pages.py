"""vLLM's cache pages: groups of alike layers over one pool, against what its logs print."""

from typing import Any

import pytest

import truths
from rackfit.memory.question import MemoryAnswer


def ask(model: str, tokens: int, **more: Any) -> MemoryAnswer:  # noqa: ANN401 (parts of a request)
    """Ask about one sequence on vLLM with a batch of 8,192 tokens."""
    engine = {"name": "vllm", "max_batched_tokens": 8192} | more.pop("engine", {})
    workload = {"context_tokens": tokens, "sequences": 1}
    return truths.ask({"model": {"id": model}, "engine": engine, "workload": workload} | more)


@pytest.mark.parametrize(
    ("model", "slots"),
    [
        ("google/gemma-3-27b-it", 70),  # 52 sliding and 10 full: 6 + 1 groups of 10
        ("google/gemma-3-12b-it", 48),  # 40 and 8: 5 + 1 groups of 8
        ("google/gemma-3-4b-it", 35),  # 29 and 5: 6 + 1 groups of 5, one slot empty
        ("google/gemma-2-27b-it", 46),  # 23 and 23: two groups
        ("openai/gpt-oss-120b", 36),  # 18 and 18
    ],
)
def test_a_logged_token_takes_a_slot_in_every_group(model: str, slots: int) -> None:
    """Bytes a token are those of one layer times the layer slots of all groups."""
    config = truths.catalog().models[model].config or {}
    text = config.get("text_config", config)
    row = 2 * text["num_key_value_heads"] * text["head_dim"] * 2
    capacity = ask(model, 4096, kv_cache_dtype="bf16", accelerator="NVIDIA-B200").capacity
    assert capacity is not None
    each = capacity.kv_cache_bytes / capacity.kv_cache_tokens
    assert slots == pytest.approx(each / row, rel=0.001)


def test_sliding_layers_hold_the_window_and_the_batch() -> None:
    """Beyond window and batch a long sequence grows by its full layers alone."""
    short, long = (
        ask("google/gemma-3-27b-it", tokens, kv_cache_dtype="bf16").kv_cache_bytes
        for tokens in (65_536, 131_072)
    )
    full_layers, row = 10, 2 * 16 * 128 * 2
    assert 65_536 * full_layers * row == long - short


def test_before_0_10_every_layer_keeps_all() -> None:
    """Without groups a sequence costs all 62 layers at every token."""
    answer = ask("google/gemma-3-27b-it", 65_536, kv_cache_dtype="bf16", engine={"version": "0.9"})
    assert 65_536 * 62 * 2 * 16 * 128 * 2 == answer.kv_cache_bytes


def test_a_state_takes_one_block_of_its_group() -> None:
    """Qwen3.5's gated delta nets: their state is a page, and attention's blocks grow to it."""
    one, two = (ask("Qwen/Qwen3.5-35B-A3B", tokens).kv_cache_bytes for tokens in (16, 1024))
    assert one > 30 * 2 * 2**20 // 4  # 30 layers' states of megabytes at one token
    assert two >= one


def test_packed_pages_of_v4_flash() -> None:
    """22 tuples of pages of 37,440, 8,640 and 1,728 bytes, as an allocation at 0.22 printed."""
    pages = 22 * (37_440 + 8_640 + 1_728)
    rows, windows, quarters, eighths = 1000, 2 * 131, 2051, 1041
    answer = ask("deepseek-ai/DeepSeek-V4-Flash", 256_000, engine={"version": "0.22"})
    assert (rows + windows + quarters + eighths) * pages == answer.kv_cache_bytes


def test_sparse_latent_rows_in_fp8_keep_scales_and_rotary() -> None:
    """656 bytes a layer and token for DeepSeek-V3.2, and 132 for every indexer."""
    answer = ask("deepseek-ai/DeepSeek-V3.2", 4096, kv_cache_dtype="fp8")
    assert 61 * (656 + 132) == answer.ranks[0].kv_cache_bytes_per_token


def test_uniformly_sliding_models_count_their_pool() -> None:
    """Phi-4-mini's layers all slide; its log still counts the tokens of the pool's blocks."""
    answer = ask("microsoft/Phi-4-mini-instruct", 4096, accelerator="NVIDIA-A100-SXM4-40GB")
    assert answer.capacity is not None
    each = 32 * 2 * 8 * 128 * 2
    assert answer.capacity.kv_cache_bytes // (16 * each) * 16 == answer.capacity.kv_cache_tokens


@pytest.mark.parametrize("stages", [2, 5, 6])
def test_groups_follow_the_layers_over_a_pipeline(stages: int) -> None:
    """Stages together pay for at least the layer slots of the whole, each for its own share."""
    question = {"kv_cache_dtype": "bf16", "split": {"pipeline": stages}}
    whole = ask("google/gemma-3-27b-it", 32_768, kv_cache_dtype="bf16").kv_cache_bytes
    divided = ask("google/gemma-3-27b-it", 32_768, **question)
    assert whole <= divided.kv_cache_bytes <= 1.5 * whole
    assert max(rank.kv_cache_bytes for rank in divided.ranks) < whole


def test_the_ideal_layout_is_the_windows_alone() -> None:
    """Asked for, the engine's pages are left out and only rows are counted."""
    ideal = ask("openai/gpt-oss-20b", 8192, engine={"cache_layout": "ideal"})
    rows = 12 * 8192 + 12 * 128
    assert rows * 2 * 8 * 64 * 2 == ideal.kv_cache_bytes
