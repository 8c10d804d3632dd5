"""LeaderWorkerSets: sound by the schemas of clusters, and pods that bash starts."""

import copy
import re
import shlex
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema_rs
import kubernetes_validate
import pytest
from hypothesis import given
from hypothesis import strategies as st

import truths
from planning.asking import answer, nodes_of, request
from planning.manifests import HASH, LABEL, LONGEST_LABEL, check, pods, script, variables
from planning.started import hosts, launched, run_with_stubs
from rackfit.engines import engine_for
from rackfit.engines.choice import EngineChoice
from rackfit.engines.launch import Host
from rackfit.engines.split import Split
from rackfit.planning.launching.leader_worker_set import leader_worker_set, unlike
from rackfit.planning.launching.pods import object_name

Json = dict[str, Any]
SPLITS = [
    ("vllm", Split(tensor=8), (8,)),
    ("vllm", Split(tensor=4, data=3, expert=12), (8, 4)),
    ("sglang", Split(tensor=8, pipeline=2), (8, 8)),
    ("tensorrt-llm", Split(tensor=8), (8,)),
    ("tensorrt-llm", Split(tensor=8, pipeline=3), (8, 8, 8)),
]


def manifest(
    engine: str, split: Split, *sizes: int, model: str = "deepseek-ai/DeepSeek-V3"
) -> Json:
    """Return the LeaderWorkerSet of one replica."""
    started = engine_for(EngineChoice(name=engine), 0.1)
    replicas = [hosts(*sizes)]
    assert unlike(replicas) is None
    return leader_worker_set(
        started, launched(split), model, replicas, image="registry/image", vendor="nvidia"
    )


@pytest.mark.parametrize(("engine", "split", "sizes"), SPLITS)
def test_a_manifest_is_sound(engine: str, split: Split, sizes: tuple[int, ...]) -> None:
    """By the set's own schema, by Kubernetes' for its pods, and bash reads every script."""
    found = manifest(engine, split, *sizes)
    check(found)
    for template in pods(found):
        subprocess.run(["bash", "-n"], input=script(template).encode(), check=True)  # noqa: S607 (a shell is what is tested)


@pytest.mark.parametrize(
    ("path", "error"),
    [
        (("spec", "leaderWorkerTemplate", "sizes"), jsonschema_rs.ValidationError),
        (("spec", "replica"), jsonschema_rs.ValidationError),
        (
            ("spec", "leaderWorkerTemplate", "workerTemplate", "spec", "volume"),
            kubernetes_validate.ValidationError,
        ),
    ],
)
def test_schemas_see_a_field_too_many(path: tuple[str, ...], error: type[Exception]) -> None:
    """What finds nothing in the manifests is able to find something."""
    faulty = copy.deepcopy(manifest("vllm", Split(tensor=8), 8))
    inner = faulty
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = 1
    with pytest.raises(error):
        check(faulty)


def test_pods_of_a_group_are_started_by_their_index() -> None:
    """One script for all pods; the leader's address comes from the controller."""
    found = manifest("vllm", Split(tensor=4, data=3, expert=12), 8, 4)
    assert found["spec"]["leaderWorkerTemplate"]["size"] == 2
    leader, worker = pods(found)
    limits = [one["spec"]["containers"][0]["resources"]["limits"] for one in (leader, worker)]
    assert [{"nvidia.com/gpu": 8}, {"nvidia.com/gpu": 4}] == limits
    assert script(leader).count('"$LWS_LEADER_ADDRESS"') == len((leader, worker))
    assert "gpu-00" not in script(leader)
    assert script(leader) == script(worker)


def test_a_leader_listens_beyond_its_pod() -> None:
    """Engines that listen on the loopback address alone would be reached by nobody."""
    leader, _ = pods(manifest("vllm", Split(tensor=8), 8))
    assert "--host=0.0.0.0 --port=8000" in script(leader)


def test_a_pod_writes_the_files_its_engine_reads(tmp_path: Path) -> None:
    """The one pod of a replica on one node."""
    leader, _ = pods(manifest("tensorrt-llm", Split(tensor=8), 8))
    run_with_stubs(script(leader), tmp_path)
    told = launched(Split(tensor=8))
    (written,) = engine_for(EngineChoice(name="tensorrt-llm"), 0.1).files(told).items()
    assert (tmp_path / written[0]).read_text() == written[1] + "\n"


