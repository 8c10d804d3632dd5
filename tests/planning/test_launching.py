"""How plans are started: every node's command, and manifests that shells and clusters take."""

import json
import os
import re
import shlex
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import truths
from planning.asking import answer, nodes_of, request
from planning.checker import faults
from planning.started import commands, hosts, launched, option, steps_of
from rackfit.engines import engine_for
from rackfit.engines.choice import EngineChoice
from rackfit.engines.launch import Host
from rackfit.engines.split import Split
from rackfit.errors import InvalidInput
from rackfit.planning.launching.commands import steps
from rackfit.planning.launching.sbatch import job_name, sbatch_script

FLAGS = json.loads((Path(__file__).parent.parent / "engines/data/flags.json").read_text())
PROGRAMS = {"vllm": ["vllm", "serve"], "sglang": ["python3", "-m", "sglang.launch_server"]}


EVERY_OPTION = {
    "max_sequences": 32,
    "max_batched_tokens": 4096,
    "redundant_experts": 8,
    "speculative_tokens": 1,
    "lora_slots": 2,
}


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
@pytest.mark.parametrize(
    ("split", "sizes"),
    [
        (Split(tensor=8), (8,)),
        (Split(tensor=8, pipeline=2), (8, 8)),
        (Split(tensor=4, data=3, expert=12), (8, 4)),
        (Split(tensor=8, data=2, expert=16), (8, 8)),
        (Split(tensor=4, pipeline=2, data=2), (4, 4, 4, 4)),
    ],
)
def test_every_option_is_one_of_the_engines_own(
    engine: str, split: Split, sizes: Sequence[int]
) -> None:
    """All that is printed stands in the parsers of the published package."""
    for command in commands(engine, split, *sizes, **EVERY_OPTION):
        words = shlex.split(command.command)[1:]
        assert PROGRAMS[engine] == words[: len(PROGRAMS[engine])]
        used = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert set() == used - set(FLAGS[engine]["flags"])


def test_nodes_hold_as_many_data_ranks_as_their_devices_make() -> None:
    """[8,4] with TP4 DP3: two ranks on the first node and one on the second, from rank 2 on."""
    first, second = commands("vllm", Split(tensor=4, data=3, expert=12), 8, 4)
    assert ["2", "1"] == [option(c, "--data-parallel-size-local") for c in (first, second)]
    assert [None, "2"] == [option(c, "--data-parallel-start-rank") for c in (first, second)]
    assert {"gpu-00"} == {option(c, "--data-parallel-address") for c in (first, second)}
    assert "--headless" not in first.command
    assert "--headless" in second.command


def test_a_pipeline_over_nodes_is_one_group() -> None:
    """[8,8] with TP8 PP2: two nodes of one group, and no data ranks."""
    found = commands("vllm", Split(tensor=8, pipeline=2), 8, 8)
    assert ["2", "2"] == [option(c, "--nnodes") for c in found]
    assert ["0", "1"] == [option(c, "--node-rank") for c in found]
    assert [None, None] == [option(c, "--data-parallel-size") for c in found]


def test_data_ranks_may_span_nodes() -> None:
    """[4,4,4,4] with TP4 PP2 DP2: all four nodes in one numbering, two a data rank."""
    found = commands("vllm", Split(tensor=4, pipeline=2, data=2), 4, 4, 4, 4)
    assert ["0", "1", "2", "3"] == [option(c, "--node-rank") for c in found]
    assert {"2"} == {option(c, "--data-parallel-size") for c in found}


def test_one_node_is_told_of_no_other() -> None:
    """No addresses on a single node."""
    (only,) = commands("sglang", Split(tensor=8), 8)
    assert not {"--nnodes", "--dist-init-addr"} & set(shlex.split(only.command))
    assert only.command.startswith("CUDA_VISIBLE_DEVICES=0,1,2,3,4,5,6,7 ")


def test_what_was_counted_is_what_is_started() -> None:
    """Context, batch limits, cache type and share are all in the command."""
    (only,) = commands("vllm", Split(tensor=8), 8, max_sequences=32, max_batched_tokens=4096)
    expected = {
        "--max-model-len": "65536",
        "--max-num-seqs": "32",
        "--max-num-batched-tokens": "4096",
        "--kv-cache-dtype": "fp8",
        "--gpu-memory-utilization": "0.92",
    }
    assert expected == {name: option(only, name) for name in expected}


