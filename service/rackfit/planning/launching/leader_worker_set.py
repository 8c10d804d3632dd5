"""A plan as a LeaderWorkerSet for Kubernetes: a leader pod and its workers for every replica.

Source: LeaderWorkerSet API v1 (kubernetes-sigs/lws): the controller gives each pod of a group the
leader's address and its own index in the environment.
"""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from rackfit.engines.interface import Engine
from rackfit.engines.launch import Host, Launched
from rackfit.planning.launching.commands import node_words, preparation
from rackfit.planning.launching.sbatch import job_name

LEADER = "leader-of-the-group"
"""Stands for the leader's address until the words are quoted for the shell."""

RESOURCES = {"nvidia": "nvidia.com/gpu", "amd": "amd.com/gpu", "intel": "habana.ai/gaudi"}
SHARED_MEMORY = {"name": "shared-memory", "emptyDir": {"medium": "Memory"}}


def leader_worker_set(
    engine: Engine,
    launched: Launched,
    model: str,
    replicas: Sequence[Sequence[Host]],
    *,
    image: str,
    vendor: str,
) -> dict[str, Any] | None:
    """Return the manifest; None where no template says how replicas differ.

    A leader may have other devices than its workers, but workers are alike, and so are replicas.
    Pods are kept to the plan's nodes; which of them leads is the scheduler's choice.
    """
    first, *others = replicas
    sizes = [len(host.devices) for host in first]
    alike = all([len(host.devices) for host in hosts] == sizes for hosts in others)
    if not alike or len(set(sizes[1:])) > 1:
        return None
    names = sorted({host.name for hosts in replicas for host in hosts})
    script = _script(engine, launched, model, first)
    resource = RESOURCES.get(vendor, RESOURCES["nvidia"])
    leader, worker = (
        _pod(script, {resource: size}, image, names, engine.variables(launched))
        for size in (sizes[0], sizes[-1])
    )
    return {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {"name": job_name(model).lower().translate({ord("_"): "-", ord("."): "-"})},
        "spec": {
            "replicas": len(replicas),
            "leaderWorkerTemplate": {
                "size": len(sizes),
                "restartPolicy": "RecreateGroupOnPodRestart",
                "leaderTemplate": leader,
                "workerTemplate": worker,
            },
        },
    }


def _script(engine: Engine, launched: Launched, model: str, hosts: Sequence[Host]) -> str:
    """Every pod's command, chosen by its index."""
    group = [Host(name=LEADER, devices=host.devices) for host in hosts]
    lines = [
        shlex.join(node_words(engine, launched, model, group, number)).replace(
            LEADER, '"$LWS_LEADER_ADDRESS"'
        )
        for number in range(len(group))
    ]
    if len(lines) == 1:
        return f"{preparation(engine, launched)}exec {lines[0]}"
    cases = " ".join(f"{number}) exec {line};;" for number, line in enumerate(lines))
    return f'case "$LWS_WORKER_INDEX" in {cases} esac'


def _pod(
    script: str,
    limits: dict[str, int],
    image: str,
    nodes: Sequence[str],
    variables: Mapping[str, str],
) -> dict[str, Any]:
    container = {
        "name": "engine",
        "image": image,
        "command": ["bash", "-c", script],
        "resources": {"limits": limits},
        **({"env": [{"name": n, "value": v} for n, v in variables.items()]} if variables else {}),
        "volumeMounts": [{"name": SHARED_MEMORY["name"], "mountPath": "/dev/shm"}],  # noqa: S108 (where engines exchange)
    }
    place = {"key": "kubernetes.io/hostname", "operator": "In", "values": list(nodes)}
    required = {"nodeSelectorTerms": [{"matchExpressions": [place]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    return {"spec": {"affinity": affinity, "containers": [container], "volumes": [SHARED_MEMORY]}}