@pytest.mark.parametrize(
    ("replicas", "said"),
    [
        ([hosts(8, 4, 2)], "all but the first"),
        ([hosts(8, 8), hosts(8, 4)], "one template for all."),
        ([hosts(8, 4), hosts(8, 4)], None),
    ],
)
def test_what_has_no_template_is_told(replicas: list[list[Host]], said: str | None) -> None:
    """Workers that differ, and replicas that do."""
    found = unlike(replicas)
    assert (said is None) == (found is None)
    assert (said or "") in (found or "")


def test_an_answer_says_why_there_is_no_manifest() -> None:
    """DP3 of four on nodes of 8, 2 and 2 has a command for each node, but the last two differ."""
    nodes = [
        {"name": name, "accelerator": "h200", "count": count}
        for name, count in (("a", 8), ("b", 4), ("c", 2))
    ]
    question = request(
        nodes,
        "deepseek-ai/DeepSeek-V3",
        engine={"name": "vllm"},
        launch={"model": "m", "kubernetes_image": "i"},
        constraints={"tensor": 2, "data": 7, "pipeline": 1},
    )
    told = answer(truths.catalog(), question)["plans"][0]["launch"]
    assert len(told["commands"]) == 3
    assert told["kubernetes"] is None
    assert told["no_kubernetes"].endswith("one template for all but the first.")


@given(model=st.text(min_size=1, max_size=80), part=st.sampled_from(["", "prefill", "router"]))
def test_names_leave_room_for_what_is_made_of_them(model: str, part: str) -> None:
    """Services are named so, and so are pods of ten thousand replicas and their labels."""
    name = object_name(model, part)
    assert LABEL.match(name)
    assert name.endswith(part)
    assert len(f"{name}-9999{HASH}") <= LONGEST_LABEL


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("01-ai/Yi-34B", "model-01-ai-yi-34b"),
        ("/models/Llama_3.1", "models-llama-3-1"),
        ("a" * 80, "a" * 47),
    ],
)
def test_names_are_those_of_services(model: str, expected: str) -> None:
    """From a letter on, in lower case, with dashes alone, and not too long."""
    assert expected == object_name(model)


def below(root: Path, template: Json) -> str:
    """A pod's script with its absolute paths below a directory."""
    return re.sub(r"(?<![\w.-])/(usr|tmp|run)/", rf"{root}/\1/", script(template))


