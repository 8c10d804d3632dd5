"""The questions turned round agree with the question itself."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

import truths

MODELS = (
    "Qwen/Qwen3-32B",
    "google/gemma-3-12b-it",
    "deepseek-ai/DeepSeek-V2-Lite",
    "Qwen/Qwen3.5-27B",
)
ENGINES = ("vllm", "sglang", "tensorrt-llm")


def question(model: str, engine: str, tensor: int, tokens: int, sequences: int) -> dict[str, Any]:
    """Return a memory question on H100."""
    return {
        "model": {"id": model},
        "engine": {"name": engine},
        "split": {"tensor": tensor},
        "workload": {"context_tokens": tokens, "sequences": sequences},
        "accelerator": "NVIDIA-H100-80GB-HBM3",
    }


asked = st.builds(
    question,
    st.sampled_from(MODELS),
    st.sampled_from(ENGINES),
    st.sampled_from((1, 2, 4)),
    st.integers(1, 32_768),
    st.integers(1, 300),
)


@settings(max_examples=60, deadline=None)
@given(asked)
def test_the_longest_context_fits_and_none_longer(asked: dict[str, Any]) -> None:
    """One token more does not fit, unless the model's own context ends there."""
    answer = truths.ask(asked)
    assert answer.reach is not None
    longest = answer.reach.longest_context_tokens
    if longest:
        assert _fits(asked, longest)
    if longest < 32_768:
        assert not _fits(asked, longest + 1)


@settings(max_examples=60, deadline=None)
@given(asked)
def test_most_sequences_fit_and_not_one_more(asked: dict[str, Any]) -> None:
    """The capacity in sequences is what the workload may be raised to."""
    answer = truths.ask(asked)
    assert answer.reach is not None
    most = answer.reach.most_sequences
    tokens = asked["workload"]["context_tokens"]
    if most:
        assert _fits(asked, tokens, sequences=most)
    assert not _fits(asked, tokens, sequences=most + 1)


@settings(max_examples=60, deadline=None)
@given(asked)
def test_the_smallest_utilization_fits_and_none_smaller(asked: dict[str, Any]) -> None:
    """A thousandth less does not hold the workload."""
    answer = truths.ask(asked)
    assert answer.reach is not None
    share = answer.reach.smallest_gpu_memory_utilization
    if share is None:
        assert not answer.feasible
        return
    assert _starts(asked, share)
    assert share <= 0.001 or not _starts(asked, round(share - 0.001, 3))


def _fits(asked: dict[str, Any], tokens: int, sequences: int | None = None) -> bool:
    """Ask again; batches stay those of the first question, as an engine once started has them."""
    workload = asked["workload"] | {"context_tokens": tokens}
    if sequences is not None:
        workload["sequences"] = sequences
    return truths.ask(asked | {"workload": workload}).feasible is True


def _starts(asked: dict[str, Any], share: float) -> bool:
    engine = asked["engine"] | {"gpu_memory_utilization": share}
    return truths.ask(asked | {"engine": engine}).feasible is True
