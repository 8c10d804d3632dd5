"""SGLang's static share, and the pool of its sliding layers."""

import pytest

import truths
from rackfit.engines import engine_for
from rackfit.engines.choice import EngineChoice
from rackfit.engines.split import Split

NAMES = ("sglang", "vllm")


def capacity(weights: str, **engine: float) -> tuple[int, int]:
    """Return bytes of weights and of cache on each of eight H200."""
    answer = truths.ask(
        {
            "model": {"id": weights},
            "engine": {"name": "sglang"} | engine,
            "workload": {"context_tokens": 8192, "sequences": 1},
            "split": {"tensor": 8},
            "accelerator": "NVIDIA-H200",
        }
    )
    assert answer.capacity is not None
    return answer.ranks[0].weights_bytes, answer.capacity.kv_cache_bytes


def test_the_static_share_is_of_what_is_there_before_loading() -> None:
    """A log on eight H200: 137.9 GiB there, and 0.9113 of them hold the 125.65 GiB of weights."""
    weights, cache = capacity("deepseek-ai/DeepSeek-V3", gpu_memory_utilization=0.9113)
    there = 137.9 * truths.GIB
    assert 0.9113 * there == pytest.approx(weights + cache, rel=0.001)
    assert 0.9113 * there == pytest.approx(125.65 * truths.GIB, rel=0.001)


def test_the_default_share_sets_apart_what_batches_need() -> None:
    """512 MiB, 1.5 a token of 8,192, 2 a sequence of 512 and 1,024 for eight ranks, of H200."""
    reserved = (512 + 1.5 * 8192 + 2 * 512 + 1024) / (139.8 * 1024)
    weights, cache = capacity("deepseek-ai/DeepSeek-V3")
    share = (weights + cache) / (137.9 * truths.GIB)
    assert 1 - reserved == pytest.approx(share, abs=0.001)


def test_sliding_layers_have_a_pool_of_their_own() -> None:
    """A token of the pool costs the full layers and 0.8 of the sliding ones."""
    answer = truths.ask(
        {
            "model": {"id": "google/gemma-3-27b-it"},
            "engine": {"name": "sglang"},
            "kv_cache_dtype": "bf16",
            "workload": {"context_tokens": 8192, "sequences": 1},
        }
    )
    row = 2 * 16 * 128 * 2
    assert (10 * row + 52 * row * 4 / 5) == pytest.approx(
        answer.ranks[0].kv_cache_bytes_per_token, abs=1
    )


@pytest.mark.parametrize(
    ("accelerator", "row"),
    [("NVIDIA-H200", 656), ("NVIDIA-B200", 576), ("AMD-Instinct-MI300X", 576)],
)
def test_sparse_latent_rows_in_fp8_are_those_of_the_kernels(accelerator: str, row: int) -> None:
    """V3.2 measured 48,072 bytes a token on Hopper; an indexer's key is 132 everywhere."""
    answer = truths.ask(
        {
            "model": {"id": "deepseek-ai/DeepSeek-V3.2"},
            "engine": {"name": "sglang"},
            "kv_cache_dtype": "fp8",
            "workload": {"context_tokens": 8192, "sequences": 1},
            "split": {"tensor": 8},
            "accelerator": accelerator,
        }
    )
    assert 61 * (row + 132) == answer.ranks[0].kv_cache_bytes_per_token


def test_the_default_share_follows_the_callers_chunk() -> None:
    """A chunk of 32,768 sets 48 GiB of activations apart, one of 2,048 no less than the floor."""
    (_, usual), (_, large) = (
        capacity("deepseek-ai/DeepSeek-V3"),
        capacity("deepseek-ai/DeepSeek-V3", max_batched_tokens=32_768),
    )
    assert 1.5 * (32_768 - 8192) * (1 << 20) == pytest.approx(usual - large, rel=0.02)


def test_the_head_is_divided_over_all_ranks_of_attention_dp() -> None:
    """Without `--enable-dp-lm-head`, which is not among the arguments; vLLM's is over TP alone."""
    split = Split(tensor=2, data=4)
    parts = {name: engine_for(EngineChoice(name=name), 0.1).head_parts(split) for name in NAMES}
    assert {"sglang": 8, "vllm": 2} == parts


def test_a_rank_of_attention_dp_holds_its_part_of_the_head() -> None:
    """An eighth of DeepSeek-V3's head of 1.73 GiB stays; seven eighths are elsewhere."""
    asked = {
        "model": {"id": "deepseek-ai/DeepSeek-V3"},
        "workload": {"context_tokens": 8192, "sequences": 8},
        "split": {"tensor": 1, "data": 8},
        "engine": {"name": "sglang"},
        "accelerator": "NVIDIA-H200",
    }
    head = 129_280 * 7168 * 2
    here = truths.ask(asked).ranks[0].weights_bytes
    assert here + head * 7 / 8 == pytest.approx(90.867 * truths.GIB, rel=0.001)
