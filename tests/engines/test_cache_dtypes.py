"""A KV cache of another type than the model's is one that the engine is told of, or refused."""

import pytest

import truths
from engines import named
from rackfit.engines.cache_layout import KV_DTYPES
from rackfit.engines.launch import Launched
from rackfit.engines.split import Split

LLAMA, FLOAT16 = "meta-llama/Llama-3.1-8B-Instruct", "microsoft/phi-2"
ENGINES = ("vllm", "sglang", "sglang:0.5.3", "tensorrt-llm", "llama.cpp")


def told(engine: str, model: str, dtype: str) -> str | None:
    """What differs in the launch from that with the model's own type; None where it is refused."""
    asked, served = named.started(engine), named.served(model)
    wanted = served.caching(dtype)
    if any(r.code == "kv-dtype-unsupported" for r in asked.unloadable(wanted, Split())):
        return None
    words = []
    for one in (served, wanted):
        launched = Launched(
            model=one, split=Split(), utilization=0.9, context_tokens=8192, sequences=1
        )
        words.append({*asked.arguments(launched), *map(str, asked.files(launched).items())})
    return " ".join(sorted(words[1] - words[0]))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("model", ["meta-llama/Llama-3.1-8B-Instruct", "openai/gpt-oss-20b"])
@pytest.mark.parametrize("dtype", sorted(KV_DTYPES))
def test_every_other_type_that_is_taken_is_launched(engine: str, model: str, dtype: str) -> None:
    """Both models compute in bf16: what is not told would be kept in that."""
    if dtype != "bf16":
        assert told(engine, model, dtype) != ""


@pytest.mark.parametrize(
    ("version", "model", "dtype", "argument"),
    [
        ("0.10", FLOAT16, "bf16", None),
        ("0.11", FLOAT16, "bf16", "--kv-cache-dtype=bfloat16"),
        ("0.17", LLAMA, "f16", None),
        ("0.18", LLAMA, "f16", "--kv-cache-dtype=float16"),
        ("0.20", LLAMA, "nvfp4", None),
        ("0.21", LLAMA, "nvfp4", "--kv-cache-dtype=nvfp4"),
        ("0.33", "deepseek-ai/DeepSeek-V3", "nvfp4", None),
        ("0.33", "deepseek-ai/DeepSeek-V3", "f16", "--kv-cache-dtype=float16"),
        ("0.20", "deepseek-ai/DeepSeek-V4-Pro", "bf16", None),
        ("0.33", "deepseek-ai/DeepSeek-V4-Pro", "bf16", None),
        ("0.33", "deepseek-ai/DeepSeek-V4-Pro", "f16", None),
        ("0.33", "deepseek-ai/DeepSeek-V4-Pro", "fp8", ""),
    ],
)
def test_vllm_is_told_what_its_version_takes(
    version: str, model: str, dtype: str, argument: str | None
) -> None:
    """CacheDType grew: bfloat16, float16, then FP4, which latent rows have no kernels for."""
    assert argument == told(f"vllm:{version}", model, dtype)


@pytest.mark.parametrize(
    ("version", "accelerator", "held"),
    [
        ("0.21", "NVIDIA-B200", True),
        ("0.21", "NVIDIA-H200", False),
        ("0.31", "NVIDIA-GeForce-RTX-5090", False),
        ("0.32", "NVIDIA-GeForce-RTX-5090", True),
        ("0.32", "NVIDIA-H200", True),
        ("0.32", "AMD-Instinct-MI355X", False),
    ],
)
def test_fp4_caches_are_kept_where_kernels_read_them(
    version: str, accelerator: str, *, held: bool
) -> None:
    """On SM100 at first; 9 bytes for 16 elements of a key or value."""
    answer = truths.ask(
        {
            "model": {"id": LLAMA},
            "engine": {"name": "vllm", "version": version},
            "kv_cache_dtype": "nvfp4",
            "workload": {"context_tokens": 8192, "sequences": 1},
            "accelerator": accelerator,
        }
    )
    refused = [r for r in answer.rejections or () if r.code == "hardware-unsupported"]
    assert held is not bool(refused)
    assert all("supports_kv_cache_dtype" in one.source for one in refused)
    assert 32 * 8 * 2 * 128 * 9 // 16 == answer.ranks[0].kv_cache_bytes_per_token


@pytest.mark.parametrize(
    ("engine", "dtype"),
    [("tensorrt-llm", "int8"), ("tensorrt-llm", "f16"), ("vllm", "f32"), ("sglang", "f16")],
)
def test_a_type_that_cannot_be_told_is_refused(engine: str, dtype: str) -> None:
    """KvCacheConfig.dtype knows fp8 and nvfp4; vLLM and SGLang fp8 and bfloat16."""
    assert told(engine, "meta-llama/Llama-3.1-8B-Instruct", dtype) is None


@pytest.mark.parametrize(
    ("model", "asked", "kept"),
    [
        ("nvidia/Llama-3.1-70B-Instruct-FP8", None, "fp8"),
        ("nvidia/Llama-3.1-70B-Instruct-FP8", "fp8", "fp8"),
        ("nvidia/Llama-3.1-70B-Instruct-FP8", "bf16", "bf16"),
        ("nvidia/Llama-3.1-70B-Instruct-FP8", "nvfp4", "bf16"),
        ("nvidia/Qwen3.5-397B-A17B-NVFP4", "nvfp4", "fp8"),
        ("nvidia/Qwen3.5-397B-A17B-NVFP4", "fp8", "bf16"),
    ],
)
@pytest.mark.parametrize("before", [None, "bf16", "Q8_0"])
def test_a_calibrated_cache_goes_with_the_checkpoints_own_scheme(
    model: str, asked: str | None, kept: str, before: str | None
) -> None:
    """Named or not; another scheme has none, whatever the model was asked for in before."""
    asked_for, other = named.served(model, asked), named.served(model, before)
    assert kept == asked_for.kv_cache_dtype
    if asked is not None:
        scheme = truths.catalog().schemes[asked]
        assert kept == other.stored_as(scheme).kv_cache_dtype
        assert "fp8" == other.caching("fp8").stored_as(scheme).kv_cache_dtype
