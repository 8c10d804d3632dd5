"""A plan as a LeaderWorkerSet for Kubernetes: a leader pod and its workers for every replica.

Source: LeaderWorkerSet API v1 (kubernetes-sigs/lws): the controller gives each pod of a group the
leader's address and its own index in the environment, and a Service without an address of its own
named after the set, by which a leader is `SET-REPLICA.SET`.
"""

import shlex
from collections.abc import Sequence

from rackfit.engines.interface import Engine
from rackfit.engines.launch import Host, Launched, Phase
from rackfit.engines.phases import Endpoint
from rackfit.planning.launching import mpi_pods
from rackfit.planning.launching.commands import mpi_words, node_words, preparation
from rackfit.planning.launching.pods import POD_ADDRESS, Json, engine_pod, object_name

LEADER = "leader-of-the-group"
"""Stands for the leader's address until the words are quoted for the shell."""


def unlike(replicas: Sequence[Sequence[Host]]) -> str | None:
    """Say why there is no manifest; None where there is.

    A leader may have other devices than its workers, but workers are alike, and so are replicas.
    """
    shapes = {tuple(len(host.devices) for host in hosts) for hosts in replicas}
    if len(shapes) > 1:
        return (
            "Replicas take different numbers of devices of their nodes, and a LeaderWorkerSet has "
            "one template for all."
        )
    [sizes] = shapes
    if len(set(sizes[1:])) > 1:
        return (
            "The nodes of a replica give different numbers of devices, and a LeaderWorkerSet has "
            "one template for all but the first."
        )
    return None


def leader_worker_set(
    engine: Engine,
    launched: Launched,
    model: str,
    replicas: Sequence[Sequence[Host]],
    *,
    image: str,
    vendor: str,
) -> Json:
    """Return the manifest of replicas that are not `unlike`.

    Pods are kept to the plan's nodes; which of them leads is the scheduler's choice.
    """
    hosts = replicas[0]
    sizes = [len(host.devices) for host in hosts]
    nodes = sorted({host.name for hosts in replicas for host in hosts})
    own = engine.phases.environment(launched, Host(name=POD_ADDRESS, devices=()), 0)
    by_mpi = mpi_words(engine, launched, model, hosts)
    variables = {**(mpi_pods.VARIABLES if by_mpi else {}), **engine.variables(launched), **own}
    scripts = _scripts(engine, launched, model, hosts)
    pods = [
        engine_pod(
            script, image=image, vendor=vendor, devices=size, nodes=nodes, variables=variables
        )
        for script, size in zip(scripts, (sizes[0], sizes[-1]), strict=True)
    ]
    leader, worker = map(mpi_pods.with_keys, pods) if by_mpi else pods
    return {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {"name": set_name(model, launched.phase)},
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


def set_name(model: str, phase: Phase) -> str:
    """Name the set that serves a model, or does one phase of it."""
    return object_name(model, "" if phase == "both" else phase)


def leaders(name: str, number: int) -> tuple[Endpoint, ...]:
    """Where the replicas of a set take requests, for pods of its namespace."""
    return tuple(Endpoint(host=f"{name}-{replica}.{name}", place=0) for replica in range(number))


def _scripts(
    engine: Engine, launched: Launched, model: str, hosts: Sequence[Host]
) -> tuple[str, str]:
    """The leader's script and its workers'."""
    files = engine.files(launched)
    if words := mpi_words(engine, launched, model, hosts):
        sizes = [len(host.devices) for host in hosts]
        return mpi_pods.leader_script(words, files, sizes), mpi_pods.worker_script()
    group = [Host(name=LEADER, devices=host.devices) for host in hosts]
    lines = [
        shlex.join(node_words(engine, launched, model, group, number)).replace(
            LEADER, '"$LWS_LEADER_ADDRESS"'
        )
        for number in range(len(group))
    ]
    if len(lines) == 1:
        script = f"{preparation(files)}exec {lines[0]}"
    else:
        cases = " ".join(f"{number}) exec {line};;" for number, line in enumerate(lines))
        script = f'case "$LWS_WORKER_INDEX" in {cases} esac'
    return script, script