def test_an_sbatch_script_is_a_shell_script() -> None:
    """Bash reads it, every node has a step, and names cannot break out of their words."""
    found = steps_of("vllm", Split(tensor=8, pipeline=2), 8, 8)
    script = sbatch_script("deepseek-ai/DeepSeek-V3; rm -rf /", found)
    subprocess.run(["bash", "-n"], input=script.encode(), check=True)  # noqa: S607 (a shell is what is tested)
    assert "#SBATCH --gpus-per-node=8" in script
    assert ["gpu-00", "gpu-01"] == re.findall(r"--nodelist=(\S+) --gpus=8", script)
    assert "#SBATCH --job-name=deepseek-ai-DeepSeek-V3--rm--rf" in script


@pytest.mark.parametrize("failing", ["gpu-00", "gpu-01"])
@pytest.mark.parametrize("delay", ["0", "0.2"])
def test_a_job_ends_with_the_first_step_that_does(tmp_path: Path, failing: str, delay: str) -> None:
    """With its status, be it over before the script waits."""
    stub = tmp_path / "srun"
    stub.write_text(
        "#!/bin/sh\n"
        f'case "$*" in *nodelist={failing}*) sleep {delay}; exit 7;; esac\n'
        "exec sleep 3\n"
    )
    stub.chmod(0o755)
    script = sbatch_script("x", steps_of("vllm", Split(tensor=8, pipeline=2), 8, 8))
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(["bash"], input=script.encode(), env={"PATH": path}, check=False)  # noqa: S607 (a shell is what is tested)
    assert 7 == done.returncode


@pytest.mark.parametrize(("name", "expected"), [("a/b", "a-b"), ("///", "rackfit"), ("é x", "x")])
def test_job_names_are_plain(name: str, expected: str) -> None:
    """Slurm and Kubernetes take them."""
    assert expected == job_name(name)


def test_replicas_of_one_node_listen_on_ports_of_their_own() -> None:
    """Two replicas on node 1 and one on node 2: 8000, 8001 and 8000."""
    nodes = [Host(name="a", devices=(0, 1)), Host(name="a", devices=(2, 3)), hosts(2)[0]]
    engine, split = engine_for(EngineChoice(name="vllm"), 0.1), Split(tensor=2, replicas=3)
    started = steps(engine, launched(split), "m", [[n] for n in nodes], vendor="amd")
    found = [step.command for step in started]
    assert ["8000", "8001", "8000"] == [option(command, "--port") for command in found]
    assert found[1].command.startswith("HIP_VISIBLE_DEVICES=2,3 vllm serve m ")


@pytest.mark.parametrize(("engine", "sizes"), [("generic", (8,)), ("tensorrt-llm", (8, 4))])
def test_no_command_is_better_than_a_wrong_one(engine: str, sizes: Sequence[int]) -> None:
    """No engine is named, or it takes more than a command on every node."""
    assert not commands(engine, Split(tensor=8, pipeline=len(sizes)), *sizes)


@pytest.mark.parametrize("options", [{}, {"slurm": True}, {"kubernetes_image": "vllm/vllm-openai"}])
def test_plans_have_the_manifests_that_are_asked_for(options: dict[str, Any]) -> None:
    """Every plan has a command for each of its nodes, and no manifest that nobody wants."""
    name = "deepseek-ai/DeepSeek-V3"
    nodes = nodes_of("NVIDIA-H200", 4)
    question = request(nodes, name, engine={"name": "vllm"}, launch={"model": name, **options})
    plans = answer(truths.catalog(), question)["plans"]
    assert plans
    for plan in plans:
        launch = plan["launch"]
        assert {command["node"] for command in launch["commands"]} == set(plan["nodes"])
        assert (launch["slurm"] is not None) == ("slurm" in options)
        assert (launch["kubernetes"] is not None) == ("kubernetes_image" in options)


@pytest.mark.parametrize(
    ("engine", "split", "sizes"),
    [
        ("sglang", Split(tensor=2, pipeline=6), (8, 4)),
        ("sglang", Split(tensor=2, pipeline=9), (6, 6, 6)),
        ("vllm", Split(pipeline=13), (8, 5)),
        ("vllm", Split(tensor=4, pipeline=2, data=3), (8, 8, 4, 4)),
        ("vllm", Split(tensor=4, pipeline=4, data=2), (8, 8, 8, 8)),
    ],
)
def test_nodes_that_a_launcher_would_share_otherwise_have_no_commands(
    engine: str, split: Split, sizes: Sequence[int]
) -> None:
    """Launchers of several nodes deal out the same to each; vLLM whole data ranks as well."""
    even = len(set(sizes)) == 1
    assert bool(commands(engine, split, *sizes)) == even


def test_replicas_that_start_on_one_node_meet_at_ports_of_their_own() -> None:
    """Both listen for their other nodes on the same host."""
    engine, split = engine_for(EngineChoice(name="vllm"), 0.1), Split(tensor=4, replicas=2)
    groups = [
        [Host(name="a", devices=(0, 1)), Host(name="b", devices=(0, 1))],
        [Host(name="a", devices=(2, 3)), Host(name="b", devices=(2, 3))],
    ]
    started = steps(engine, launched(split), "m", groups, vendor="nvidia")
    met = [option(step.command, "--master-port") for step in started]
    assert ["29500", "29500", "29516", "29516"] == met


