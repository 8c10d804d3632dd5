"""MXFP4 experts as engines keep them: padded for kernels, in whole blocks a rank, or wider."""

import pytest

import truths
from engines import named
from planning.asking import answer, nodes_of, request
from rackfit.memory.answer import MemoryAnswer

H100, H200 = "NVIDIA-H100-80GB-HBM3", "NVIDIA-H200"
RTX = "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition"
BLOCKS = 128 * 3 * 2880 * 2880 * 36 * 17 // 32
"""Bytes of gpt-oss-120b's experts, all matrices of 2,880 x 2,880 in 17 bytes a block of 32."""


def loaded(
    engine: str, split: dict[str, int], accelerator: str, model: str = "openai/gpt-oss-120b"
) -> MemoryAnswer:
    """Ask for a model's memory; `engine` is `name` or `name:version`."""
    return truths.ask(
        {
            "model": {"id": model},
            "engine": named.asked(engine),
            "workload": {"context_tokens": 8192, "sequences": 1},
            "split": split,
            "accelerator": accelerator,
        }
    )


@pytest.mark.parametrize(
    ("engine", "accelerator", "split", "hidden", "width"),
    [
        ("sglang:0.5.23", "NVIDIA-B200", {"tensor": 1}, 3072, 2944),
        ("sglang:0.5.14", "NVIDIA-B200", {"tensor": 1}, 3072, 3072),
        ("sglang:0.5.23", "NVIDIA-B200", {"tensor": 4}, 3072, 4 * 768),
        ("sglang:0.5.23", H100, {"tensor": 1}, 2880, 2880),
        ("sglang:0.5.23", H100, {"tensor": 4}, 2880, 4 * 768),
        ("sglang:0.5.9", H100, {"tensor": 4}, 2880, 4 * 736),
        ("sglang:0.5.23", "AMD-Instinct-MI355X", {"tensor": 8}, 3072, 8 * 512),
        ("sglang:0.5.23", H100, {"tensor": 4, "expert": 4}, 2880 * 64 / 17, 2880),
        ("tensorrt-llm", "NVIDIA-B200", {"tensor": 1}, (2 * 3072 + 2944) / 3, 2944),
        ("tensorrt-llm", H100, {"tensor": 8}, 2944, 8 * 384),
        ("vllm", "NVIDIA-B200", {"tensor": 8}, 3072, 8 * 512),
        ("vllm:0.27", "NVIDIA-B200", {"tensor": 1}, 3072, 2944),
        ("vllm:0.27", "AMD-Instinct-MI355X", {"tensor": 8}, 3072, 8 * 512),
        ("sglang:0.5.14", RTX, {"tensor": 1}, 3072, 2944),
        ("tensorrt-llm", RTX, {"tensor": 1}, 2944, 2944),
        ("vllm:0.21", RTX, {"tensor": 1}, 3072, 2944),
        ("vllm:0.22", RTX, {"tensor": 1}, 2944, 2944),
        ("generic", H100, {"tensor": 4}, 2880, 4 * 736),
    ],
)
def test_experts_are_padded_for_kernels(
    engine: str, accelerator: str, split: dict[str, int], hidden: float, width: int
) -> None:
    """The same model in bf16 tells what is not an expert: only experts may differ from it."""
    found = loaded(engine, split, accelerator)
    ranks = split["tensor"]
    plain = truths.ask(
        {
            "model": {"id": "openai/gpt-oss-120b"},
            "quantization": "bf16",
            "engine": {"name": "generic"},
            "workload": {"context_tokens": 8192, "sequences": 1},
            "split": {"tensor": ranks},
        }
    ).ranks[0]
    besides = plain.weights_bytes - BLOCKS * 64 // 17 // ranks
    experts = BLOCKS * hidden / 2880 * width / 2880 / ranks
    assert not [r for r in found.rejections or () if "block" in r.code]
    assert besides + experts == pytest.approx(found.ranks[0].weights_bytes, rel=0.005)


@pytest.mark.parametrize("engine", ["vllm", "sglang", "tensorrt-llm"])
@pytest.mark.parametrize("tensor", [4, 8])
def test_slices_of_whole_blocks_are_no_obstacle(engine: str, tensor: int) -> None:
    """2,880 / 4 and / 8 cut through blocks of 32: ranks get 23 and 12, the last ones fewer."""
    assert loaded(engine, {"tensor": tensor}, H100).feasible


def test_experts_beside_fp8_are_cut_evenly_all_the_same() -> None:
    """DeepSeek-V4-Pro's 3,072 over 64 ranks would be one block and a half each."""
    found = loaded("vllm", {"tensor": 64}, H200, "deepseek-ai/DeepSeek-V4-Pro")
    assert "expert-block-misaligned" in [r.code for r in found.rejections or ()]


@pytest.mark.parametrize(
    ("version", "gib"), [("0.5.14", 102.53 + 22.52), ("0.5.16", 102.53 + 5.63), ("0.5.23", 102.53)]
)
def test_marlin_keeps_the_scales_of_v4_twice(version: str, gib: float) -> None:
    """A log of TP8 on H200 has 125.65 GiB: scales in f32 stay beside Marlin's own, then bytes.

    Half a GiB of it are two rotary tables.
    """
    split = {"tensor": 8}
    found = loaded(f"sglang:{version}", split, H200, "deepseek-ai/DeepSeek-V4-Pro")
    assert gib * truths.GIB == pytest.approx(found.ranks[0].weights_bytes, rel=0.001)


@pytest.mark.parametrize(("share", "feasible"), [(0.88, False), (0.9113, True)])
def test_v4_needs_the_share_that_its_log_says(share: float, *, feasible: bool) -> None:
    """It was aborted at 0.88, and told to be given 0.9113."""
    found = truths.ask(
        {
            "model": {"id": "deepseek-ai/DeepSeek-V4-Pro"},
            "engine": {"name": "sglang", "version": "0.5.14", "gpu_memory_utilization": share},
            "workload": {"context_tokens": 1024, "sequences": 1},
            "split": {"tensor": 8},
            "accelerator": H200,
        }
    )
    assert found.feasible is feasible
    assert 125.65 * truths.GIB == pytest.approx(found.ranks[0].weights_bytes, rel=0.01)


@pytest.mark.parametrize(("version", "named"), [("0.5.14", True), ("0.5.23", False)])
def test_marlin_is_named_where_it_is_counted(version: str, *, named: bool) -> None:
    """No default of then serves such experts on Hopper."""
    engine = {"name": "sglang", "version": version}
    question = request(nodes_of(H200, 2), "deepseek-ai/DeepSeek-V4-Pro", engine=engine)
    plan = answer(truths.catalog(), question)["plans"][0]
    assert named is ("--moe-runner-backend=marlin" in plan["launch"]["arguments"])
