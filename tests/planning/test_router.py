"""The router between replicas of both phases: told of every one, where it really listens."""

import json
import re
import shlex
import subprocess
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from planning.asking import answer, nodes_of, request
from planning.manifests import check, pods, script, variables
from planning.started import run_with_stubs
from rackfit.catalog import load_catalog

Json = dict[str, Any]
CATALOG = load_catalog()
FLAGS = json.loads((Path(__file__).parent.parent / "engines/data/flags.json").read_text())
ENGINES = ("vllm", "sglang", "tensorrt-llm")
SIDES = ("prefill", "decode")
WORKLOAD = {"context_tokens": 8192, "sequences": 256, "input_tokens": 4000, "output_tokens": 500}


def pair(
    engine: str,
    *,
    model: str = "Qwen/Qwen3-32B",
    constraints: Json | None = None,
    **launch: str | bool,
) -> Json:
    """The best pair of an answer, several prefill replicas of which are on one node."""
    question = request(
        nodes_of("NVIDIA-H200", 4),
        model,
        engine={"name": engine},
        workload=WORKLOAD,
        constraints=constraints or {},
        disaggregate=True,
        launch={"model": "Qwen/Qwen3-32B", **launch},
        limit=1,
    )
    found: Json = answer(CATALOG, question)["disaggregated"][0]
    return found


def listening(found: Json, side: str) -> list[str]:
    """Where the commands of one side take requests."""
    told = []
    for command in found[side]["launch"]["commands"]:
        ports = re.findall(r"--port=(\d+)", command["command"])
        told += [f"{command['node']}:{port}" for port in ports]
    return told


def routed(command: str, folder: Path) -> dict[str, list[str]]:
    """The replicas of each side that a router is told of, by its words or by its file."""
    words = shlex.split(command)
    if "trtllm-serve" not in words:
        asked = list(pairwise(words))
        return {
            side: [word.removeprefix("http://") for name, word in asked if name == f"--{side}"]
            for side in SIDES
        }
    told = run_with_stubs(command, folder)
    [name] = [word.partition("=")[2] for word in told if word.startswith("--config_file=")]
    options = yaml.safe_load((folder / name).read_text())
    assert options["hostname"] == "0.0.0.0"  # noqa: S104 (what is told)
    kinds = options["context_servers"], options["generation_servers"]
    assert all(kind["num_instances"] == len(kind["urls"]) for kind in kinds)
    return {side: kind["urls"] for side, kind in zip(SIDES, kinds, strict=True)}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_router_is_told_of_every_replica_where_it_listens(engine: str, tmp_path: Path) -> None:
    """Both sides' commands and the router's agree, and no two replicas share a port of a node."""
    found = pair(engine)
    ends = {side: listening(found, side) for side in SIDES}
    assert ends == routed(found["router"]["command"], tmp_path)
    everyone = [*ends["prefill"], *ends["decode"]]
    assert len(set(everyone)) == len(everyone) > 2
    assert f"{found['router']['port']}" not in {end.partition(":")[2] for end in everyone}


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_a_routers_options_are_its_own(engine: str) -> None:
    """All that is printed stands in the parsers of the published packages."""
    used = {
        word.partition("=")[0]
        for word in shlex.split(pair(engine)["router"]["command"])
        if word.startswith("--")
    }
    assert set() == used - set(FLAGS[f"{engine}-router"]["flags"])


def test_prefill_replicas_of_a_node_hand_on_at_ports_of_their_own() -> None:
    """SGLang's router names for each the port that its command opens."""
    found = pair("sglang")
    opened = Counter(
        (command["node"], port)
        for command in found["prefill"]["launch"]["commands"]
        for port in re.findall(r"--disaggregation-bootstrap-port=(\d+)", command["command"])
    )
    assert set(opened.values()) == {1}
    named = re.findall(r"--prefill http://([\w-]+):\d+ (\d+)", found["router"]["command"])
    assert max(Counter(node for node, _ in named).values()) > 1
    assert set(opened) == set(named)


@pytest.mark.parametrize("engine", ENGINES)
def test_both_sides_and_the_router_have_manifests(engine: str, tmp_path: Path) -> None:
    """Each sound, names all different, and the router told of leaders by the names they have."""
    found = pair(engine, kubernetes_image="engine/image", router_image="router/image")
    sets = {side: found[side]["launch"]["kubernetes"] for side in SIDES}
    for manifest in (*sets.values(), found["router"]["kubernetes"]):
        check(manifest)
    deployment, service = found["router"]["kubernetes"]["items"]
    names = {side: manifest["metadata"]["name"] for side, manifest in sets.items()}
    assert names == {side: f"qwen-qwen3-32b-{side}" for side in SIDES}
    assert deployment["metadata"]["name"] == service["metadata"]["name"] == "qwen-qwen3-32b-router"
    pod = deployment["spec"]["template"]
    assert service["spec"]["selector"] == pod["metadata"]["labels"]
    assert pod["spec"]["containers"][0]["image"] == "router/image"
    told = routed(script(pod), tmp_path)
    assert told == {
        side: [
            f"{names[side]}-{number}.{names[side]}:8000"
            for number in range(sets[side]["spec"]["replicas"])
        ]
        for side in SIDES
    }
    for manifest in sets.values():
        leader, _ = pods(manifest)
        assert "--port=8000" in script(leader)