def test_a_job_has_the_devices_before_its_own_too() -> None:
    """Devices 2 and 3 of a node are only there under these numbers if 0 and 1 are given too."""
    engine = engine_for(EngineChoice(name="vllm"), 0.1)
    host = Host(name="a", devices=(2, 3))
    found = steps(engine, launched(Split(tensor=2)), "m", [[host]], vendor="nvidia")
    script = sbatch_script("m", found)
    assert "#SBATCH --gpus-per-node=4" in script
    assert " --gpus=4 " in script
    assert "CUDA_VISIBLE_DEVICES=2,3 " in script


@pytest.mark.parametrize("name", ["n0 --output=/etc/x", "a,b", "[1-9]", "-n", "é"])
def test_nodes_to_start_on_have_names_of_hosts(name: str) -> None:
    """Any name does for a plan, but a scheduler reads some as options or lists."""
    nodes = [{"name": name, "accelerator": "h200", "count": 8}]
    question = request(nodes, "openai/gpt-oss-120b", engine={"name": "vllm"})
    assert answer(truths.catalog(), question)["feasible"]
    with pytest.raises(InvalidInput) as caught:
        answer(truths.catalog(), question | {"launch": {"model": "m"}})
    (violation,) = caught.value.violations
    assert violation.pointer == "/inventory/nodes/0/name"


def test_an_answer_says_why_there_are_no_commands() -> None:
    """Where no engine is named."""
    question = request(nodes_of("h200", 1), "openai/gpt-oss-120b", launch={"model": "m"})
    told = answer(truths.catalog(), question)["plans"][0]["launch"]
    assert told["commands"] == []
    assert told["no_commands"].startswith("No engine is named")


@pytest.mark.parametrize("model", ["-v", "--trust-remote-code", "~/models/x"])
def test_a_model_that_would_not_reach_the_engine_is_refused(model: str) -> None:
    """What an engine takes for an option, or a shell alone understands, is no model."""
    with pytest.raises(InvalidInput) as caught:
        answer(truths.catalog(), request(nodes_of("h200", 1), launch={"model": model}))
    (violation,) = caught.value.violations
    assert violation.pointer == "/launch/model"
    assert "is meant" in violation.detail


@pytest.mark.parametrize("engine", ["sglang", "vllm"])
def test_a_launcher_that_wants_nodes_alike_gets_them(engine: str) -> None:
    """Twelve devices of two nodes of eight are six of each where eight and four cannot be started.

    The plan is the same, whether or not commands are asked for.
    """
    constraints = {"tensor": 2, "pipeline": 6, "data": 1}
    model = "deepseek-ai/DeepSeek-V3.1"
    question = request(nodes_of("h200", 2), model, engine={"name": engine}, constraints=constraints)
    told = answer(truths.catalog(), {**question, "launch": {"model": model}})["plans"][0]
    assert told["launch"]["no_commands"] is None
    assert len(told["launch"]["commands"]) == 2
    usable = dict.fromkeys(("node-0", "node-1"), 200 << 30)
    assert not faults(question, told, usable_bytes=usable, experts=256)
    assert set(Counter(rank["node"] for rank in told["ranks"]).values()) == {6}
    assert told["ranks"] == answer(truths.catalog(), question)["plans"][0]["ranks"]


def test_a_plan_to_be_started_stays_in_its_rack() -> None:
    """Nodes that share a replica evenly are of one rack; where it has none, there are no commands.

    Three groups of four devices do not go evenly on the two nodes of a rack.
    """
    places = {"a1": "A", "a2": "A", "b1": "B", "c1": "C"}
    nodes = [
        {"name": name, "accelerator": "h200", "count": 8, "rack": f"r{at}", "fabric": f"f{at}"}
        for name, at in places.items()
    ]
    constraints = {"tensor": 4, "pipeline": 3, "data": 1}
    question = request(
        nodes, "zai-org/GLM-5", engine={"name": "vllm"}, constraints=constraints, limit=1
    )
    question["launch"] = {"model": "m"}
    (told,) = answer(truths.catalog(), question)["plans"]
    assert {"a1", "a2"} == set(told["nodes"])
    assert "do not share it" in told["launch"]["no_commands"]
    third = {**nodes[0], "name": "a3"}
    question["inventory"]["nodes"].append(third)
    (even,) = answer(truths.catalog(), question)["plans"]
    assert {"a1", "a2", "a3"} == set(even["nodes"])
    assert even["launch"]["no_commands"] is None
