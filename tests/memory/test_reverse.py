"""The questions turned round agree with the question itself."""

from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import truths
from rackfit.architecture.huggingface import read_config

MODELS = (
    "Qwen/Qwen3-32B",
    "google/gemma-3-12b-it",
    "deepseek-ai/DeepSeek-V2-Lite",
    "Qwen/Qwen3.5-27B",
    "openai/gpt-oss-20b",
    "Qwen/Qwen3-VL-8B-Instruct",
)
STARTED = (
    {"name": "vllm", "version": "0.6"},
    {"name": "vllm", "version": "0.7.3", "max_batched_tokens": 4096},
    {"name": "vllm", "version": "0.8.5"},
    {"name": "vllm", "version": "0.19", "max_sequences": 64},
    {"name": "vllm", "version": "0.28"},
    {"name": "sglang", "version": "0.4.9"},
    {"name": "sglang", "version": "0.5.9", "max_batched_tokens": 32_768},
    {"name": "sglang"},
    {"name": "tensorrt-llm"},
    {"name": "llama.cpp"},
    {"name": "generic"},
)
SPLITS = (
    {"tensor": 1},
    {"tensor": 2},
    {"tensor": 4},
    {"tensor": 2, "data": 2},
    {"tensor": 2, "pipeline": 2},
    {"tensor": 1, "pipeline": 2},
)
Json = dict[str, Any]


def question(
    model: str, engine: Json, split: Json, tokens: int, sequences: int, *, accelerator: str = "h100"
) -> Json:
    """Return a memory question of a context that the model has."""
    tokens = min(tokens, context_of(model))
    return {
        "model": {"id": model},
        "engine": engine,
        "split": split,
        "workload": {"context_tokens": tokens, "sequences": sequences},
        "accelerator": accelerator,
        **({"quantization": "Q4_K_M"} if engine["name"] == "llama.cpp" else {}),
    }


asked = st.builds(
    question,
    st.sampled_from(MODELS),
    st.sampled_from(STARTED),
    st.sampled_from(SPLITS),
    st.integers(16, 120_000),
    st.integers(1, 300),
    accelerator=st.sampled_from(("h100", "AMD-Instinct-MI300X", "NVIDIA-B200")),
)


@settings(max_examples=200, deadline=None)
@given(asked)
def test_the_longest_context_fits_and_none_longer(asked: Json) -> None:
    """Asked for itself it fits, and one token more does not, unless the model's context ends."""
    answer = truths.ask(asked)
    assert answer.reach is not None
    longest = answer.reach.longest_context_tokens
    if longest:
        assert fits(asked, tokens=longest)
    if longest < context_of(asked["model"]["id"]):
        assert not fits(asked, tokens=longest + 1)
    assert longest >= asked["workload"]["context_tokens"] or not answer.feasible


@settings(max_examples=200, deadline=None)
@given(asked)
def test_most_sequences_fit_and_not_one_more(asked: Json) -> None:
    """The capacity in sequences is what the workload may be raised to."""
    answer = truths.ask(asked)
    assert answer.reach is not None
    most = answer.reach.most_sequences
    if most:
        assert fits(asked, sequences=most)
    assert not fits(asked, sequences=most + 1)


@settings(max_examples=200, deadline=None)
@given(asked)
def test_the_smallest_utilization_fits_and_none_smaller(asked: Json) -> None:
    """A thousandth less does not hold the workload."""
    answer = truths.ask(asked)
    assert answer.reach is not None
    share = answer.reach.smallest_gpu_memory_utilization
    if asked["engine"]["name"] in ("llama.cpp", "generic"):
        assert share is None
        return
    if share is None:
        assert not answer.feasible
        assert not starts(asked, 1.0)
        return
    assert starts(asked, share)
    assert share <= 0.001 or not starts(asked, round(share - 0.001, 3))


@pytest.mark.parametrize("tokens", [2048, 32_768, 40_000])
def test_before_0_8_the_longest_context_is_the_same_from_wherever_it_is_asked(tokens: int) -> None:
    """Batches follow the context up to 32,768 tokens; the answer goes by those of its own."""
    asked = question(
        "Qwen/Qwen3-32B", {"name": "vllm", "version": "0.6"}, {"tensor": 2}, tokens, 10
    )
    from_8192 = truths.ask(asked | {"workload": {"context_tokens": 8192, "sequences": 10}})
    assert from_8192.reach is not None
    longest = from_8192.reach.longest_context_tokens
    found = truths.ask(asked).reach
    assert found is not None
    assert longest == found.longest_context_tokens
    assert 8192 < longest < 32_768


@cache
def context_of(model: str) -> int:
    """Return the model's own limit, which is the most that is looked for."""
    config = truths.catalog().models[model].config
    assert config is not None
    return read_config(config).context_tokens


def fits(asked: Json, **workload: int) -> bool:
    """Ask again with another context or other sequences."""
    named = {"tokens": "context_tokens", "sequences": "sequences"}
    changed = {named[name]: value for name, value in workload.items()}
    return truths.ask(asked | {"workload": asked["workload"] | changed}).feasible is True


def starts(asked: Json, share: float) -> bool:
    """Ask again with another share of each device."""
    engine = asked["engine"] | {"gpu_memory_utilization": share}
    return truths.ask(asked | {"engine": engine}).feasible is True