def test_a_pod_gives_out_its_own_address() -> None:
    """Where vLLM's caches are asked for is not known before a pod has an address."""
    found = pair("vllm", kubernetes_image="i", router_image="r")
    for side in SIDES:
        for template in pods(found[side]["launch"]["kubernetes"]):
            told = variables(template)
            assert next(iter(told)) == "POD_IP"
            assert told["POD_IP"] is None
            assert told["VLLM_NIXL_SIDE_CHANNEL_HOST"] == "$(POD_IP)"
            assert told["VLLM_NIXL_SIDE_CHANNEL_PORT"] == "10000"


@pytest.mark.parametrize(("engine", "image"), [("sglang", "e"), ("tensorrt-llm", "e")])
def test_an_engines_image_serves_for_its_router(engine: str, image: str) -> None:
    """Where the published one has both."""
    deployment, _ = pair(engine, kubernetes_image=image)["router"]["kubernetes"]["items"]
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == image


def test_an_answer_says_why_a_router_has_no_manifest() -> None:
    """VLLM's image has none: its manifests are there, its router's is not, and says so."""
    found = pair("vllm", kubernetes_image="i")
    assert all(found[side]["launch"]["kubernetes"] for side in SIDES)
    assert found["router"]["kubernetes"] is None
    assert "vllm-router" in found["router"]["no_kubernetes"]
    assert "`router_image`" in found["router"]["no_kubernetes"]


def test_a_router_needs_the_manifests_of_both_sides() -> None:
    """What decode replicas leave of the nodes are workers of several sizes."""
    nodes = [
        {"name": f"{name}{twin}", "accelerator": "h200", "count": count}
        for twin in (0, 1)
        for name, count in (("a", 8), ("b", 4), ("c", 2))
    ]
    question = request(
        nodes,
        "Qwen/Qwen3-30B-A3B",
        engine={"name": "vllm"},
        workload=WORKLOAD,
        constraints={"tensor": 2, "data": 7, "pipeline": 1},
        disaggregate=True,
        launch={"model": "m", "kubernetes_image": "i", "router_image": "r"},
        limit=1,
    )
    found = answer(CATALOG, question)["disaggregated"][0]
    assert [found[side]["launch"]["no_kubernetes"] is None for side in SIDES] == [False, True]
    assert found["router"]["command"]
    assert found["router"]["kubernetes"] is None
    assert found["router"]["no_kubernetes"].startswith("One side has no manifest")


def test_replicas_of_one_phase_over_several_nodes_have_manifests_too(tmp_path: Path) -> None:
    """TensorRT-LLM's are started by MPI, with the pair's own names in what is told."""
    found = pair(
        "tensorrt-llm",
        model="deepseek-ai/DeepSeek-V3",
        constraints={"tensor": 8, "pipeline": 2, "data": 1},
        kubernetes_image="i",
    )
    for side in SIDES:
        manifest = found[side]["launch"]["kubernetes"]
        check(manifest)
        assert manifest["spec"]["leaderWorkerTemplate"]["size"] == 2
        assert found[side]["launch"]["kubernetes_needs"]
    assert routed(found["router"]["command"], tmp_path)["decode"] == listening(found, "decode")


@pytest.mark.parametrize("engine", ["generic", None])
def test_without_commands_there_is_no_router(engine: str | None) -> None:
    """No engine is named, so none is started; or nothing is asked about starting."""
    question = request(
        nodes_of("NVIDIA-H200", 4),
        "Qwen/Qwen3-32B",
        engine={"name": engine or "vllm"},
        workload=WORKLOAD,
        disaggregate=True,
        limit=1,
        **({"launch": {"model": "m"}} if engine else {}),
    )
    assert answer(CATALOG, question)["disaggregated"][0]["router"] is None


@pytest.mark.parametrize("engine", ENGINES)
def test_a_pair_is_one_job(engine: str) -> None:
    """Both sides and the router are steps of one script, as no second job gets their nodes."""
    question = request(
        nodes_of("h100", 1),
        "Qwen/Qwen3-8B",
        engine={"name": engine},
        workload=WORKLOAD | {"sequences": 16},
        disaggregate=True,
        launch={"model": "m", "slurm": True},
        limit=1,
    )
    found = answer(CATALOG, question)["disaggregated"][0]
    launches = [found[side]["launch"] for side in SIDES]
    for launch in launches:
        assert launch["slurm"] is None
        assert "`router`" in launch["no_slurm"]
    job = found["router"]["slurm"]
    subprocess.run(["bash", "-n"], input=job.encode(), check=True)  # noqa: S607 (a shell is what is tested)
    assert job.count("--nodelist=node-0\n") == 1
    told = re.findall(r"srun .* bash -c (.*); echo \$\? >&3; } &", job)
    every = [command["command"] for launch in launches for command in launch["commands"]]
    assert [*every, found["router"]["command"]] == [shlex.split(line)[0] for line in told]


def test_a_job_of_a_pair_starts_ranks_itself() -> None:
    """Where commands would call mpirun."""
    found = pair(
        "tensorrt-llm",
        model="deepseek-ai/DeepSeek-V3",
        constraints={"tensor": 8, "pipeline": 2, "data": 1},
        slurm=True,
    )
    assert all("mpirun" in found[side]["launch"]["commands"][0]["command"] for side in SIDES)
    assert "mpirun" not in found["router"]["slurm"]
    assert found["router"]["slurm"].count("--mpi=pmix") == sum(
        len(found[side]["launch"]["commands"]) for side in SIDES
    )
    for side in SIDES:
        assert f"trtllm-options-{side}.yaml" in found["router"]["slurm"]