def stub(directory: Path, name: str, text: str) -> None:
    """Put a program in place of another."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_text(f"#!/bin/bash\n{text}\n")
    (directory / name).chmod(0o755)


def run_pod(text: str, root: Path, **environment: str) -> list[str]:
    """Run a script where a pod's programs are stubs below `root`, and return what it prints."""
    for folder in ("tmp", "run", "usr/sbin"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    done = subprocess.run(  # noqa: S603 (our own script)
        ["bash", "-c", text],  # noqa: S607 (the shell that is there)
        cwd=root,
        env={"PATH": f"{root}/usr/bin:{root}/usr/sbin:/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return done.stdout.splitlines()


def test_a_leader_waits_for_its_workers_and_starts_every_rank(tmp_path: Path) -> None:
    """TP8 PP3 on three pods of eight, the second of which is not yet there when first asked."""
    leader, worker = pods(manifest("tensorrt-llm", Split(tensor=8, pipeline=3), 8, 8, 8))
    programs = tmp_path / "usr/bin"
    stub(programs, "ssh", f'echo "${{@: -2:1}}" >> {tmp_path}/asked; test -e {tmp_path}/up')
    stub(programs, "sleep", f"touch {tmp_path}/up")
    stub(programs, "mpirun", "printf '%s\\n' \"$@\"")
    address = "deepseek-ai-deepseek-v3-1.deepseek-ai-deepseek-v3.llm"
    own = address.partition(".")[0]
    words = run_pod(below(tmp_path, leader), tmp_path, LWS_LEADER_ADDRESS=address, HOSTNAME=own)
    others = [address.replace("v3-1.", f"v3-1-{number}.") for number in (1, 2)]
    assert [others[0], *others] == (tmp_path / "asked").read_text().split()
    option = dict(pairwise(words))
    assert option["-np"] == "24"
    assert option["--host"] == ",".join(f"{host}:8" for host in (own, *others))
    assert option["plm_rsh_args"] in script(leader)
    assert "fp8" in (tmp_path / "trtllm-options.yaml").read_text()
    assert variables(leader) == variables(worker)
    assert variables(leader)["OMPI_MCA_orte_keep_fqdn_hostnames"] == "1"


def test_a_rank_has_its_pods_own_environment(tmp_path: Path) -> None:
    """Ranks that ssh starts have none of an image's variables; they read what their pod kept."""
    leader, worker = pods(manifest("tensorrt-llm", Split(tensor=8, pipeline=2), 8, 8))
    for program, text in (("sshd", 'echo "sshd $*"'), ("ssh-keygen", "true"), ("ssh", "true")):
        stub(tmp_path / ("usr/sbin" if program == "sshd" else "usr/bin"), program, text)
    stub(tmp_path / "usr/bin", "mpirun", "printf '%s\\n' \"${@: -1}\"")
    stub(tmp_path / "usr/bin", "trtllm-llmapi-launch", 'echo "$IMAGE_HAS" "$@"')
    [rank] = run_pod(below(tmp_path, leader), tmp_path, LWS_LEADER_ADDRESS="a-0.a.b")
    (tmp_path / "tmp/pod-environment").unlink()
    [listening] = run_pod(below(tmp_path, worker), tmp_path, IMAGE_HAS="a 'quoted'\nline")
    assert listening.startswith("sshd -D ")
    told = run_pod(rank, tmp_path)
    assert ["a 'quoted'", "line trtllm-serve"] == [told[0], " ".join(told[1].split()[:2])]
    assert "--tp_size=8" in shlex.split(told[1])


def test_ssh_is_installed_where_an_image_lacks_it(tmp_path: Path) -> None:
    """The published image of TensorRT-LLM has no server."""
    _, worker = pods(manifest("tensorrt-llm", Split(tensor=8, pipeline=2), 8, 8))
    server = tmp_path / "usr/sbin/sshd"
    stub(tmp_path / "usr/bin", "ssh-keygen", "true")
    installs = f'echo "$1 ${{@: -1}}"; printf "#!/bin/sh\\necho up" > {server}; chmod +x {server}'
    stub(tmp_path / "usr/bin", "apt-get", installs)
    assert ["update update", "install openssh-server", "up"] == run_pod(
        below(tmp_path, worker), tmp_path
    )
    assert ["up"] == run_pod(below(tmp_path, worker), tmp_path)


def test_the_caller_makes_the_key_that_pods_log_in_with() -> None:
    """An answer names the commands for the Secret that pods read, and none where there is none."""
    question = request(
        nodes_of("NVIDIA-H200", 2),
        "deepseek-ai/DeepSeek-V3",
        engine={"name": "tensorrt-llm"},
        launch={"model": "m", "slurm": True, "kubernetes_image": "i"},
        constraints={"tensor": 8, "pipeline": 2},
    )
    told = answer(truths.catalog(), question)["plans"][0]["launch"]
    check(told["kubernetes"])
    assert [command["command"].split()[0] for command in told["commands"]] == ["mpirun"]
    assert (told["no_commands"], told["no_kubernetes"]) == (None, None)
    make, put = told["kubernetes_needs"]
    words = shlex.split(put)
    assert words[:4] == ["kubectl", "create", "secret", "generic"]
    for template in pods(told["kubernetes"]):
        [secret] = (v["secret"] for v in template["spec"]["volumes"] if "secret" in v)
        assert secret["secretName"] == words[4] == shlex.split(make)[-1]
    keys = {word.split("=")[1] for word in words if word.startswith("--from-file=")}
    read = set(re.findall(r"/etc/mpi-ssh/([\w-]+)", "".join(map(script, pods(told["kubernetes"])))))
    assert keys == read

    one = question | {"constraints": {"tensor": 8, "pipeline": 1}, "engine": {"name": "vllm"}}
    assert answer(truths.catalog(), one)["plans"][0]["launch"]["kubernetes_needs"] == []
