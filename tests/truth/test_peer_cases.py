"""Facts from other planners' test suites: exact where they are arithmetic, as printed where logged.

Sources and licences stand beside each case in data/peer_cases.json.
"""

import ast
from pathlib import Path
from typing import Any

import msgspec
import pytest

import truths
from published import CONFIGS
from rackfit.memory.inspection import inspect_model
from rackfit.memory.question import InspectAnswer, InspectRequest

CASES = {case["id"]: case for case in truths.cases("peer_cases.json")}
GIB = truths.GIB


def expect(case: str) -> dict[str, Any]:
    """Return what a case expects."""
    expected: dict[str, Any] = CASES[case]["expect"]
    return expected


def inspect(model: dict[str, Any], dtype: str | None = None) -> InspectAnswer:
    """Inspect a model with a KV cache type."""
    question = {"model": model} | ({"kv_cache_dtype": dtype} if dtype else {})
    return inspect_model(msgspec.convert(question, InspectRequest), truths.catalog())


def cache_bytes(
    model: str, tokens: int, *, tensor: int = 1, dtype: str = "bf16", sequences: int = 1
) -> int:
    """Bytes of cache on one rank, by the layout alone."""
    question = {
        "model": {"id": model},
        "kv_cache_dtype": dtype,
        "workload": {"context_tokens": tokens, "sequences": sequences},
        "split": {"tensor": tensor},
    }
    return truths.ask(question).ranks[0].kv_cache_bytes


