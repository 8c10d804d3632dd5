"""Engines refuse devices they do not run on and formats those cannot hold."""

from typing import Any

import pytest

import truths
from engines import named


def codes(engine: str, accelerator: str, **more: Any) -> set[str]:  # noqa: ANN401 (parts of a request)
    """Return the codes of all rejections of a small model, by `engine` or `engine:version`."""
    question = {
        "model": {"id": "Qwen/Qwen3-8B"},
        "engine": named.asked(engine),
        "workload": {"context_tokens": 4096, "sequences": 1},
        "accelerator": accelerator,
    }
    return {rejection.code for rejection in truths.ask(question | more).rejections or ()}


@pytest.mark.parametrize(
    ("engine", "accelerator", "more"),
    [
        ("tensorrt-llm", "mi300x", {}),
        ("tensorrt-llm", "gaudi3", {}),
        ("vllm:0.19", "mi300x", {"quantization": "nvfp4"}),
        ("vllm", "mi300x", {"quantization": "bnb-nf4"}),
        ("vllm", "v100", {"quantization": "fp8"}),
        ("sglang:0.5.12", "h200", {"quantization": "nvfp4"}),
        ("sglang:0.5.13", "t4", {"quantization": "nvfp4"}),
        ("sglang:0.5.13", "mi300x", {"quantization": "nvfp4"}),
        ("tensorrt-llm", "h200", {"kv_cache_dtype": "nvfp4"}),
        ("tensorrt-llm", "a100-80gb", {"quantization": "fp8"}),
    ],
)
def test_what_cannot_run_is_refused(engine: str, accelerator: str, more: dict[str, Any]) -> None:
    """Never a silent yes."""
    assert "hardware-unsupported" in codes(engine, accelerator, **more)


@pytest.mark.parametrize(
    ("engine", "accelerator", "more"),
    [
        ("vllm", "mi300x", {"quantization": "fp8"}),
        ("vllm", "a100-80gb", {"quantization": "fp8"}),  # weight-only
        ("vllm", "h100", {"quantization": "nvfp4"}),  # Marlin
        ("vllm:0.20", "mi300x", {"quantization": "nvfp4"}),  # emulated
        ("vllm", "mi300x", {"quantization": "gptq-int4"}),
        ("vllm", "mi300x", {"quantization": "awq-int4"}),
        ("vllm", "mi355x", {"quantization": "mxfp4"}),
        ("sglang", "b200", {"quantization": "nvfp4"}),
        ("sglang:0.5.13", "h200", {"quantization": "nvfp4"}),  # Marlin
        ("sglang:0.5.13", "a100-80gb", {"quantization": "nvfp4"}),
        ("tensorrt-llm", "b200", {"kv_cache_dtype": "nvfp4"}),
        ("llama.cpp", "mi300x", {"quantization": "Q4_K_M", "kv_cache_dtype": "f16"}),
    ],
)
def test_what_runs_is_not(engine: str, accelerator: str, more: dict[str, Any]) -> None:
    """Formats that kernels hold in another way are legal."""
    assert set() == codes(engine, accelerator, **more)


def test_a_device_of_unknown_generation_is_taken_at_its_word() -> None:
    """An inline accelerator without a generation has no rule."""
    device = {"id": "new", "usable_bytes": 100 << 30}
    question = {
        "model": {"id": "Qwen/Qwen3-8B"},
        "engine": {"name": "tensorrt-llm"},
        "workload": {"context_tokens": 4096, "sequences": 1},
        "accelerator": device,
    }
    assert truths.ask(question).feasible


def test_more_sequences_than_the_engine_is_started_for_are_refused() -> None:
    """The capacity is bounded alike."""
    engine = {"name": "vllm", "max_sequences": 10}
    workload = {"context_tokens": 1024, "sequences": 100}
    question = {"model": {"id": "Qwen/Qwen3-8B"}, "engine": engine, "workload": workload}
    answer = truths.ask(question | {"accelerator": "h200"})
    assert ["sequence-limit"] == [rejection.code for rejection in answer.rejections or ()]
    assert answer.capacity is not None
    assert answer.capacity.sequences == 10
