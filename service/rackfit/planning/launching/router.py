"""What sends requests to replicas of both phases: its command, and a Deployment with a Service.

Source: Kubernetes API, Deployment apps/v1 and Service v1; SGLang, documentation: LWS Based PD
Deploy, which puts its router so before two LeaderWorkerSets.
"""

import shlex
from collections.abc import Iterator

import msgspec

from rackfit.engines.interface import Engine
from rackfit.engines.launch import Host, Phase
from rackfit.engines.phases import Endpoint, Program
from rackfit.planning.launches import LaunchOptions, Router
from rackfit.planning.launching.commands import Step, endpoints, preparation, replicas_of
from rackfit.planning.launching.leader_worker_set import leaders, set_name
from rackfit.planning.launching.pods import Json, object_name
from rackfit.planning.launching.sbatch import sbatch_script
from rackfit.planning.question import Plan

ROUTER_PORT = 9000
"""Where the router listens, out of the way of replicas on its node."""


def router(
    engine: Engine, prefill: Plan, decode: Plan, options: LaunchOptions | None
) -> Router | None:
    """Say how the router of two plans is started; None where one of them has no commands."""
    if options is None or not (_started(prefill) and _started(decode)):
        return None
    program = engine.phases.router(_ends(prefill, "prefill"), _ends(decode, "decode"), ROUTER_PORT)
    told = Router(command=_line(program), port=ROUTER_PORT)
    if options.slurm:
        job = sbatch_script(
            options.model, [*_steps(prefill), *_steps(decode), _last(told, prefill)]
        )
        told = msgspec.structs.replace(told, slurm=job)
    if options.kubernetes_image is None:
        return told
    if why := _missing(engine, prefill, decode, options):
        return msgspec.structs.replace(told, no_kubernetes=why)
    return msgspec.structs.replace(told, kubernetes=_manifest(engine, prefill, decode, options))


def _ends(plan: Plan, phase: Phase) -> tuple[Endpoint, ...]:
    return tuple(endpoints(replicas_of(plan.split, plan.ranks), phase))


def _steps(plan: Plan) -> Iterator[Step]:
    replicas = replicas_of(plan.split, plan.ranks)
    for command in plan.launch.commands if plan.launch else ():
        yield Step.told(command, replicas[command.replica])


def _last(told: Router, prefill: Plan) -> Step:
    """The router in a job: on the node of the first replica, without devices."""
    host = Host(name=prefill.ranks[0].node, devices=())
    return Step(replica=0, hosts=(host,), before="", line=told.command)


def _started(plan: Plan) -> bool:
    return plan.launch is not None and bool(plan.launch.commands)


def _line(program: Program) -> str:
    return f"{preparation(program.files)}{shlex.join(program.words)}"


def _missing(engine: Engine, prefill: Plan, decode: Plan, options: LaunchOptions) -> str | None:
    """Say why there is no manifest; None where there is."""
    if any(plan.launch is None or plan.launch.kubernetes is None for plan in (prefill, decode)):
        return "One side has no manifest: `no_kubernetes` of its `launch` says why."
    package = engine.phases.router_package
    if package and options.router_image is None:
        return (
            f"{engine.name}'s own image has no router: name one that has {package} as "
            "`router_image` of `launch`."
        )
    return None


def _manifest(engine: Engine, prefill: Plan, decode: Plan, options: LaunchOptions) -> Json:
    """A List of both objects; replicas are told of by the names that their sets give them."""
    model = options.model
    readers = leaders(set_name(model, "prefill"), prefill.replicas_listed)
    writers = leaders(set_name(model, "decode"), decode.replicas_listed)
    container = {
        "name": "router",
        "image": options.router_image or options.kubernetes_image,
        "command": ["bash", "-c", _line(engine.phases.router(readers, writers, ROUTER_PORT))],
        "ports": [{"name": "http", "containerPort": ROUTER_PORT}],
        "readinessProbe": {"tcpSocket": {"port": "http"}},
    }
    name = object_name(model, "router")
    items = [_deployment(name, container), _service(name)]
    return {"apiVersion": "v1", "kind": "List", "items": items}


def _labels(name: str) -> Json:
    return {"app.kubernetes.io/name": name}


def _deployment(name: str, container: Json) -> Json:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": _labels(name)},
            "template": {
                "metadata": {"labels": _labels(name)},
                "spec": {"containers": [container]},
            },
        },
    }


def _service(name: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "selector": _labels(name),
            "ports": [{"name": "http", "port": ROUTER_PORT, "targetPort": "http"}],
        },
    }
