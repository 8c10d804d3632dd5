"""Sparse attention is refused by versions that do not know it, and where there are no kernels."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import truths
from engines import named
from rackfit.engines.attending import sparse_kinds
from rackfit.engines.split import Split
from rackfit.engines.version import shown
from rackfit.engines.vllm.sparse import SPARSE_KERNELS

CHOSEN, GLM = "deepseek-ai/DeepSeek-V3.2", "zai-org/GLM-5"
COMPRESSED, LATENT = "deepseek-ai/DeepSeek-V4-Pro", "deepseek-ai/DeepSeek-V3"
RTX = "rtx-pro-6000"


def refused(model: str, engine: str, accelerator: Any, **more: Any) -> dict[str, str]:  # noqa: ANN401 (parts of a request)
    """What is said of a model's attention, by code."""
    question = {
        "model": {"id": model},
        "engine": named.asked(engine),
        "workload": {"context_tokens": 4096, "sequences": 1},
        "split": {"tensor": 8},
        "accelerator": accelerator,
    }
    told = truths.ask(question | more).rejections or ()
    return {one.code: one.detail for one in told if "attention to" in one.detail}


@pytest.mark.parametrize("engine", ["vllm", "vllm:0.11.0", "vllm:0.19.1", "vllm:0.33", "sglang"])
@pytest.mark.parametrize("accelerator", ["a100-80gb", "a800-80gb", "a30", "l40s"])
@pytest.mark.parametrize("model", [CHOSEN, GLM])
def test_chosen_rows_have_no_kernels_before_hopper(
    engine: str, accelerator: str, model: str
) -> None:
    """DeepGEMM's indexer and FlashMLA begin there."""
    assert {"hardware-unsupported"} == refused(model, engine, accelerator).keys()


@pytest.mark.parametrize("engine", ["vllm", "vllm:0.20", "vllm:0.33", "sglang:0.5.12", "sglang"])
@pytest.mark.parametrize("accelerator", ["a100-80gb", "l40s"])
def test_compressed_rows_have_none_either(engine: str, accelerator: str) -> None:
    """Whatever the version, named or not."""
    assert {"hardware-unsupported"} == refused(COMPRESSED, engine, accelerator).keys()


@pytest.mark.parametrize(
    ("model", "engine", "accelerator", "code"),
    [
        (CHOSEN, "vllm:0.10.2", "h200", "model"),
        (CHOSEN, "vllm:0.11.0", "h200", ""),
        (CHOSEN, "vllm:0.11.0", "mi300x", "hardware"),
        (CHOSEN, "vllm:0.12", "mi300x", ""),
        (CHOSEN, "vllm:0.23", RTX, "hardware"),
        (CHOSEN, "vllm:0.24", RTX, ""),
        (CHOSEN, "vllm:0.33", "gaudi3", "hardware"),
        (COMPRESSED, "vllm:0.19.1", "b200", "model"),
        (COMPRESSED, "vllm:0.20", "b200", ""),
        (COMPRESSED, "vllm:0.20", "mi355x", "hardware"),
        (COMPRESSED, "vllm:0.21", "mi355x", ""),
        (COMPRESSED, "vllm:0.23", RTX, "hardware"),
        (COMPRESSED, "vllm:0.24", RTX, ""),
        (CHOSEN, "sglang:0.5.2", "h200", "model"),
        (CHOSEN, "sglang:0.5.3", "h200", ""),
        (CHOSEN, "sglang:0.5.23", RTX, "hardware"),
        (COMPRESSED, "sglang:0.5.11", "b200", "model"),
        (COMPRESSED, "sglang:0.5.12", "b200", ""),
        (COMPRESSED, "sglang:0.5.12", RTX, "hardware"),
        (COMPRESSED, "sglang:0.5.13", RTX, ""),
        (COMPRESSED, "sglang:0.5.13", "mi355x", ""),
        (CHOSEN, "tensorrt-llm:1.1", "h200", "model"),
        (CHOSEN, "tensorrt-llm:1.2", "h200", ""),
        (CHOSEN, "tensorrt-llm:1.3", "l40s", "hardware"),
        (CHOSEN, "tensorrt-llm:1.3", RTX, "hardware"),
        (COMPRESSED, "tensorrt-llm:1.2", "b200", "model"),
        (COMPRESSED, "tensorrt-llm:1.3", "b200", ""),
        (LATENT, "vllm:0.11.0", "a100-80gb", ""),
        (LATENT, "sglang:0.4.9", "a100-80gb", ""),
    ],
)
def test_what_a_version_has_kernels_for(
    model: str, engine: str, accelerator: str, code: str
) -> None:
    """Too old for the attention, or for the device, or neither."""
    expected = {f"{code}-unsupported"} if code else set()
    assert expected == refused(model, engine, accelerator).keys()


def test_one_model_has_kernels_on_rtx_parts_in_sglang() -> None:
    """GLM-5's rows in fp8, from the version that chooses them unasked."""
    asked = {"kv_cache_dtype": "fp8"}
    assert {} == refused(GLM, "sglang:0.5.18", RTX, **asked)
    for model, engine, dtype in (
        (GLM, "sglang:0.5.17", "fp8"),
        (GLM, "sglang:0.5.18", "bf16"),
        (CHOSEN, "sglang:0.5.18", "fp8"),
    ):
        told = refused(model, engine, RTX, kv_cache_dtype=dtype)
        assert {"hardware-unsupported"} == told.keys()


def test_a_refusal_names_the_attention_the_device_and_a_version_that_would_do() -> None:
    """0.19 is planned for where none is named."""
    (told,) = refused(CHOSEN, "vllm", RTX).values()
    assert (
        "vllm 0.19 has no kernels for attention to latent rows that an indexer chooses "
        "(DeepSeek-V3.2, GLM-5) on NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition: 0.24 is the first "
        "that has." == told
    )
    (told,) = refused(COMPRESSED, "vllm:0.19", "h200").values()
    assert (
        "vllm 0.19 does not know attention to compressed rows (DeepSeek-V4): 0.20 is the first "
        "that does." == told
    )


@pytest.mark.parametrize("accelerator", ["h200", "b200", "mi355x", RTX])
def test_an_unnamed_version_is_not_too_old_for_a_model(accelerator: str) -> None:
    """The newest is judged by where the usual one does not know the attention."""
    assert {} == refused(COMPRESSED, "vllm", accelerator)


def test_a_device_of_unknown_generation_is_taken_at_its_word() -> None:
    """An inline accelerator without a generation has no rule."""
    device = {"id": "new", "usable_bytes": 100 << 30}
    assert {} == refused(CHOSEN, "vllm", device)


@given(st.tuples(st.integers(0, 1), st.integers(0, 40)))
def test_kernels_only_come(version: tuple[int, int]) -> None:
    """A version has what every older one had, and knows the attention if it has any."""
    for kind in SPARSE_KERNELS.steps:
        held = SPARSE_KERNELS.held(kind, version)
        assert held <= SPARSE_KERNELS.held(kind, (version[0], version[1] + 1))
        assert bool(held) == (version >= SPARSE_KERNELS.first(kind))


@pytest.mark.parametrize("model", [CHOSEN, COMPRESSED])
def test_it_is_told_without_a_device(model: str) -> None:
    """A version too old for the attention is, and nothing of kernels."""
    engine, served = named.started("vllm:0.10.2"), named.served(model)
    (told,) = engine.unloadable(served.caching("fp8"), Split(tensor=8))
    assert "model-unsupported" == told.code
    assert shown(engine.version) in told.detail
    assert len(sparse_kinds(served)) == 1