def test_every_case_is_in_a_test() -> None:
    """None is left out for not agreeing."""
    named = {
        node.value
        for file in Path(__file__).parent.glob("test_peer_*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant)
    }
    assert set() == set(CASES) - named


def test_kimi_keeps_a_latent_row_whole_on_every_rank() -> None:
    """35,136 elements a token at TP4."""
    size = cache_bytes("moonshotai/Kimi-K2.5", 1000, tensor=4)
    assert expect("kv-kimi25")["elements"] * 2 * 1000 == size


def test_llama_keeps_eight_heads() -> None:
    """131,072 bytes a token in bf16."""
    size = cache_bytes("meta-llama/Llama-3.1-8B-Instruct", 1000)
    assert expect("kv-llama8b")["bytes_bf16"] * 1000 == size


def test_gemma_divides_its_few_heads_and_keeps_one() -> None:
    """A sequence of 262,144 tokens on one of eight ranks, windows and all."""
    size = cache_bytes("google/gemma-4-26B-A4B", 262_144, tensor=8)
    assert expect("kv-gemma4-26b-262k-tp8")["bytes"] == size


def test_gpt2_names_its_fields_its_own_way() -> None:
    """n_embd, n_layer and n_head are read."""
    config = {"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024}
    answer = inspect({"config": config | {"vocab_size": 50_257}}, "f16")
    assert expect("kv-gpt2-alias")["bytes"] == answer.kv_cache.bytes_per_token


def test_gemma_4_31b_in_eight_bits() -> None:
    """The whole cache at 131,072 tokens."""
    size = cache_bytes("google/gemma-4-31B-it", 131_072, dtype="int8")
    assert expect("fv-gemma4-31b-q8")["bytes"] == size


def test_qwen_27b_grows_by_its_full_layers_alone() -> None:
    """The growing part at 131,072 tokens; the recurrent state is constant."""
    answer = inspect({"id": "Qwen/Qwen3.6-27B"}, "int8")
    assert expect("fv-qwen36-27b-q8")["bytes"] == 131_072 * answer.kv_cache.bytes_per_token


def test_glm_flash_keeps_a_latent_row() -> None:
    """54,144 bytes a token."""
    answer = inspect({"id": "zai-org/GLM-4.7-Flash"}, "bf16")
    assert expect("fv-glm47flash")["bytes"] == answer.kv_cache.bytes_per_token


@pytest.mark.parametrize("case", ["lp-w-Qwen2.5-0.5B", "lp-w-DeepSeek-V2", "lp-w-gpt-oss-20b"])
def test_checkpoints_are_as_large_as_their_headers_say(case: str) -> None:
    """The sum over the safetensors headers, to the byte."""
    answer = inspect({"id": CASES[case]["input"]["model"]})
    assert round(expect(case)["gib"] * GIB) == answer.checkpoint_bytes


@pytest.mark.parametrize("case", ["lp-kv-DeepSeek-V3", "lp-kv-DeepSeek-V2", "lp-kv-Qwen2.5-0.5B"])
def test_caches_of_ten_thousand_tokens(case: str) -> None:
    """To the five decimals printed."""
    size = cache_bytes(CASES[case]["input"]["model"], 10_000)
    assert expect(case)["gib"] == round(size / GIB, 5)


def test_experts_are_counted() -> None:
    """256 in DeepSeek-R1 and 128 in Qwen3-235B, by the router's rows."""
    models = ("deepseek-ai/DeepSeek-R1", "Qwen/Qwen3-235B-A22B")
    counts = [
        next(t.shape[0] for t in inspect({"id": m}).tensors if t.component == "router")
        for m in models
    ]
    assert expect("lp-experts")["experts"] == counts


@pytest.mark.parametrize(
    ("case", "model"),
    [("hf-gptoss120", "openai/gpt-oss-120b"), ("hf-gemma4-31b", "google/gemma-4-31B-it")],
)
def test_vllm_pays_for_layer_slots(case: str, model: str) -> None:
    """Bytes of the pool a logged token takes, all groups of layers counted; and the checkpoint."""
    answer = truths.ask(
        {
            "model": {"id": model},
            "engine": {"name": "vllm", "version": "0.19"},
            "kv_cache_dtype": "bf16",
            "workload": {"context_tokens": 8192, "sequences": 1},
            "accelerator": "NVIDIA-B200",
        }
    )
    assert answer.capacity is not None
    each = answer.capacity.kv_cache_bytes / answer.capacity.kv_cache_tokens
    assert expect(case)["bytes_per_token"] == pytest.approx(each, rel=0.001)
    assert expect(case)["weight_bytes"] == inspect({"id": model}).checkpoint_bytes


def test_windows_as_they_are_and_as_the_engine_allocates() -> None:
    """gpt-oss-20b, 32 sequences of 8,192: 6.09 GiB by its windows, 12.00 in vLLM's pages."""
    question = {
        "model": {"id": "openai/gpt-oss-20b"},
        "kv_cache_dtype": "bf16",
        "workload": {"context_tokens": 8192, "sequences": 32},
    }
    ideal = truths.ask(question).kv_cache_bytes / GIB
    paged = truths.ask(question | {"engine": {"name": "vllm"}}).kv_cache_bytes / GIB
    expected = expect("hf-gptoss20-8k32")
    assert expected["window_capped"] == pytest.approx(ideal, abs=0.005)
    assert expected["engine_unified_pages"] == pytest.approx(paged, abs=0.02)


def test_hy3_keeps_eight_heads_in_eighty_layers() -> None:
    """262,144 tokens in 16 bits, to the byte."""
    question = {
        "model": {"config": CONFIGS["(default hy_v3)"] | {"max_position_embeddings": 262_144}},
        "kv_cache_dtype": "bf16",
        "workload": {"context_tokens": 262_144, "sequences": 1},
    }
    assert expect("fv-hy3")["bytes"] == truths.ask(question).kv_cache_bytes


def test_pythia_has_two_matrices_in_a_feed_forward_and_not_three() -> None:
    """Theirs counts a gate that GPT-NeoX has not, and neither biases nor norms."""
    layers, hidden, width = 6, 512, 2048
    config = CONFIGS["EleutherAI/gpt-neox-20b"] | {
        "hidden_size": hidden,
        "intermediate_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": 8,
        "vocab_size": 50_304,
        "max_position_embeddings": 2048,
        "torch_dtype": "float16",
    }
    ours = truths.ask(
        {"model": {"config": config}, "workload": {"context_tokens": 1, "sequences": 1}}
    )
    gate = layers * hidden * width
    biases = layers * (3 * hidden + hidden + width + hidden)
    norms = (2 * layers + 1) * 2 * hidden
    assert expect("w-pythia70m")["bytes"] == ours.weights_bytes + 2 * (gate - biases - norms)


def test_tensor_degrees_of_r1_are_those_that_divide_its_heads() -> None:
    """Theirs are all of them; ours stand with experts whole on their ranks."""
    legal = []
    for tensor in range(1, 129):
        question = {
            "model": {"id": "deepseek-ai/DeepSeek-R1"},
            "workload": {"context_tokens": 8192, "sequences": 1},
            "split": {"tensor": tensor, "expert": tensor},
            "accelerator": "NVIDIA-H200",
        }
        refused = {rejection.code for rejection in truths.ask(question).rejections or ()}
        if not refused - {"weights-exceed-memory", "memory-exceeded"}:
            legal.append(tensor)
    assert expect("lp-tp-r1")["tp"] == legal


def test_a_rule_of_thumb_for_qwen_is_met_and_replaced() -> None:
    """Weights x 1.2 + 2 GiB whatever the context; ours is less of one sequence, and grows."""
    whole = {
        "model": {"id": "Qwen/Qwen3-32B"},
        "engine": {"name": "vllm"},
        "accelerator": "NVIDIA-H200",
    }
    few, many = (
        truths.ask({**whole, "workload": {"context_tokens": 32_768, "sequences": sequences}})
        for sequences in (1, 8)
    )
    weights = few.weights_bytes / GIB
    theirs = expect("gs-vram-Qwen3-32B")["gib"]
    assert theirs == pytest.approx(1.2 * weights + 2, abs=0.02)
    assert few.total_bytes / GIB < theirs < many.total_bytes / GIB
    assert 7 * 8 * GIB == many.kv_cache_bytes - few.kv_cache_bytes
