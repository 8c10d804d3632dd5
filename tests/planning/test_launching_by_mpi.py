"""How TensorRT-LLM is started: options that are in a file, and ranks that MPI starts."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
import yaml

import truths
from planning.started import commands, launched, run_with_stubs, steps_of
from rackfit.engines import engine_for
from rackfit.engines.choice import EngineChoice
from rackfit.engines.launch import Phase
from rackfit.engines.split import Split
from rackfit.planning.launching.sbatch import sbatch_script


def test_mpi_starts_every_rank_of_several_nodes_from_the_first(tmp_path: Path) -> None:
    """TP8 PP2 of TensorRT-LLM on two nodes of eight: sixteen ranks, a node's after another's."""
    (command,) = commands("tensorrt-llm", Split(tensor=8, pipeline=2), 8, 8)
    assert (command.node, command.devices) == ("gpu-00", tuple(range(8)))
    words = run_with_stubs(command.command, tmp_path)
    before, _, after = " ".join(words).partition(" trtllm-llmapi-launch ")
    assert before == (
        "mpirun -np 16 --host gpu-00:8,gpu-01:8 --map-by slot "
        "env CUDA_VISIBLE_DEVICES=0,1,2,3,4,5,6,7"
    )
    assert after.startswith("trtllm-serve deepseek-ai/DeepSeek-V3 --tp_size=8 --pp_size=2 ")


@pytest.mark.parametrize("sizes", [(8,), (4, 4)])
def test_options_without_an_argument_are_in_a_file_that_is_there_in_time(
    sizes: Sequence[int], tmp_path: Path
) -> None:
    """What TensorRT-LLM has no arguments for, on one node and on two."""
    split, options = Split(data=8, expert=8), {"speculative_tokens": 2, "redundant_experts": 32}
    command, *_ = commands("tensorrt-llm", split, *sizes, **options)
    (name,) = (
        word.partition("=")[2]
        for word in run_with_stubs(command.command, tmp_path)
        if word.startswith("--extra_llm_api_options=")
    )
    assert yaml.safe_load((tmp_path / name).read_text()) == {
        "enable_attention_dp": True,
        "kv_cache_config": {"dtype": "fp8", "free_gpu_memory_fraction": 0.92},
        "enable_chunked_prefill": True,
        "speculative_config": {"decoding_type": "MTP", "num_nextn_predict_layers": 2},
        "moe_config": {
            "backend": "WIDEEP",
            "load_balancer": {"num_slots": 288, "layer_updates_per_iter": 1},
        },
    }


def test_slurm_starts_the_ranks_that_mpi_joins(tmp_path: Path) -> None:
    """TP8 PP2 on two nodes of eight is one step of sixteen tasks, after the file they read."""
    script = sbatch_script("m", steps_of("tensorrt-llm", Split(tensor=8, pipeline=2), 8, 8))
    assert "#SBATCH --ntasks=16\n" in script
    words = run_with_stubs(script, tmp_path)
    assert words[:-2] == [
        "srun",
        "--nodes=2",
        "--ntasks=16",
        "--nodelist=gpu-00,gpu-01",
        "--gpus=16",
        "--ntasks-per-node=8",
        "--mpi=pmix",
        "--overlap",
        "bash",
    ]
    assert "fp8" in (tmp_path / "trtllm-options.yaml").read_text()
    program, *_ = run_with_stubs(words[-1], tmp_path)
    assert program == "trtllm-llmapi-launch"


@pytest.mark.parametrize(
    ("phase", "step", "chunked"),
    [
        ("both", None, True),
        ("both", 65_535, True),
        ("both", 65_536, False),
        ("prefill", None, True),
        ("decode", None, False),
    ],
)
def test_prompts_longer_than_a_step_are_read_in_chunks(
    phase: Phase, step: int | None, *, chunked: bool
) -> None:
    """TensorRT-LLM refuses them otherwise, but where they come with their cache."""
    engine = engine_for(EngineChoice(name="tensorrt-llm", max_batched_tokens=step), 0.1)
    (text,) = engine.files(launched(Split(tensor=8), phase=phase)).values()
    assert yaml.safe_load(text).get("enable_chunked_prefill", False) == chunked


@pytest.mark.parametrize(
    ("generation", "chunked"),
    [
        ("hopper", True),
        ("blackwell", True),
        ("rtx-blackwell", True),
        ("", True),
        ("ada", False),
        ("ampere", False),
    ],
)
def test_latent_rows_are_read_at_once_before_hopper(generation: str, *, chunked: bool) -> None:
    """A step is then as long as the longest prompt, unless replicas only write."""
    engine, split = engine_for(EngineChoice(name="tensorrt-llm"), 0.1), Split(tensor=8)
    plan = msgspec.structs.replace(launched(split), generation=generation)
    (text,) = engine.files(plan).values()
    assert yaml.safe_load(text).get("enable_chunked_prefill", False) == chunked
    step = "--max_num_tokens=65536"
    assert chunked == (step not in engine.arguments(plan))
    assert step not in engine.arguments(msgspec.structs.replace(plan, phase="decode"))


@pytest.mark.parametrize(
    ("accelerator", "model", "grows"),
    [
        ("a100-80gb", "deepseek-ai/DeepSeek-V2-Lite", True),
        ("h100", "deepseek-ai/DeepSeek-V2-Lite", False),
        ("rtx-pro-6000", "deepseek-ai/DeepSeek-V2-Lite", False),
        ("a100-80gb", "Qwen/Qwen3-8B", False),
    ],
)
def test_a_prompt_that_is_read_at_once_is_counted_whole(
    accelerator: str, model: str, *, grows: bool
) -> None:
    """The states of twice as many tokens than a step has take twice the memory, or the same."""
    peaks = []
    for tokens in (8192, 16_384):
        question = {
            "model": {"id": model},
            "engine": {"name": "tensorrt-llm", "max_sequences": 1},
            "workload": {"context_tokens": tokens, "sequences": 1},
            "accelerator": accelerator,
        }
        peaks.append(truths.ask(question).activation_bytes)
    assert peaks[1] == peaks[0] * (1 + grows)


def test_replicas_of_both_phases_read_files_of_their_own() -> None:
    """They may start in one folder, and their options differ."""
    engine, split = engine_for(EngineChoice(name="tensorrt-llm"), 0.1), Split(tensor=8)
    files = [engine.files(launched(split, phase=phase)) for phase in ("prefill", "decode")]
    (first, first_text), (second, second_text) = [next(iter(each.items())) for each in files]
    assert first_text != second_text
    assert first != second
