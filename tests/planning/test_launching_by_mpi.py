"""How TensorRT-LLM is started: options that are in a file, and ranks that MPI starts."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

import truths
from planning.asking import answer, nodes_of, request
from planning.started import commands, hosts, launched, steps_of
from rackfit.engines import engine_for
from rackfit.engines.choice import EngineChoice
from rackfit.engines.split import Split
from rackfit.planning.launching.leader_worker_set import leader_worker_set
from rackfit.planning.launching.sbatch import sbatch_script


def run_with_stubs(command: str, directory: Path) -> list[str]:
    """Run a command where every program only tells how it was called; return its words."""
    for name in ("mpirun", "srun", "trtllm-llmapi-launch", "trtllm-serve"):
        stub = directory / name
        stub.write_text('#!/bin/sh\nprintf \'%s\\n\' "$0" "$@"\n')
        stub.chmod(0o755)
    path = f"{directory}:{os.environ['PATH']}"
    done = subprocess.run(  # noqa: S603 (our own command)
        ["bash", "-c", command],  # noqa: S607 (the shell that is there)
        cwd=directory,
        env={"PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    program, *words = done.stdout.splitlines()
    return [Path(program).name, *words]


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
        "speculative_config": {"decoding_type": "MTP", "num_nextn_predict_layers": 2},
        "moe_config": {
            "backend": "WIDEEP",
            "load_balancer": {"num_slots": 288, "layer_updates_per_iter": 1},
        },
    }


def test_a_pod_writes_the_files_its_engine_reads(tmp_path: Path) -> None:
    """The one pod of a replica on one node."""
    engine, split = engine_for(EngineChoice(name="tensorrt-llm"), 0.1), Split(tensor=8)
    told = launched(split)
    manifest = leader_worker_set(engine, told, "m", [hosts(8)], image="i", vendor="nvidia")
    assert manifest is not None
    template = manifest["spec"]["leaderWorkerTemplate"]["leaderTemplate"]
    (container,) = template["spec"]["containers"]
    run_with_stubs(container["command"][-1], tmp_path)
    (written,) = engine.files(told).items()
    assert (tmp_path / written[0]).read_text() == written[1] + "\n"


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


def test_pods_cannot_start_the_ranks_of_others() -> None:
    """Asked for both manifests, what MPI starts over two nodes of eight has the script alone."""
    question = request(
        nodes_of("NVIDIA-H200", 2),
        "deepseek-ai/DeepSeek-V3",
        engine={"name": "tensorrt-llm"},
        launch={"model": "m", "slurm": True, "kubernetes_image": "i"},
        constraints={"tensor": 8, "pipeline": 2},
    )
    told = answer(truths.catalog(), question)["plans"][0]["launch"]
    assert [command["command"].split()[0] for command in told["commands"]] == ["mpirun"]
    assert told["slurm"].startswith("#!/bin/bash\n")
    assert (told["kubernetes"], told["no_commands"]) == (None, None)
